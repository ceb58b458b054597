#!/bin/sh
# wheel.sh: compile the one sdist or source folder in /in/source into a wheel in /out, offline; what its build
# system requires is in /in/build. -v: what a compiler says of an optional extension is heard only so.
set -eu
cp -R /in/source /build/source
set -- /build/source/*
[ $# = 1 ] || { echo "wheel.sh: one source expected, got: $*" >&2; exit 1; }
python3 -m pip --disable-pip-version-check --no-cache-dir wheel -v \
    --no-index --find-links /in/build --no-deps --wheel-dir /out "$1"
