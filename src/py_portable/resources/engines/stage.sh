#!/bin/sh
# Prepare a throw-away root and start a command that uses it as /sys/merged.
#
#   stage.sh SIZE OPTIONS ROOT HOME UID OWN FIRST COUNT [rw|ro SOURCE TARGET]... -- WORD...
#
# Runs in a mount namespace of its own, so that everything made here ends with the command. The stage is mounted
# over /sys because nobody keeps files there: no image and no bound folder can be hidden by it. All words are
# arguments; ROOT is reached through a relative link, so that no character in it means anything to overlayfs.
# SIZE is the most that can be written, in bytes (a size that tmpfs knows). OPTIONS: more overlay options, or
# empty. HOME: a folder to make for UID, or empty. OWN: the helper own-ids, which shows the root and each SOURCE with
# ids from FIRST on; where COUNT is 0 nothing is shown so.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022

size=$1 options=$2 root=$3 home=$4 uid=$5 own=$6 first=$7 count=$8
shift 8

mount -t tmpfs -o "mode=0755,nodev,nosuid,size=$size" stage /sys
cd /sys
# Real folders in the upper layer: a link of that name in the image is hidden, never followed.
mkdir -p work merged binds empty upper/proc upper/dev
mkdir -m 1777 upper/tmp
if [ -n "$home" ]; then
    install -d -m 0700 -o "$uid" -g "$uid" "upper$home"
fi
if [ "$count" = 0 ]; then
    ln -s "$root" lower
else
    chown "$first:$first" upper upper/proc upper/dev upper/tmp
    "$own" show "$first" "$count" image "$root" lower "$@"
    while [ "$1" != -- ]; do
        shift 3
    done
fi
shift
layers=lowerdir=lower,upperdir=upper,workdir=work
if [ -z "$options" ] || ! mount -t overlay -o "nosuid,nodev,$layers,$options" overlay merged 2>/dev/null; then
    mount -t overlay -o "nosuid,nodev,$layers" overlay merged
fi
# bubblewrap 0.12 looks for its child there by a number of this process namespace. Where parts of /proc are hidden, as in
# some containers, none can be mounted.
mount -t proc -o nosuid,nodev,noexec proc /proc 2>/dev/null || :
exec "$@"
