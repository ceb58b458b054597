#!/bin/sh
# Furnish /sys/merged, which stage.sh made, as a root of its own without bubblewrap, and start a command.
#
#   chroot.sh MOUNTS HOSTNAME NETWORK TMP ACCESS OWN [ro|no NAME]... -- [SOURCE TARGET ro|rw]... -- WORD...
#
# MOUNTS: the table of what every root gets. NETWORK: "own" brings the loopback interface up, "host" leaves the network alone. TMP: bytes of a fresh /tmp,
# or empty. ACCESS: "ro" or "rw", of the root itself. OWN: the helper own-ids, which closes or hides NAMEs of /proc.
# TARGETs have no links left in them.
set -eu
mounts=$1 hostname=$2 network=$3 tmp=$4 access=$5 own=$6
shift 6

hostname "$hostname"
if [ "$network" = own ]; then
    ip link set lo up 2>/dev/null || :
fi
cd /sys/merged
mount -t tmpfs -o mode=0755,nosuid,size=1m devices dev
mkdir dev/shm
for name in null zero full random urandom tty; do
    : >"dev/$name"
done
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount --all --fstab "$mounts"
"$own" cover proc /sys/empty "$@"
while [ "$1" != -- ]; do
    shift 2
done
shift
if [ -n "$tmp" ]; then
    mount -t tmpfs -o "mode=1777,nosuid,nodev,size=$tmp" tmp tmp
fi
while [ "$1" != -- ]; do
    target=.$2
    if [ -d "$1" ]; then
        mkdir -p "$target"
    else
        mkdir -p "${target%/*}"
        [ -e "$target" ] || : >"$target"
    fi
    # A recursive read-only remount is not to be had from mount: only the top would be protected.
    if [ "$3" = ro ]; then
        mount --bind "$1" "$target"
        mount -o remount,bind,ro,nosuid,nodev "$target"
    else
        mount --rbind "$1" "$target"
    fi
    shift 3
done
shift
if [ "$access" = ro ]; then
    mount -o remount,bind,ro /sys/merged
fi
cd /
exec "$@"
