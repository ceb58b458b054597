#!/bin/sh
# Prepare a throw-away root and start a command that uses it as /sys/merged.
#
#   stage.sh SIZE OPTIONS ROOT HOME UID OWN FIRST COUNT LOWER KEPT [rw|ro|image SOURCE TARGET]... -- WORD...
#
# Runs in a mount namespace of its own, so that everything made here ends with the command. The stage is mounted
# over /sys because nobody keeps files there: no image and no bound folder can be hidden by it. All words are
# arguments; ROOT is reached through a relative link, so that no character in it means anything to overlayfs.
# SIZE is the most that can be written, in bytes (a size that tmpfs knows). OPTIONS: more overlay options, or
# empty. HOME: a folder to make for UID, or empty. OWN: the helper own-ids, which shows the root and each SOURCE with
# ids from FIRST on; where COUNT is 0 nothing is shown so, and a SOURCE is linked to. LOWER: the lower layers of the
# overlay, the topmost first, of which the last is `lower`, the root itself. KEPT: an archive that gets what the command
# wrote where it ends with 0, beside it KEPT.ids with FIRST and COUNT; or empty.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
umask 022

size=$1 options=$2 root=$3 home=$4 uid=$5 own=$6 first=$7 count=$8 lower=$9
shift 9
kept=$1
shift

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
fi
while [ "$1" != -- ]; do
    [ "$count" != 0 ] || ln -s "$2" "$3"
    shift 3
done
shift
layers=lowerdir=$lower,upperdir=upper,workdir=work
if [ -z "$options" ] || ! mount -t overlay -o "nosuid,nodev,$layers,$options" overlay merged 2>/dev/null; then
    mount -t overlay -o "nosuid,nodev,$layers" overlay merged
fi
# bubblewrap 0.12 looks for its child there by a number of this process namespace. Where parts of /proc are hidden, as in
# some containers, none can be mounted.
mount -t proc -o nosuid,nodev,noexec proc /proc 2>/dev/null || :
[ -n "$kept" ] || exec "$@"
status=0
"$@" || status=$?
if [ "$status" = 0 ]; then
    # The first process of this namespace, it ends whatever could still write.
    [ $$ != 1 ] || kill -KILL -1 2>/dev/null || :
    printf '%s %s\n' "$first" "$count" >"$kept.ids"
    tar --create --file="$kept.part" --format=posix --numeric-owner --xattrs '--xattrs-include=*' --one-file-system \
        --warning=no-file-ignored --directory=upper . && mv "$kept.part" "$kept" || :
fi
exit "$status"
