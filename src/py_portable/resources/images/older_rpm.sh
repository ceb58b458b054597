#!/bin/sh
# older_rpm.sh PACKAGE [POSITION TEXT]… -- COMMAND…: run COMMAND with a package that differs in these texts, which take
# the place of others of the same length.
set -eu
# Not /tmp: what lies there may not be kept.
work=$(mktemp -d /var/tmp/py-portable-older.XXXXXX)
trap 'rm -rf "$work"' EXIT
cp "$1" "$work/older.rpm"
shift
while [ "$1" != -- ]; do
    printf %s "$2" | dd of="$work/older.rpm" bs=1 seek="$1" conv=notrunc 2>/dev/null
    shift 2
done
shift
"$@" "$work/older.rpm"
