"""A bundle of an app that has what apps have: data with odd names, programs, links, libraries, several entry points.

It is killed while it is built, and built a second time under another umask: the folder is the same. Its launcher is
then started under what users have: variables of another Python, certificates and time zones of other distributions.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from py_portable.store import default_root, digest
from tests.integration.conftest import MainJob, Project

pytestmark = pytest.mark.integration

CLI = r'''
import ctypes, importlib.metadata, multiprocessing, os, pathlib, socket, ssl, subprocess, sys, threading
import zoneinfo

HERE = pathlib.Path(__file__).parent


def data():
    for path in sorted((HERE / "data").rglob("*")):
        print(ascii(path.relative_to(HERE / "data").as_posix()), path.read_text() if path.is_file() else "folder")
    print(subprocess.run([HERE / "-tool.sh", "a b"], capture_output=True, text=True, check=True).stdout, end="")
    print(ctypes.CDLL(HERE / "libfoo.so").foo(41))
    from oddities import alias
    print(alias.__name__, alias.HERE == HERE)
    print(sorted(e.name for e in importlib.metadata.distribution("oddities").entry_points))


def surroundings():
    print([name for name in sorted(os.environ) if name.startswith(("PYTHON", "LD_", "SSL_"))])
    code = "import os; print([os.environ.get(n) for n in ('PYTHONPATH', 'PYTHONHOME', 'LD_LIBRARY_PATH')])"
    print(subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True).stdout, end="")
    for way in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(way).Pool(1) as pool:
            print(pool.map(abs, [-1]), end=" ")
    words = [sys.executable, "-I", "-m", "oddities.cli", "hello"]
    print(subprocess.run(words, capture_output=True, text=True).stdout, end="")


def zone(name):
    try:
        print(zoneinfo.ZoneInfo(name))
    except zoneinfo.ZoneInfoNotFoundError as problem:
        print("none", problem)


def tls(certificate, key):
    """A server and a client in one process; the client trusts what it finds on the machine."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        try:
            with server.wrap_socket(listener.accept()[0], server_side=True) as connection:
                connection.sendall(b"hello")
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        with ssl.create_default_context().wrap_socket(
            socket.create_connection(listener.getsockname(), 9), server_hostname="localhost"
        ) as client:
            print(client.version(), client.recv(9).decode(), os.environ.get("SSL_CERT_FILE"))
    except ssl.SSLCertVerificationError as problem:
        print("not trusted", os.environ.get("SSL_CERT_FILE"))


def main():
    name, *words = sys.argv[1:]
    globals()[name](*words)


def hello():
    print("hello", *sys.argv[1:])


if __name__ == "__main__":
    main()
