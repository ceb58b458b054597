"""Which C library a root file system has, found by looking into the root itself."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from py_portable.engines.stage import inside
from py_portable.errors import PortableError
from py_portable.inspect import elf

MAX_LIBC = 64 << 20
_MAX_RELEASE = 64 << 10
# What `libc.so.6` prints when it is started. Red Hat backports symbol versions from later releases, so the highest
# version that the library defines says less.
_BANNER = re.compile(rb"GNU C Library [^\n\0]{0,160}?release version ([0-9]{1,2}\.[0-9]{1,3})")
_FILE_NAME = re.compile(r"libc-([0-9]{1,2}\.[0-9]{1,3})\.so")


def glibc(root: Path, machine: str | None = None) -> str | None:
    """`2.31`, or None where there is no glibc for this machine (musl, an empty root). No link leads outside."""
    machine = machine or platform.machine()
    folders = ["lib", "lib64", "usr/lib", "usr/lib64"]
    folders += [f"{folder}/{machine}-linux-gnu" for folder in ("lib", "usr/lib")]
    for folder in folders:
        path = _file(root, f"{folder}/libc.so.6")
        if path is None:
            continue
        try:
            if elf.read(path).arch != machine:
                continue
            with path.open("rb") as stream:
                found = _BANNER.search(stream.read(MAX_LIBC))
        except (OSError, PortableError):
            continue
        if found:
            return found[1].decode()
        # glibc before 2.34 gave the file its version, and libc.so.6 was a link to it.
        named = _FILE_NAME.fullmatch(path.name)
        if named:
            return named[1]
    return None


def debian_suite(root: Path) -> str | None:
    """`bullseye` where the root is a Debian; None for any other system."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        path = _file(root, name)
        if path is None:
            continue
        try:
            with path.open("rb") as stream:
                text = stream.read(_MAX_RELEASE).decode("utf-8", "replace")
        except OSError:
            continue
        told = dict(re.findall(r"^([A-Z_]+)=[\"']?([^\"'\n]*)[\"']?$", text, re.MULTILINE))
        suite = told.get("VERSION_CODENAME", "")
        return suite if told.get("ID") == "debian" and re.fullmatch(r"[a-z][a-z0-9-]*", suite) else None
    return None


def _file(root: Path, name: str) -> Path | None:
    """The regular file that the name leads to inside the root."""
    try:
        path = root / inside(root, f"/{name}").lstrip("/")
        return path if path.is_file() and not path.is_symlink() else None
    except (OSError, ValueError, PortableError):
        return None
