#!/bin/sh
# take_system.sh PYTHON: copy the image's own Python (such as 3.11) into /out, as a prefix; /build/there says which
# versions the image has. take_system.py beside it does the copying, run by that Python.
set -eu
: >/build/there
for folder in /usr/local/bin /usr/bin; do
    for each in "$folder"/python3.[0-9] "$folder"/python3.[0-9][0-9]; do
        if [ -x "$each" ]; then
            printf '%s\n' "${each##*/python}" >>/build/there
        fi
    done
done
for folder in /usr/local/bin /usr/bin; do
    if [ -x "$folder/python$1" ]; then
        exec "$folder/python$1" -I -B /kit/take_system.py
    fi
done
