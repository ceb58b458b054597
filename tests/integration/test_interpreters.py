"""Interpreters of every provider: wheels are really compiled with them, installed and started on images.

A real python-build-standalone archive and a real manylinux image can't be had here: the archives are packed from our
own interpreters in their layouts, with the traits of theirs that matter (compilers that no image has, a prefix of
their own), and the image is laid out like theirs. What is true of the originals beyond that is UNPROVEN.
"""

from __future__ import annotations

import gzip
import http.server
import io
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard

from py_portable import images
from py_portable.base.talk import Talk
from py_portable.commands import portability as portability_command
from py_portable.engines import ids
from py_portable.errors import PortableError
from py_portable.images import Image, Request, packages
from py_portable.plan.selection import Selection
from py_portable.project import building
from py_portable.project.session import Session, open_session
from py_portable.store import Store
from tests.integration.manylinux_like import GLIBC, Layout, Parts
from tests.unit.written import by_text

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
MANYLINUX = "quay.example/manylinux-like:2.31"

MAIN = '''"""Says what it runs on. The modules are those whose libraries an interpreter has to bring along."""

import bz2, ctypes, hashlib, lzma, sqlite3, ssl, sys, zlib

def main():
    assert ctypes.CDLL(None) and ssl.create_default_context() and sqlite3.connect(":memory:")
    print("prefix", sys.base_prefix)
    try:
        import myextension
    except ImportError:
        print("pure works!")
    else:
        assert myextension.fnv1a(b"a") == 0xAF63DC4C8601EC8C
        print("myextension works!")
'''


def app(folder: Path, *, pure: bool) -> None:
    """A small app with the sample's C extension, or with nothing to compile."""
    folder.mkdir(parents=True)
    (folder / "small.py").write_text(MAIN)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "small"\nversion = "1"\ndependencies = []\n'
        '[project.scripts]\nsmall = "small:main"\n[tool.setuptools]\npy-modules = ["small"]\n'
    )
    if not pure:
        shutil.copy(REPOSITORY / "examples/myapp/src/myextension.c", folder)
        (folder / "setup.py").write_text(
            'from setuptools import Extension, setup\n\nsetup(ext_modules=[Extension("myextension", ["myextension.c"])])\n'
        )


def session(folder: Path, *, pure: bool = False, **config: Any) -> Session:
    app(folder / "app", pure=pure)
    said = "pure works!" if pure else "myextension works!"
    told = {
        "version": 1,
        "app": {"source": "app", "smoke": [{"args": [], "stdout": ["prefix /opt/python", said]}]},
        "python": "3.13",
        "artifacts": ["wheelhouse"],
        "portability": {"images": ["debian:11", "debian:13"]},
        **config,
    }
    (folder / "portable.yaml").write_text(json.dumps(told))
    return open_session(folder / "portable.yaml", engine="bubblewrap", talk=Talk())


def verdicts(told: Session) -> dict[str, str]:
    """Image -> verdict, with what went wrong."""
    proved = portability_command.prove(told, Selection(), lambda result: None)
    assert not proved.failures, [problem.render() for problem in proved.failures.values()]
    return {
        cell.image: cell.verdict if cell.verdict != "FAIL" else f"FAIL {cell.reason} {cell.detail} {cell.stderr_tail}"
        for cell in proved.cells
    }


def interpreter(told: Session, name: str) -> tuple[Path, dict[str, Any]]:
    """The prefix of the plan's interpreter step and what it says of itself."""
    built = building.build(told, Selection(controls=False))
    result = by_text(built.report.results)[name]
    return result.path, dict(result.meta)


def failure(told: Session, node: str) -> PortableError:
    """Of the build, or already of the lock, which asks an interpreter that is not pinned for its version."""
    try:
        return by_text(building.build(told, Selection(controls=False)).failures)[node]
    except PortableError as problem:
        return problem


def strays(prefix: Path) -> list[str]:
    """What a prefix must not hold."""
    text = [p for p in prefix.glob("lib/python3.*/_sysconfigdata_*.py") if "/opt/_internal" in p.read_text()]
    names = ("EXTERNALLY-MANAGED", "sitecustomize.py", "libpython*.a", "setuptools")
    out = [p for p in prefix.rglob("*") if p.is_symlink() and not p.resolve().is_relative_to(prefix)]
    return sorted({p.name for p in (*text, *out, *(q for n in names for q in prefix.rglob(n)))})


# ---------------------------------------------------------------------------------------------------- manylinux


class Registry:
    """Stands for the source of registry images: the layers of the layout, unpacked."""

    name = "registry"

    def __init__(self, root: Path, identity: str) -> None:
        self.root = root
        self.identity = identity

    def claims(self, name: str) -> bool:
        return name == MANYLINUX

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        return Image(request.name, self.root, self.identity, "registry", GLIBC, None, origin=self.identity)


