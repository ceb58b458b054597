#!/bin/sh
# lint.sh NAME STATUS COMMAND…: print NAME and the version of the tool, then what it finds. STATUS is that with which it
# ends where it found something.
set -u
name=$1 status=$2
shift 2
version=$("$1" --version 2>/dev/null | head -n 1) || exit 70
version=${version##* }
echo "$name ${version#v}"
"$@" 2>&1
ended=$?
[ "$ended" = 0 ] || [ "$ended" = "$status" ]
