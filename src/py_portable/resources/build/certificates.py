"""Source text for the start of an artifact that contains its own OpenSSL. The scripts that use this lie beside it."""

import ssl

ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep their bundle of CA certificates: Debian, Fedora and RHEL, SUSE, others."""
# The folder of single certificates counts only if their names are hashes: Fedora and RHEL have such a folder, too, but
# OpenSSL finds nothing in it.
_SOURCE = """\
import os


def _name_certificates():
    if "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        return
    file, folder = @OWN@
    try:
        found = os.path.exists(file) or any(name.endswith(".0") for name in os.listdir(folder))
    except OSError:
        found = False
    others = [] if found else [roots for roots in @ROOTS@ if os.path.exists(roots)]
    if others:
        os.environ["SSL_CERT_FILE"] = others[0]


# OpenSSL looks where the distribution on which it was built keeps the certificates. On others, name their bundle.
_name_certificates()
"""


def source() -> str:
    """Lines of Python that set SSL_CERT_FILE if the OpenSSL of this interpreter would find no certificates."""
    places = ssl.get_default_verify_paths()
    own = (places.openssl_cafile, places.openssl_capath)
    return _SOURCE.replace("@OWN@", repr(own)).replace("@ROOTS@", repr(ROOTS))
