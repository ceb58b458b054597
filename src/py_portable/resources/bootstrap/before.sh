# A mmdebstrap hook, $1 = the root: runs the user's `before` script inside, with the network.
set -eu
umask 022
if [ -e "$1/run/py-portable/ca.crt" ]; then
    export SSL_CERT_FILE=/run/py-portable/ca.crt PIP_CERT=/run/py-portable/ca.crt
    # apt ran outside until now, where the machine's own path of this bundle is right.
    if grep -qi '^Acquire::https::CAInfo ' "$1/etc/apt/apt.conf.d/99py-portable"; then
        echo 'Acquire::https::CAInfo "/run/py-portable/ca.crt";' >>"$1/etc/apt/apt.conf.d/99py-portable"
    fi
    chmod 0644 "$1/run/py-portable/ca.crt"
    export CURL_CA_BUNDLE=/run/py-portable/ca.crt REQUESTS_CA_BUNDLE=/run/py-portable/ca.crt
fi
exec env --unset=APT_CONFIG --unset=TMPDIR HOME=/root \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot "$1" /bin/sh -e /run/py-portable/before
