# Runs as root inside a throw-away root made of an image, and adds packages to it.
#
#   add.sh look MANAGER PROGRAM... -- PACKAGE...
#     writes the programs that are on the PATH to /out/programs, the packages that are not installed to /out/missing
#   add.sh add MANAGER PACKAGE... -- OPTIONAL... -- SOUGHT...
#     installs them (SOUGHT as far as the repositories have them), runs /kit/before where there is one, lists what is
#     installed in /out/packages, and packs the changed root into /out/root.tar. /out/phase tells how far it came.
#   add.sh stay MANAGER PACKAGE... -- OPTIONAL...
#     the same in a root that is used as it is then: nothing is packed
#
# MANAGER: apt, dnf (also yum and microdnf), zypper, apk or none. /kit may hold sources.list (the machine's mirrors,
# in place of the image's), ca.crt (what servers are checked with) and before. Needs sh; cleaning up is done outside,
# since an image may have neither find nor sed.
set -eu
umask 022
action=$1 manager=$2
shift 2

installed() {
    case $manager in
    apt) case $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$1" 2>/dev/null) in ii*) ;; *) return 1 ;; esac ;;
    dnf | zypper) rpm -q --quiet --whatprovides "$1" >/dev/null 2>&1 ;;
    apk) apk info --installed "$1" >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

look() {
    : >/out/programs
    : >/out/missing
    while [ "$1" != -- ]; do
        if command -v "$1" >/dev/null 2>&1; then echo "$1" >>/out/programs; fi
        shift
    done
    shift
    for name in "$@"; do
        installed "$name" || echo "$name" >>/out/missing
    done
}

prepare() {
    case $manager in
    apt)
        if [ -e /kit/sources.list ]; then
            rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
            mkdir -p /etc/apt
            cat /kit/sources.list >/etc/apt/sources.list
        fi
        ;;
    dnf)
        tool=yum
        for name in microdnf dnf; do
            if command -v "$name" >/dev/null 2>&1; then tool=$name; fi
        done
        for name in /etc/dnf/dnf.conf /etc/yum.conf; do
            # In the file, so that what `before` calls knows it too; the image's own file comes back afterwards.
            if [ -e /kit/ca.crt ] && [ -f "$name" ] && [ ! -L "$name" ]; then
                if [ "$action" = stay ]; then cp -p "$name" "$name.py-portable"; fi
                printf '\nsslcacert=/kit/ca.crt\n' >>"$name"
            fi
        done
        ;;
    esac
}

refresh() {
    case $manager in
    apt) apt-get -o APT::Update::Error-Mode=any -o Acquire::Languages=none update ;;
    zypper) zypper --non-interactive refresh ;;
    esac
}

