#!/bin/sh
# in_turn.sh COUNT WORD... [COUNT WORD...]...: run commands of COUNT words one after another, up to the first that
# fails. So all commands of a step run in one sandbox, which is one container.
set -eu
while [ $# -gt 0 ]; do
    count=$1
    shift
    (
        others=$(($# - count))
        for _ in $(seq "$count"); do
            set -- "$@" "$1"
            shift
        done
        shift "$others"
        exec "$@"
    )
    shift "$count"
done
