#!/bin/sh
# older_deb.sh PACKAGE VERSION COMMAND…: run COMMAND with a package that has the same contents and another version.
set -eu
package=$1 version=$2
shift 2
# Not /tmp: what lies there may not be kept.
work=$(mktemp -d /var/tmp/py-portable-older.XXXXXX)
trap 'rm -rf "$work"' EXIT
dpkg-deb --raw-extract "$package" "$work/files"
sed -i "s/^Version: .*/Version: $version/" "$work/files/DEBIAN/control"
dpkg-deb -Znone --build "$work/files" "$work/older.deb" >/dev/null
rm -rf "$work/files"
"$@" "$work/older.deb"
