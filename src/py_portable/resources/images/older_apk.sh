#!/bin/sh
# older_apk.sh PACKAGE CONTROL POSITION COMMAND…: run COMMAND with a package whose first part is CONTROL, in base64, and
# whose other part begins at this byte of PACKAGE, the first of which is 1.
set -eu
package=$1 control=$2 position=$3
shift 3
# Not /tmp: what lies there may not be kept.
work=$(mktemp -d /var/tmp/py-portable-older.XXXXXX)
trap 'rm -rf "$work"' EXIT
printf %s "$control" | base64 -d >"$work/older.apk"
tail -c "+$position" "$package" >>"$work/older.apk"
"$@" "$work/older.apk"
