# A mmdebstrap hook, $1 = the root: /bin, /sbin and /lib lead into /usr, as on every Debian installed since 2019.
# Without this bullseye would come unmerged, and bookworm would bring all of perl to do the merge itself.
set -eu
umask 022
case $(dpkg --print-architecture) in
amd64 | ppc64 | ppc64el | loong64) folders="bin sbin lib lib64" ;;
*) folders="bin sbin lib" ;;
esac
for folder in $folders; do
    mkdir -p "$1/usr/$folder"
    ln -s "usr/$folder" "$1/$folder"
done
printf 'Package: usrmerge\nPin: release *\nPin-Priority: -1\n' >"$1/etc/apt/preferences.d/99py-portable"
