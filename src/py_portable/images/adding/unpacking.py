"""From the archive of a changed root to a root file system in the store."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from py_portable.base import process
from py_portable.base.regular import sha256_of
from py_portable.engines import beside, ids, stage
from py_portable.errors import StepError
from py_portable.images.adding.normalise import KEPT, Moment, settle
from py_portable.images.debian import network
from py_portable.images.debian.recipe import EPOCH
from py_portable.images.layers import stack
from py_portable.images.layers.blobs import PLAIN_TAR
from py_portable.images.layers.stack import Layer

_ATTRIBUTES = ("--numeric-owner", "--xattrs", "--xattrs-include=*")


def unpack(
    *, base: Path, changed: Path, place: Path, started: int, prefix: tuple[str, ...], timeout: float
) -> None:
    """Make `place/out/root` from the archive `changed`, which is removed, and the root `base` that it came of.

    `started`: when the change began, in seconds. `prefix` maps ids for an ordinary user. Raises StepError.
    """
    log = place / "log"
    if changed.is_symlink() or not changed.is_file():
        raise StepError("the changed root was not packed: the image's tar wrote no archive", log=log)
    root, kept, settled = place / "out" / "root", place / "kept.tar", place / "settled.tar"
    resolver = stage.inside(base, "/etc/resolv.conf")[1:]  # where it leads, engines mount the machine's
    mounted = tuple(dict.fromkeys((*KEPT, resolver)))
    names = [f"./{name}" for name in mounted if _real(base, name)]

    def tar(cwd: Path, *words: str) -> None:
        process.check(
            [*prefix, "tar", *_ATTRIBUTES, *words],
            what="packing and unpacking a root",
            cwd=cwd,
            env={"PATH": network.PATH, "LC_ALL": "C.UTF-8"},
            timeout=timeout,
            log=log,
        )

    if ids.available():
        create = ("--create", f"--file={kept}", "--format=posix", "--no-recursion", "./", "--recursion")
        tar(base, *create, *names)
    else:
        beside.pack(base, kept, [name.removeprefix("./") for name in names], first=(".",))
    settle(
        changed,
        kept,
        settled,
        moment=Moment(started, EPOCH),
        in_base=lambda name: os.path.lexists(base / name),
        mounted=mounted,
    )
    changed.unlink()
    if not ids.available():
        layer = Layer(settled, f"sha256:{sha256_of(settled)}", PLAIN_TAR)
        stack.unpack([layer], root, log=log, timeout=timeout, owners="beside")
        return
    root.mkdir()
    extract = ("--extract", f"--file={settled}", "--preserve-permissions", "--delay-directory-restore")
    tar(root, *extract, "--warning=no-unknown-keyword")


def _real(root: Path, name: str) -> bool:
    """Whether the image has the name, and no link on the way to it."""
    parents = [root / parent for parent in PurePosixPath(name).parents if str(parent) != "."]
    return os.path.lexists(root / name) and not any(path.is_symlink() for path in parents)
