"""What goes from job to job, in tar: an artifact of GitHub loses the modes of files, and with them executables.

GNU tar writes nothing outside the folder it extracts into: neither `..` nor a link of the archive leads out of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from py_portable import command
from py_portable.ci.project import Project
from py_portable.engines import ids
from py_portable.errors import MachineError

DIST, STORE = "dist.tar", "store.tar"
_STORE_PARTS = ("objects", "cache", "CACHEDIR.TAG")
_STORE_FOLDERS = ("objects", "tmp", "locks", "cache", "logs/failed", "quarantine")
_SMALL = ("evidence", "logs", "report.md", "junit.xml")


def pack_dist(found: Sequence[Project], here: Path, to: Path, *, small: bool = False) -> Path:
    """Locks and dist folders, by their paths below `here`. `small`: of dist only what speaks of a run."""
    names = []
    for project in found:
        lock = (here / project.config).with_suffix(".lock")
        inside = [project.dist / name for name in _SMALL] if small else [project.dist, lock]
        for path in inside:
            if path.exists():
                if not path.is_relative_to(here):
                    raise MachineError(
                        "only what lies in the repository's folder is handed on",
                        where=str(path),
                        hint="give a dist below it",
                    )
                names.append(f"./{path.relative_to(here)}")
    to.mkdir(parents=True, exist_ok=True)
    archive = to / DIST
    argv: list[str | Path] = ["tar", "--create", "--file", archive, "--directory", here, "--numeric-owner"]
    command.check([*argv, "--files-from", os.devnull, "--", *names], what="packing", error=MachineError)
    return archive


def unpack_dist(folder: Path, here: Path) -> int:
    """All archives of other jobs below `folder`; how many there were."""
    archives = sorted(folder.rglob(DIST))
    for archive in archives:
        argv: list[str | Path] = ["tar", "--extract", "--file", archive, "--directory", here]
        command.check(
            [*argv, "--preserve-permissions", "--no-same-owner"],
            what=f"unpacking {archive.parent.name}/{archive.name}",
            error=MachineError,
        )
    return len(archives)


def pack_store(store: Path, to: Path) -> Path | None:
    """The store, also what belongs to ids of a mapped range in it; None where there is none."""
    parts = [name for name in _STORE_PARTS if (store / name).exists()]
    if _STORE_PARTS[-1] not in parts:
        return None
    to.mkdir(parents=True, exist_ok=True)
    archive = to / STORE
    argv: list[str | Path] = [
        *ids.prefix(),
        "tar",
        "--create",
        "--file",
        archive,
        "--directory",
        store,
        "--numeric-owner",
    ]
    command.check([*argv, "--", *parts], what="packing the store", error=MachineError)
    return archive


def unpack_store(folder: Path, store: Path) -> bool:
    """Into a store that is not there yet; one that is (a runner that stays) knows more. What it holds is checked
    by its digest when it is used."""
    archives = sorted(folder.rglob(STORE))
    if store.exists() or not archives:
        return False
    fresh = store.with_name(f"{store.name}.{os.getpid()}")
    fresh.mkdir(mode=0o700, parents=True)
    try:
        argv: list[str | Path] = [
            *ids.prefix(),
            "tar",
            "--extract",
            "--file",
            archives[0],
            "--directory",
            fresh,
        ]
        command.check(
            [*argv, "--numeric-owner", "--preserve-permissions"],
            what="unpacking the store",
            error=MachineError,
        )
        for name in _STORE_FOLDERS:
            (fresh / name).mkdir(parents=True, exist_ok=True)
        fresh.replace(store)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return True
