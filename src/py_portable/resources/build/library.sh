#!/bin/sh
# library.sh configure NAME WORD... | make WORD... | install WORD... | settle NAME LICENCE-FILE: one after another, build
# the one tarball in /in/source into /opt/libraries/NAME (bound to the step's out).
set -eu
stage=$1
shift
mkdir -p /build/tree
cd /build/tree

# quietly COMMAND...: its last lines are shown where it fails.
quietly() {
    "$@" >"/build/$stage.log" 2>&1 || { tail -n 40 "/build/$stage.log"; exit 1; }
}

case $stage in
configure)
    name=$1
    configure=$2
    shift 2
    tar -xf /in/source/* --strip-components=1
    quietly "$configure" --prefix="/opt/libraries/$name" --libdir="/opt/libraries/$name/lib" "$@"
    ;;
make) quietly make -s -j"$JOBS" "$@" ;;
install) quietly make -s "$@" ;;
settle)
    cp "$2" "/opt/libraries/$1/LICENCE"
    cd "/opt/libraries/$1"
    rm -rf share lib/*.a lib/*.la
    find lib -name '*.so*' -type f -exec strip --strip-unneeded {} +
    ls lib/*.so.* >/dev/null
    ;;
esac
