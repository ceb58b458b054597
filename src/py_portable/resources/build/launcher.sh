#!/bin/sh
# Starts the program of this folder, wherever the folder lies and however this file was called.
self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -h "$self" ]; do
    link=$(readlink -- "$self") || exit 127
    case $link in /*) self=$link ;; *) self=${self%/*}/$link ;; esac
done
here=${self%/*}
# Python takes ".." out of a path by its text: after a linked folder that leads elsewhere.
case $here in
    */./* | */../* | */. | */.. | [!/]*) here=$(CDPATH='' cd -P -- "$here" && pwd) || exit 127 ;;
esac
exec @COMMAND@ "$@"
