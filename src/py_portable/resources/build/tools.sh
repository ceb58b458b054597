#!/bin/sh
# tools.sh: install the wheels and sdists in /in/tools below /out, as it will be seen at /opt/tools.
set -eu
pip() { python3 -m pip --disable-pip-version-check --no-cache-dir install --quiet --no-index --no-deps --no-compile "$@"; }
pip --target /build/tree /in/tools/setuptools-*.whl /in/tools/wheel-*.whl /in/tools/packaging-*.whl
PYTHONPATH=/build/tree pip --no-build-isolation --target /out /in/tools/*.whl /in/tools/*.tar.gz
# /opt/tools is read-only, so every start would compile what it imports. By hash, since times differ from build to
# build. Files that are for another Python do not compile, and nothing imports them.
python3 -I -B -m compileall -qq -f -j "$JOBS" --invalidation-mode unchecked-hash -d /opt/tools /out || :