@pytest.fixture(scope="module")
def manylinux_root(manylinux_layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("manylinux-root") / "root"
    root.mkdir()
    for layer in manylinux_layout.layers:
        subprocess.run([*ids.prefix(), "tar", "-xpf", layer, "-C", root, "--numeric-owner"], check=True)
    return root


@pytest.fixture
def manylinux(
    manylinux_layout: Layout, manylinux_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """The keys of a config whose baseline is the image."""
    source = Registry(manylinux_root, manylinux_layout.digest)
    monkeypatch.setitem(images.SOURCES, "registry", source)
    yield {
        "interpreter": {"provider": "manylinux"},
        "baselines": {"default": {"image": MANYLINUX}},
        "wheels": {"max-glibc": GLIBC},
    }


def test_manylinux_builds_wheels_that_are_proven(manylinux: dict[str, Any], tmp_path: Path) -> None:
    told = session(tmp_path, **manylinux)
    assert verdicts(told) == {"debian:11": "PASS", "debian:13": "PASS"}
    prefix, meta = interpreter(told, "interpreter 3.13 (default)")
    assert (meta["provider"], meta["libpython"], meta["lacks"]) == ("manylinux", None, [])
    # The image keeps OpenSSL in a folder of its own: an interpreter that goes along has to bring it.
    assert {"libssl.so.3", "libcrypto.so.3"} <= set(meta["brought"])
    assert strays(prefix) == []
    assert not [p for p in (prefix / "bin").iterdir() if p.is_file() and b"/opt/_internal" in p.read_bytes()[:99]]
    rows = json.loads((tmp_path / "dist" / "evidence.json").read_text())["interpreters"]
    assert [(row["version"], row["provider"]) for row in rows] == [(meta["version"], "manylinux")]


def test_manylinux_without_that_python_lists_those_there(manylinux: dict[str, Any], tmp_path: Path) -> None:
    told = session(tmp_path, **manylinux, python="3.12")
    problem = failure(told, "interpreter 3.12 (default)")
    assert problem.what == (f"{MANYLINUX} has no /opt/python/cp312-cp312; there are: cp311-cp311, cp313-cp313")
    assert "choose one of these" in (problem.hint or "")


def test_an_image_that_is_no_manylinux_image_is_said_to_be_none(tmp_path: Path) -> None:
    told = session(tmp_path, **baseline("debian:11"), interpreter={"provider": "manylinux"})
    problem = failure(told, "interpreter 3.13 (default)")
    assert problem.what == "debian:11 has no /opt/python/cp313-cp313; it has nothing in /opt/python"


def test_both_pythons_of_one_image_have_one_lock_and_a_wheelhouse_each(
    manylinux: dict[str, Any], tmp_path: Path
) -> None:
    artifacts = {"new": {"format": "wheelhouse"}, "old": {"format": "wheelhouse", "python": "3.11"}}
    told = session(tmp_path, **manylinux, artifacts=artifacts)
    built = building.build(told, Selection(controls=False))
    assert not built.failures, [problem.render() for problem in built.failures.values()]
    wheels = {name: [p.name for p in made.path.glob("*.whl")] for name, made in built.made.items()}
    assert all(len(names) == 1 for names in wheels.values()), wheels
    assert "cp313-cp313" in wheels["new"][0]
    assert "cp311-cp311" in wheels["old"][0]
    lock = json.loads((tmp_path / "portable.lock").read_text())
    assert sorted(lock["houses"]) == ["default/3.11", "default/3.13"]
    assert list(lock["pins"]) == ["build tools"]


# --------------------------------------------------------------------------------------------------- standalone


def baseline(image: str) -> dict[str, Any]:
    """With the packages of the main job's baseline, so that the store has it already."""
    names = ("libpq-dev", "libcurl4-openssl-dev", "libssl-dev")
    told = packages.system_packages("apt", ("cpython", "library-openssl"), names) if image == "debian:11" else names
    return {"baselines": {"default": {"image": image, "packages": list(told)}}}


def archive(prefix: Path, *, full: bool = False) -> bytes:
    """Packed as python-build-standalone packs it: a prefix and compilers that no baseline has."""
    stream = io.BytesIO()
    top = "python/install" if full else "python"
    with tarfile.open(fileobj=stream, mode="w") as tar:
        if full:
            _add(tar, "python/PYTHON.json", b'{"version": "8", "libpython_link_mode": "static"}')
            _add(tar, "python/build/core/main.o", b"\x7fELF, and not for us")
        for path in sorted(prefix.rglob("*")):
            name = str(path.relative_to(prefix))
            if "__pycache__" in name:
                continue
            if "_sysconfigdata_" in name:
                text = path.read_text().replace("'/opt/python", "'/install")
                text = text.replace("'gcc -pthread", "'/tools/clang-linux64/bin/clang -pthread").replace(
                    "'AR': 'ar'", "'AR': '/tools/clang-linux64/bin/llvm-ar'"
                )
                assert "clang" in text
                _add(tar, f"{top}/{name}", text.encode())
                continue
            tar.add(path, f"{top}/{name}", recursive=False)
    return stream.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def archives(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """install_only.tar.gz of 3.13 and full.tar.zst of 3.11."""
    folder = tmp_path_factory.mktemp("archives")
    small = archive(parts.interpreters["3.13"].path)
    (folder / "install_only.tar.gz").write_bytes(gzip.compress(small, 1, mtime=0))
    whole = archive(parts.interpreters["3.11"].path, full=True)
    (folder / "full.tar.zst").write_bytes(zstandard.ZstdCompressor(1).compress(whole))
    return folder


@pytest.fixture
def server(archives: Path) -> Iterator[str]:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(archives))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def standalone(python: str, **told: str) -> dict[str, Any]:
    return {"interpreter": {"provider": "standalone", "archives": {python: told}}, **baseline("debian:11")}


def test_an_archive_by_address_builds_wheels_that_are_proven(server: str, archives: Path, tmp_path: Path) -> None:
    digest = sha256((archives / "install_only.tar.gz").read_bytes()).hexdigest()
    told = session(tmp_path, **standalone("3.13", url=f"{server}/install_only.tar.gz", sha256=digest))
    assert verdicts(told) == {"debian:11": "PASS", "debian:13": "PASS"}
    prefix, meta = interpreter(told, "interpreter 3.13 (default)")
    assert (meta["provider"], meta["version"], meta["lacks"]) == ("standalone", "3.13.5", [])
    assert strays(prefix) == []
    (variables,) = prefix.glob("lib/python3.*/_sysconfigdata_*.py")
    assert not {word for word in ("clang", "llvm", "/install'") if word in variables.read_text()}
    pins = json.loads((tmp_path / "portable.lock").read_text())["pins"]
    assert pins["standalone 3.13"] == f"sha256:{digest}"


def test_a_full_archive_by_path_proves_a_pure_app(archives: Path, tmp_path: Path) -> None:
    told = session(tmp_path, pure=True, python="3.11", **standalone("3.11", path=str(archives / "full.tar.zst")))
    assert verdicts(told) == {"debian:11": "PASS", "debian:13": "PASS"}
    prefix, meta = interpreter(told, "interpreter 3.11 (default)")
    assert meta["libpython"] == "static"
    assert strays(prefix) == []
    assert not (prefix / "build").exists()


def test_an_archive_of_another_python_is_refused(archives: Path, tmp_path: Path) -> None:
    told = session(tmp_path, python="3.11", **standalone("3.11", path=str(archives / "install_only.tar.gz")))
    problem = failure(told, "interpreter 3.11 (default)")
    assert problem.what == "the archive is Python 3.13.5, but 3.11 is needed"


def test_an_archive_of_another_digest_is_refused(server: str, archives: Path, tmp_path: Path) -> None:
    told = session(tmp_path, **standalone("3.13", url=f"{server}/install_only.tar.gz", sha256="0" * 64))
    problem = failure(told, "archive 3.13")
    assert "it is a different file" in (problem.tail or "")


# ------------------------------------------------------------------------------------------------------- system


@pytest.mark.parametrize("pure", [False, True], ids=["C extension", "pure"])
def test_the_baselines_own_python_builds_wheels_that_are_proven(pure: bool, tmp_path: Path) -> None:
    told = session(
        tmp_path,
        pure=pure,
        python="3.11",
        interpreter={"provider": "system"},
        baselines={"default": {"image": "debian:12"}},
        portability={
            # Debian 12's Python needs its glibc: on an older one it does not start, and pip with it.
            "images": ["debian:12", "debian:13", {"image": "debian:11", "expect": "fail:install"}]
        },
    )
    assert verdicts(told) == {"debian:12": "PASS", "debian:13": "PASS", "debian:11": "XFAIL"}
    prefix, meta = interpreter(told, "interpreter 3.11 (default)")
    assert (meta["provider"], meta["lacks"]) == ("system", [])
    assert {"libexpat.so.1", "libz.so.1", "libssl.so.3"} <= set(meta["brought"])
    assert strays(prefix) == []


def test_a_python_that_the_baseline_has_not_is_named_with_the_one_it_has(tmp_path: Path) -> None:
    told = session(tmp_path, interpreter={"provider": "system"}, baselines={"default": {"image": "debian:12"}})
    problem = failure(told, "interpreter 3.13 (default)")
    assert problem.what == "debian:12 does not have Python 3.13; it has 3.11"
