"""A baseline's own libraries: an interpreter with OpenSSL 3.5 from its release, beside wheels with Debian 11's 1.1.1.

The app speaks TLS with itself: a server on the interpreter's OpenSSL, and libcurl and libpq, which bring the
distribution's, as its clients. So both are at work in one process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from py_portable.base.talk import Talk
from py_portable.commands import portability as portability_command
from py_portable.config.glibc import version_key
from py_portable.inspect.elf import measure
from py_portable.interpreters.libraries import known
from py_portable.plan.selection import Selection
from py_portable.project import building
from py_portable.project.session import open_session
from tests.unit.written import by_text

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]

APP = """
import hashlib, pathlib, re, socket, ssl, struct, threading

import psycopg2, pycurl

HERE = pathlib.Path(__file__).parent


def serve(listener, told):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HERE / "server.pem", HERE / "server.key")
    for protocol in ("https", "postgres"):
        plain, _ = listener.accept()
        if protocol == "postgres":
            assert struct.unpack("!II", plain.recv(8)) == (8, 80877103)
            plain.sendall(b"S")
        with context.wrap_socket(plain, server_side=True) as connection:
            told.append(f"{protocol} {connection.version()}")
            if protocol == "https":
                connection.recv(9999)
                connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
            # libpq is sent away once it has shaken hands.


def main():
    told, got = [], []
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = threading.Thread(target=serve, args=(listener, told), daemon=True)
    server.start()
    curl = pycurl.Curl()
    curl.setopt(curl.URL, f"https://localhost:{port}/")
    curl.setopt(curl.RESOLVE, [f"localhost:{port}:127.0.0.1"])
    curl.setopt(curl.CAINFO, str(HERE / "server.pem"))
    curl.setopt(curl.WRITEFUNCTION, got.append)
    curl.perform()
    assert got == [b"ok"], got
    try:
        # A cell's user has no name that libpq could look up.
        to = "host=127.0.0.1 user=me dbname=none sslmode=require gssencmode=disable connect_timeout=9"
        psycopg2.connect(to, port=port)
    except psycopg2.OperationalError as problem:
        print("libpq:", problem)
    server.join(9)
    # Whoever was first, the other one is still whole.
    assert hashlib.new("sha3_256", b"").hexdigest().startswith("a7ffc6f8bf1ed766")
    context = ssl.create_default_context()
    print("ssl", ssl.OPENSSL_VERSION.rpartition(" ")[0].rpartition(" ")[0].rpartition(" ")[0])
    print("curl", re.search(r"OpenSSL/[0-9]+[.][0-9]+[.][0-9]+", pycurl.version)[0])
    print("\\n".join(told))
    print("roots", ssl.get_default_verify_paths().openssl_capath, ssl.get_default_verify_paths().openssl_cafile)
    maps = pathlib.Path("/proc/self/maps").read_text()
    files = {line.split()[-1] for line in maps.splitlines() if "libssl" in line or "libcrypto" in line}
    print("system's", sorted(f for f in files if f.startswith(("/lib/", "/usr/lib/", "/lib64/", "/usr/lib64/"))))
    print("loaded", sorted({re.search("lib(ssl|crypto).*?[.]so[.](1[.]1|3)", f)[0].split(".so.")[1] for f in files}))
"""

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "both"
version = "1"
dependencies = ["psycopg2==2.9.13", "pycurl>=7.45,<7.46"]

[project.scripts]
both = "both:main"

[tool.setuptools.package-data]
both = ["server.*"]
"""

SAID = [
    "ssl OpenSSL 3.5.7",
    "curl OpenSSL/1.1.1",
    "https TLSv1.3",
    "postgres TLSv1.3",
    "roots /etc/ssl/certs /etc/ssl/cert.pem",
    "system's []",
    "loaded ['1.1', '3']",
]


def app(folder: Path) -> None:
    package = folder / "both"
    package.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (package / "__init__.py").write_text(APP)
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    words += ["-keyout", str(package / "server.key"), "-out", str(package / "server.pem")]
    subprocess.run(words, check=True, capture_output=True)
    # Cells start as another user.
    (package / "server.key").chmod(0o644)


def test_the_interpreter_has_a_fresh_openssl_beside_the_wheels_old_one(tmp_path: Path) -> None:
    app(tmp_path / "app")
    told = {
        "version": 1,
        "app": {"source": "app", "smoke": [{"args": [], "stdout": SAID, "timeout": 60}]},
        "python": "3.13",
        # The packages of the main job, so that its image serves here too.
        "baselines": {
            "default": {
                "image": "debian:11",
                "packages": ["libpq-dev", "libcurl4-openssl-dev", "libssl-dev"],
                "libraries": ["openssl"],
            }
        },
        "wheels": {"max-glibc": "2.31", "no-binary": ["pycurl", "psycopg2"]},
        "artifacts": ["wheelhouse"],
        "portability": {"images": ["debian:11", "debian:13"]},
    }
    (tmp_path / "portable.yaml").write_text(json.dumps(told))
    session = open_session(tmp_path / "portable.yaml", engine="bubblewrap", talk=Talk())
    proved = portability_command.prove(session, Selection(), lambda result: None)
    assert not proved.failures, [problem.render() for problem in proved.failures.values()]
    seen = {c.image: c.verdict + (f" {c.detail} {c.stderr_tail}" if c.verdict != "PASS" else "") for c in proved.cells}
    assert seen == {"debian:11": "PASS", "debian:13": "PASS"}

    built = building.build(session, Selection(controls=False))
    version = known()["openssl"].pin.version
    prefix = by_text(built.report.results)["interpreter 3.13 (default)"].path
    assert {"libssl.so.3", "libcrypto.so.3"} <= {p.name for p in (prefix / "lib").iterdir()}
    assert not list((prefix / "lib").glob("libssl.so.1*"))
    floor = measure(prefix).floor
    assert floor is not None and version_key(floor) <= version_key("2.31")

    library = by_text(built.report.results)["library openssl (default)"]
    told = {name: value for name, value in library.meta.items() if name != "sandbox"}
    assert told == {"library": "openssl", "version": version, "licence": "Apache-2.0"}
    assert (library.path / "LICENCE").read_text().lstrip().startswith("Apache License")
    assert (library.path / "lib/pkgconfig/openssl.pc").is_file()
    assert not list(library.path.rglob("*.a"))
    rows = json.loads((tmp_path / "dist" / "evidence.json").read_text())["interpreters"]
    assert [row["libraries"] for row in rows] == [{"openssl": version}]
    pins = json.loads((tmp_path / "portable.lock").read_text())["pins"]
    assert pins["library openssl"] == f"{version} sha256:{known()['openssl'].pin.sha256}"

    # The interpreter was linked with an absolute rpath; what carries it along must not look there.
    for file in (*prefix.glob("lib/*.so*"), *prefix.glob("lib/python3.13/lib-dynload/_*s*l*.so")):
        assert b"/opt/libraries/openssl/lib" not in _runpath(file), file


def _runpath(file: Path) -> bytes:
    reader = shutil.which("readelf")
    assert reader, "binutils is not installed"
    shown = subprocess.run([reader, "-d", file], check=True, capture_output=True).stdout
    return b"\n".join(line for line in shown.splitlines() if b"RUNPATH" in line or b"RPATH" in line)
