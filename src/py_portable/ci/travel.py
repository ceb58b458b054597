"""What goes from job to job, in tar: an artifact of GitHub loses the modes of files, and with them executables."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from py_portable import command
from py_portable.ci.project import Project
from py_portable.engines import ids
from py_portable.errors import ConfigError, MachineError
from py_portable.untar import extract

DIST, STORE = "dist.tar", "store.tar"
_STORE_PARTS = ("objects", "cache", "CACHEDIR.TAG")
_STORE_FOLDERS = ("objects", "tmp", "locks", "cache", "logs/failed", "quarantine")
_SMALL = ("evidence", "logs", "report.md", "junit.xml")


def pack_dist(found: Sequence[Project], here: Path, to: Path, *, small: bool = False) -> Path:
    """Locks and dist folders, by their paths below `here`. `small`: of dist only what speaks of a run."""
    names = []
    for project in found:
        inside = [project.dist / name for name in _SMALL] if small else _own(project, here)
        for path in inside:
            if path.exists():
                if not Path(os.path.normpath(path)).is_relative_to(here):
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


def unpack_dist(archives: Sequence[Path], here: Path, found: Sequence[Project]) -> int:
    """What other jobs handed on, the later one's word counts; how many there were.

    Only locks and what lies in dist folders is taken: those jobs started what strangers wrote. Digests speak of modes,
    so these are kept whole. Raises ConfigError.
    """
    places = [PurePosixPath(os.path.relpath(path, here)) for project in found for path in _own(project, here)]
    for archive in archives:
        try:
            with tarfile.open(archive, "r:") as tar:
                extract(
                    tar,
                    here,
                    mask=0o7777,
                    links_out=True,
                    admit=lambda path: any(path.is_relative_to(place) for place in places),
                )
        except (tarfile.TarError, EOFError, OSError) as problem:
            raise ConfigError(
                f"cannot be unpacked: {problem}", where=f"{archive.parent.name}/{archive.name}"
            )
    return len(archives)


def _own(project: Project, here: Path) -> tuple[Path, Path]:
    return project.dist, (here / project.config).with_suffix(".lock")


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
