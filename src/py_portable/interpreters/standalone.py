"""python-build-standalone archives: the config names one for each Python, by address and sha256, or by path.

Their layouts are documented at https://gregoryszorc.com/docs/python-build-standalone/main/distributions.html:
`install_only` has the prefix as `python/`, a full archive as `python/install/` beside `python/PYTHON.json`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py_portable.base.fetch import Url, fetch
from py_portable.base.regular import copy_regular, sha256_of
from py_portable.config import Archive, InterpreterChoice
from py_portable.config.glibc import version_key
from py_portable.errors import ConfigError, StepError
from py_portable.inspect.elf import measure
from py_portable.interpreters.archives import members_of, unpack
from py_portable.interpreters.provider import InterpreterRequest, Libpython
from py_portable.interpreters.settle import SCRIPTS, settle
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId

MAX_ARCHIVE_BYTES = 1 << 30
FULL = "python/PYTHON.json"


class Standalone:
    name = "standalone"
    needs: tuple[str, ...] = ()
    libpython: Libpython | None = None
    of_packages = False
    """Some archives have one, but none that a baseline's compiler is sure to link: see docs/interpreters.md."""

    def pin(self, choice: InterpreterChoice, python: str) -> tuple[str, str]:
        return f"standalone {python}", f"sha256:{digest(_named(choice, python))}"

    def steps(self, wanted: InterpreterRequest) -> tuple[Step, ...]:
        archive = _named(wanted.choice, wanted.house.python)
        unpacked = Step(
            name=NodeId("archive", wanted.house.python),
            action=unpack_archive,
            params={"sha256": digest(archive)},
            lane="io",
            locals={"archive": archive},
        )
        settled = Step(
            name=NodeId("interpreter", house=wanted.house),
            action=take,
            params={"python": wanted.house.python},
            needs=(unpacked.name, wanted.tools),
            scripts=SCRIPTS,
            image=wanted.image,
        )
        return unpacked, settled


def _named(choice: InterpreterChoice, python: str) -> Archive:
    """Raises ConfigError for a further Python of an artifact, of which the config's own rules know nothing."""
    if python not in choice.archives:
        raise ConfigError(
            f"an artifact asks for Python {python}, but no archive is named for it",
            where="interpreter.archives",
        )
    return choice.archives[python]


def digest(archive: Archive) -> str:
    """Its sha256: as the config says, else of the file. Raises ConfigError where that cannot be read."""
    if archive.sha256 or archive.path is None:
        assert archive.sha256 is not None
        return archive.sha256
    try:
        return sha256_of(archive.path)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(archive.path)) from None


def unpack_archive(ctx: Context) -> None:
    archive: Archive = ctx.locals["archive"]
    file = _file(archive, ctx.params["sha256"], ctx.work)
    full = bool(members_of(file, (FULL,)))
    unpack(file, ctx.out, below="python/install" if full else "python")
    if not (ctx.out / "bin" / "python3").exists():
        raise StepError(
            f"{file.name} has no python/bin/python3 and no python/install/bin/python3",
            hint="name an install_only or a full archive of python-build-standalone for Linux with glibc",
        )
    file.unlink()


def _file(archive: Archive, sha256: str, work: Path) -> Path:
    """The archive under a name of our own, verified: a path may change while it is read."""
    if archive.url:
        # Its name is for messages only; what it is, its first bytes say.
        name = archive.url.partition("?")[0].rpartition("/")[2] or "archive"
        return fetch((Url(archive.url),), sha256, work / name, max_bytes=MAX_ARCHIVE_BYTES)
    assert archive.path is not None
    file = work / archive.path.name
    copy_regular(archive.path, file)
    found = digest(Archive(path=file))
    if found != sha256:
        raise StepError(
            f"{archive.path} has the sha256 {found}, but interpreter.archives says {sha256}",
            hint="use the right file, or correct the sha256",
        )
    return file


def take(ctx: Context) -> Mapping[str, Any]:
    assert ctx.image is not None
    shutil.copytree(ctx.need("archive").path, ctx.out, symlinks=True, dirs_exist_ok=True)
    floor, glibc = measure(ctx.out).floor, ctx.image.glibc
    if floor and glibc and version_key(floor) > version_key(glibc):
        raise StepError(
            f"the archive's files need glibc {floor}, but the baseline {ctx.image.name} has {glibc}",
            hint="choose an archive that was built for an older glibc, or a newer baseline",
        )
    return settle(ctx, "standalone", ctx.params["python"], origin="the archive")
