#!/bin/sh
# take_manylinux.sh TAG: copy /opt/python/TAG of the image into /out; /build/there says which tags the image has.
set -eu
: >/build/there
for each in /opt/python/*; do
    if [ -x "$each/bin/python3" ] || [ -x "$each/bin/python" ]; then
        printf '%s\n' "${each##*/}" >>/build/there
    fi
done
from=/opt/python/$1
[ -d "$from" ] || exit 0
# The dot: the link at the top is followed, and no other.
cp -R --preserve=mode,links "$from/." /out/
[ -e /out/bin/python3 ] || ln -s python /out/bin/python3