install() {
    case $manager in
    apt) apt-get --yes --no-install-recommends install -- "$@" ;;
    dnf)
        if [ "$tool" != yum ]; then set -- --setopt=install_weak_deps=0 "$@"; fi
        # Where distributions of the family of RHEL keep half of their -devel packages, switched off.
        for repository in crb powertools; do
            if grep -qs "^\[$repository\]" /etc/yum.repos.d/*.repo; then
                set -- "--enablerepo=$repository" "$@"
            fi
        done
        "$tool" install -y "$@"
        ;;
    zypper)
        status=0
        zypper --non-interactive install --no-recommends --auto-agree-with-licenses "$@" || status=$?
        # 102 and 103: all is installed, and something running should be started again.
        case $status in 0 | 102 | 103) ;; *) return "$status" ;; esac
        ;;
    apk)
        # Its scripts are started in a chroot of the root, which this sandbox gives nobody the right to make.
        case $(apk add --help 2>&1 || :) in
        *--force-no-chroot*) set -- --force-no-chroot "$@" ;;
        *--no-chroot*) set -- --no-chroot "$@" ;;
        esac
        apk add --no-cache --no-progress "$@"
        ;;
    *)
        echo "py-portable: no package manager" >&2
        return 1
        ;;
    esac
}

# Whether the repositories have it, in a form that can be installed here.
available() {
    case $manager in
    apt) apt-get --simulate --no-install-recommends install -- "$1" >/dev/null 2>&1 ;;
    dnf) [ "$tool" != dnf ] || [ -n "$(dnf --quiet repoquery --whatprovides "$1")" ] ;;
    zypper) zypper --quiet --no-refresh search --match-exact --provides "$1" >/dev/null 2>&1 ;;
    apk) [ -n "$(apk search --no-cache --quiet --exact "$1")" ] ;;
    *) return 1 ;;
    esac
}

names() {
    case $manager in
    apt) apt-cache pkgnames ;;
    dnf) if [ "$tool" = dnf ]; then dnf --quiet repoquery --queryformat '%{name}\n'; fi ;;
    apk) apk search --no-cache --quiet ;;
    zypper) zypper --quiet --no-refresh search --type package ;;
    esac
}

packages() {
    case $manager in
    apt) dpkg-query --show --showformat='${db:Status-Abbrev}\t${Package}\t${Version}\t${Architecture}\n' ;;
    dnf | zypper)
        rpm --query --all --queryformat \
            'ii\t%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{ARCH}\n'
        ;;
    apk)
        while IFS=: read -r key value; do
            case $key in P | V | A) printf '%s\t%s\n' "$key" "$value" ;; esac
        done </lib/apk/db/installed
        ;;
    esac
}

pack() {
    if ! command -v tar >/dev/null 2>&1; then
        echo "py-portable: the image has no tar" >&2
        return 1
    fi
    gnu=
    case $(tar --version 2>/dev/null || :) in *"GNU tar"*) gnu=yes ;; esac
    cd /
    set --
    for name in * .[!.]* ..?*; do
        case $name in proc | sys | dev | tmp | out | kit) continue ;; esac
        if [ -e "$name" ] || [ -L "$name" ]; then set -- "$@" "./$name"; fi
    done
    if [ -z "$gnu" ]; then
        tar -c -f /out/root.tar "$@"
        return
    fi
    status=0
    tar --create --file=/out/root.tar --format=posix --numeric-owner --one-file-system \
        --xattrs '--xattrs-include=*' "$@" || status=$?
    # 1: a file changed meanwhile, such as the log of something that `before` started.
    [ "$status" -le 1 ]
}

if [ "$action" = look ]; then
    look "$@"
    exit
fi

echo packages >/out/phase
required='' optional='' sought='' group=1
for name in "$@"; do
    if [ "$name" = -- ]; then
        group=$((group + 1))
        continue
    fi
    case $group in
    1) required="$required $name" ;;
    2) optional="$optional $name" ;;
    *) sought="$sought $name" ;;
    esac
done
prepare
if [ -n "$required$sought" ]; then
    refresh
    there=$required
    for name in $sought; do
        if available "$name"; then there="$there $name"; else echo "py-portable: done without $name"; fi
    done
    # Names of packages hold no blanks and no patterns.
    # shellcheck disable=SC2086
    if [ -n "$there" ] && ! install $there; then
        names >/out/names 2>/dev/null || :
        exit 1
    fi
    for name in $required; do
        # yum leaves out what it does not know, and is content.
        if ! installed "$name"; then
            echo "py-portable: No match for argument: $name" >&2
            names >/out/names 2>/dev/null || :
            exit 1
        fi
    done
    for name in $optional; do
        installed "$name" || install "$name" || echo "py-portable: done without $name"
    done
fi
if [ -e /kit/before ]; then
    echo before >/out/phase
    (cd / && exec /bin/sh -e /kit/before)
fi
echo list >/out/phase
packages >/out/packages
echo pack >/out/phase
if [ "$action" = stay ]; then
    for name in /etc/dnf/dnf.conf /etc/yum.conf; do
        if [ -e "$name.py-portable" ]; then mv -f "$name.py-portable" "$name"; fi
    done
else
    pack
fi
echo packed >/out/phase
