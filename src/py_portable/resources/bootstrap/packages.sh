# A mmdebstrap hook, $1 = the root: notes every installed package and what apt's lists say of it.
set -eu
umask 022
mkdir -p "$1/run/py-portable"
chroot "$1" /bin/sh -s >>"$1/run/py-portable/packages" 2>>"$1/run/py-portable/noise" <<'INSIDE'
dpkg-query --show --showformat='Installed: ${db:Status-Abbrev} ${Package} ${Version} ${Architecture}\n'
all=$(dpkg-query --show --showformat='${binary:Package}=${Version} ')
{ apt-cache show $all || for one in $all; do apt-cache show "$one" || :; done; } |
    grep -E '^(Package|Version|Architecture|SHA256): ' || :
INSIDE
