#!/bin/sh
# cpython.sh OPTIMIZE: build CPython from the one tarball in /in/source into /opt/python (bound to the step's out).
set -eu
optimize=$1
mkdir -p /build/tree
cd /build/tree
tar -xf /in/source/* --strip-components=1

# -fPIC: the static libpython is linked into position independent executables by Nuitka.
set -- --prefix=/opt/python --disable-test-modules --with-ensurepip=no --without-doc-strings CFLAGS='-g0 -fPIC'
if [ "$optimize" = true ]; then
    set -- "$@" --enable-optimizations --with-lto
fi
if [ -d /opt/libraries/openssl ]; then
    # The absolute rpath is for the build alone: self_sufficient.py brings the libraries and puts its own in its place.
    set -- "$@" --with-openssl=/opt/libraries/openssl --with-openssl-rpath=auto
fi
./configure -q "$@"
make -s -j"$JOBS"
# What `install` would compile is compiled below, and another way: asked for its help, compileall compiles nothing.
make -s install COMPILEALL_OPTS=--help >/build/install.log 2>&1 || { tail -n 40 /build/install.log; exit 1; }

cd /opt/python
ln -sf python3 bin/python
rm -rf share lib/pkgconfig lib/python3.*/test lib/python3.*/idlelib lib/python3.*/turtledemo
# A second copy of what lib/python3.X/config-*/ holds.
rm -f lib/libpython3.*.a
# As ensurepip does it, which would compile it, too.
PYTHONPATH=$(echo lib/python3.*/ensurepip/_bundled/pip-*.whl) /opt/python/bin/python3 -B -m pip \
    --disable-pip-version-check install --quiet --root-user-action ignore --no-compile --no-index \
    --find-links lib/python3.*/ensurepip/_bundled pip
rm -f bin/pip
find . -name __pycache__ -type d -prune -exec rm -rf {} +
# The prefix is read-only from now on: without these every start would compile what it imports. By hash, since times
# differ from build to build; unchecked, since nobody edits a source there.
bin/python3 -I -B -m compileall -q -f -j "$JOBS" --invalidation-mode unchecked-hash lib/python3.*/

# A missing extension would only be noticed on a customer's machine.
bin/python3 -I -B -c 'import bz2, ctypes, curses, dbm.gnu, hashlib, lzma, readline, sqlite3, ssl, uuid, zlib'
