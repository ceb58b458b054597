# A mmdebstrap hook, $1 = the root: nothing of the machine or the moment that made the root stays in it.
set -eu
umask 022
cd "$1"
rm -rf etc/apt/apt.conf.d/99mmdebstrap etc/apt/apt.conf.d/99py-portable etc/apt/preferences.d/99py-portable etc/dpkg/dpkg.cfg.d/99mmdebstrap \
    etc/apt/sources.list.d/* etc/apt/auth.conf etc/apt/auth.conf.d/* etc/machine-id var/lib/dbus/machine-id \
    etc/.pwd.lock etc/passwd- etc/group- etc/shadow- etc/gshadow- etc/subuid- etc/subgid- \
    var/lib/dpkg/*-old var/cache/debconf/*-old var/cache/ldconfig/aux-cache var/cache/apt/*.bin \
    var/cache/apt/archives/* var/lib/apt/lists/* root/.cache root/.wget-hsts root/.bash_history
find var/log -type f -delete
find . -xdev -type d -name __pycache__ -path './usr/*' -prune -exec rm -rf {} +
rm -f etc/hostname etc/hosts etc/resolv.conf etc/apt/sources.list
echo cell >etc/hostname
printf '127.0.0.1\tlocalhost cell\n::1\tlocalhost ip6-localhost ip6-loopback\n' >etc/hosts
echo '# The resolver is the business of what starts this root.' >etc/resolv.conf
echo '# This root was made by py-portable; the sources of its packages are not kept.' >etc/apt/sources.list
chmod 0644 etc/hostname etc/hosts etc/resolv.conf etc/apt/sources.list
