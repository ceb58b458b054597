#!/bin/sh
# lint.sh NAME STATUS TAGS COMMAND…: print NAME and the version of the tool, then what it finds but for TAGS, words in one
# text. STATUS is that with which it ends where it found something.
set -uf
name=$1 status=$2 tags=$3
shift 3
version=$("$1" --version 2>/dev/null | head -n 1) || exit 70
version=${version##* }
echo "$name ${version#v}"
found=$("$@" 2>&1)
ended=$?
for tag in $tags; do
    found=$(printf '%s\n' "$found" | grep -v -e ": [EW]: $tag\( \|\$\)")
done
printf '%s\n' "$found"
[ "$ended" = 0 ] || [ "$ended" = "$status" ]
