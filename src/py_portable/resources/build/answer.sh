#!/bin/sh
# answer.sh PROGRAM NAME FILE SECONDS WORD...: start PROGRAM, called NAME, by `env WORD...`. What it writes to stdout is
# in FILE then, except where it fails. If it takes longer, no other is started after it.
set -u
program=$1 name=$2 file=$3 seconds=$4
shift 4
mkdir -p "$HOME/bin"
ln -sfn "$program" "$HOME/bin/$name"
PATH=$HOME/bin:$PATH
export PATH
status=0
(
    # In blocks of 512 bytes, in some shells of 1024.
    ulimit -f 1024
    exec timeout -k 1 "$seconds" env "$@"
) </dev/null >"$file" 2>/dev/null || status=$?
[ "$status" = 0 ] || rm -rf "$file"
case $status in
    124 | 137)
        echo "$name did not end within $seconds seconds: $*" >&2
        exit 1
        ;;
esac