'''
SETUP = """
import subprocess
from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

class WithLibrary(build_py):
    def run(self):
        super().run()
        subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{self.build_lib}/oddities/libfoo.so", "foo.c"], check=True)

class Platform(Distribution):
    def has_ext_modules(self):
        return True

setup(cmdclass={"build_py": WithLibrary}, distclass=Platform)
"""
PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "oddities"
version = "1.0"
[project.optional-dependencies]
colour = []
[project.scripts]
odd = "oddities.cli:main [colour]"
"odd-second.one" = "oddities.cli:hello"
[tool.setuptools.packages.find]
where = ["src"]
[tool.setuptools.package-data]
oddities = ["-tool.sh", "data/**/*", "data/**/.*"]
"""
NAMES = ("with blank", "ü né", "-dash", "quote'\"$x`", ".hidden", "sub folder/-x;#&", "nosuffix.PY")
TREE = {"format": "bundle"}
CONFIG = {
    "version": 1,
    "app": {"source": "app", "script": "odd"},
    "python": "3.13",
    "baselines": {
        "default": {
            "image": "debian:11",
            "packages": ["libpq-dev", "libcurl4-openssl-dev", "libssl-dev"],
            "libraries": ["openssl"],
        }
    },
    "artifacts": {"tree": TREE},
    "portability": {"images": ["debian:11"]},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, main_job: MainJob) -> Project:
    assert main_job.build.status == 0
    folder = tmp_path_factory.mktemp("odd")
    package = folder / "app" / "src" / "oddities"
    for name in NAMES:
        path = package / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ascii(name))
    (package / "data" / "link").symlink_to("with blank")
    (package / "-tool.sh").write_text('#!/bin/sh\necho "tool $1"\n')
    (package / "-tool.sh").chmod(0o755)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(CLI)
    (package / "alias.py").symlink_to("cli.py")
    # Nobody has built it before, so that there is something to kill.
    (package / "data" / "round").write_text(str(uuid.uuid4()))
    (folder / "app" / "foo.c").write_text("int foo(int x) { return x + 1; }\n")
    (folder / "app" / "setup.py").write_text(SETUP)
    (folder / "app" / "pyproject.toml").write_text(PROJECT)
    (folder / "portable.yaml").write_text(json.dumps(CONFIG))
    return Project(folder)


def kill_when(project: Project, reached: str) -> int:
    """SIGKILL for a build once that file is in its work folder, whose name has the build's number; that number."""
    tmp = Path(default_root(os.environ), "tmp")
    words = [sys.executable, "-m", "py_portable", "build", "-q"]
    child = subprocess.Popen(words, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 600
    pattern = str(Path(f"*-{child.pid}-*", "work", reached))
    while not any(tmp.glob(pattern)):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return child.pid


@pytest.fixture(scope="module")
def made(project: Project) -> Path:
    """The unpacked bundle; its build was killed in its sandbox and while it packed."""
    killed = [kill_when(project, reached) for reached in ("sandbox/tree/bin/python3.13", "out/odd.tar.zst")]
    ran = project.run("build")
    assert ran.status == 0, ran.stderr
    scratch = Path(default_root(os.environ), "tmp")
    assert not [path for pid in killed for path in scratch.glob(f"*-{pid}-*")]
    return project.folder / "dist" / "tree" / "odd"


def said(made: Path, *words: str | Path, env: dict[str, str] | None = None) -> list[str]:
    return output(made / "odd", *words, env=env)


def output(*words: str | Path, env: dict[str, str] | None = None) -> list[str]:
    environ = {"PATH": "/usr/bin:/bin", **(env or {})}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_app_finds_all_it_has(made: Path) -> None:
    *files, tool, answer, alias, scripts = said(made, "data")
    texts = {name: ascii(name) for name in NAMES} | {"link": ascii("with blank"), "sub folder": "folder"}
    wanted = [f"{name!a} {text}" for name, text in sorted(texts.items())]
    assert [line for line in files if not line.startswith("'round'")] == wanted
    assert (tool, answer, alias) == ("tool a b", "42", "oddities.alias True")
    assert scripts == "['odd', 'odd-second.one']"
    assert output(made / "bin" / "odd-second.one", "a b") == ["hello a b"]


def test_another_python_s_variables_do_no_harm_and_reach_children_as_they_were(made: Path, tmp_path: Path) -> None:
    (tmp_path / "os.py").write_text("raise SystemExit('the wrong os')\n")
    for library in ("libcrypto.so.3", "libz.so.1"):
        (tmp_path / library).write_text("another program's\n")
    foreign = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "LD_LIBRARY_PATH": str(tmp_path)}
    rest = ["[1] [1] [1] hello hello"]
    before = digest(made)
    assert said(made, "surroundings") == ["[]", "[None, None, None]", *rest]
    assert said(made, "surroundings", env=foreign) == [str(sorted(foreign)), str([*foreign.values()]), *rest]
    assert digest(made) == before


def test_a_second_build_gives_the_same_folder(made: Path, project: Project) -> None:
    """Under another umask, with nothing killed and without an archive; beside it one that leaves nothing out."""
    plain, whole = TREE | {"archive": False}, TREE | {"archive": False, "trim": False}
    (project.folder / "portable.yaml").write_text(json.dumps(CONFIG | {"artifacts": {"plain": plain, "whole": whole}}))
    words = [sys.executable, "-m", "py_portable", "build"]
    subprocess.run(words, cwd=project.folder, umask=0o077, check=True)
    dist = project.folder / "dist"
    assert [p.name for p in (dist / "plain").iterdir()] == ["odd"]
    assert digest(dist / "plain" / "odd") == digest(made)
    left_out = ("include", "lib/python3.13/site-packages/pip")
    for name, there in (("plain", False), ("whole", True)):
        assert [(dist / name / "odd" / path).exists() for path in left_out] == [there] * 2
        assert said(dist / name / "odd", "zone", "No/Where")[0].startswith("none ")


def on_a_machine(folders: dict[str, Path], *words: str | Path) -> list[str]:
    """The words on this machine with no /etc and no /usr/share but the folders given."""
    program = shutil.which("bwrap")
    assert program
    binds = [word for place, folder in folders.items() for word in ("--ro-bind", str(folder), place)]
    hidden = ("--tmpfs", "/etc", "--tmpfs", "/usr/share")
    return output(program, "--ro-bind", "/", "/", "--dev", "/dev", *hidden, *binds, *words)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificate")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    words += ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.pem")]
    subprocess.run(words, check=True, capture_output=True)
    return folder / "server.pem", folder / "server.key"


def debian(roots: Path, pem: Path) -> dict[str, Path]:
    (roots / "certs").mkdir(parents=True)
    (hash,) = output("openssl", "x509", "-hash", "-noout", "-in", pem)
    shutil.copy(pem, roots / "certs" / "localhost.pem")
    (roots / "certs" / f"{hash}.0").symlink_to("localhost.pem")
    return {"/etc/ssl": roots}


def fedora(roots: Path, pem: Path) -> dict[str, Path]:
    (roots / "pki" / "certs").mkdir(parents=True)
    shutil.copy(pem, roots / "pki" / "certs" / "ca-bundle.crt")
    shutil.copy(pem, roots / "tls-ca-bundle.pem")
    return {"/etc/ssl/certs": roots / "pki" / "certs", "/etc/pki/ca-trust/extracted/pem": roots}


def suse(roots: Path, pem: Path) -> dict[str, Path]:
    roots.mkdir()
    shutil.copy(pem, roots / "ca-bundle.pem")
    return {"/etc/ssl": roots}


def others(roots: Path, pem: Path) -> dict[str, Path]:
    (roots / "certs").mkdir(parents=True)
    shutil.copy(pem, roots / "cert.pem")
    return {"/etc/ssl": roots}


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (debian, None),
        (fedora, "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),
        (suse, "/etc/ssl/ca-bundle.pem"),
        (others, None),
    ],
    ids=["Debian", "Fedora", "SUSE", "others"],
)
def test_the_machine_s_certificates_are_trusted(
    family: Callable[[Path, Path], dict[str, Path]],
    told: str | None,
    made: Path,
    certificate: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    folders = family(tmp_path / "roots", certificate[0])
    assert on_a_machine(folders, made / "odd", "tls", *certificate) == [f"TLSv1.3 hello {told}"]


def test_where_there_are_none_nothing_is_trusted_but_what_the_user_names(
    made: Path, certificate: tuple[Path, Path]
) -> None:
    assert on_a_machine({}, made / "odd", "tls", *certificate) == ["not trusted None"]
    named = ("env", f"SSL_CERT_FILE={certificate[0]}")
    assert on_a_machine({}, *named, made / "odd", "tls", *certificate) == [f"TLSv1.3 hello {certificate[0]}"]


def test_time_zones_are_the_machine_s(made: Path, tmp_path: Path) -> None:
    # A zone without rules: the magic, version 1, six counts of which one type of local time and its name's length.
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    (tmp_path / "Test").write_bytes(b"TZif" + bytes(16) + counts + struct.pack(">lbb", 3600, 0, 0) + b"TST\0")
    assert on_a_machine({"/usr/share/zoneinfo": tmp_path}, made / "odd", "zone", "Test") == ["Test"]
    (line,) = on_a_machine({}, made / "odd", "zone", "Test")
    assert line.startswith("none ")
