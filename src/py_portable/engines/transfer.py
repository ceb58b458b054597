"""Files into containers and out of them: shown, or copied where a daemon cannot see the caller's paths."""

from __future__ import annotations

import csv
import functools
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from py_portable.base import process
from py_portable.engines import daemon
from py_portable.engines.engine import Bind
from py_portable.errors import MachineError

_COPY_SECONDS = 1800.0


def mount(bind: Bind) -> str:
    """The value of --mount: one record of CSV, so that no character of a path means anything."""
    fields = ["type=bind", f"source={bind.source.absolute()}", f"target={bind.target}"]
    if not bind.writable:
        fields.append("readonly")
    line = io.StringIO()
    # A line break is put in quotes only where it is part of the terminator (Python < 3.13).
    csv.writer(line, lineterminator="\r\n").writerow(fields)
    return line.getvalue().removesuffix("\r\n")


def sees(program: str, image: str, helpers: Path) -> bool:
    """Whether the daemon sees the caller's files and can start them: it is asked for one that nobody else has.

    `image`: any that it has. `helpers`: the folder with the canary. Asked once a process.
    """
    return _sees(program, image, helpers, daemon.selected())


@functools.lru_cache
def _sees(program: str, image: str, helpers: Path, _selected: tuple[str, ...]) -> bool:
    folder = helpers.parent if os.access(helpers.parent, os.W_OK) else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="py-portable-seen-", dir=folder) as made:
        shutil.copy(helpers / "canary", made)
        # No status but 0 would do: podman tells with 126 what docker tells with 125, and so does a root that is
        # nobody outside and does not get at the file.
        outcome = process.run(
            [
                *(program, "run", "--rm", "--pull", "never", "--network", "none"),
                # Not --volume: a daemon elsewhere would make the folder, and keep it.
                *("--mount", mount(Bind(Path(made), "/seen")), "--entrypoint", "/seen/canary", image),
            ],
            timeout=60,
        )
    return outcome.ok


def create(program: str, name: str, words: Iterable[str]) -> None:
    """Raises MachineError."""
    process.check(
        [program, "create", "--interactive", *words],
        what=f"{program} create {name}",
        error=MachineError,
        timeout=120,
    )


def copy_in(program: str, name: str, binds: Iterable[Bind]) -> None:
    """Copy what the binds show to their targets, with its modes. Raises MachineError."""
    with tempfile.TemporaryFile(prefix="py-portable-carry-") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for bind in binds:
                # Resolved: of a link the engine would show what it leads to.
                archive.add(bind.source.resolve(), arcname=bind.target.lstrip("/"))
        file.seek(0)
        process.check(
            [program, "cp", "-", f"{name}:/"],
            what=f"{program} cp into {name}",
            error=MachineError,
            timeout=_COPY_SECONDS,
            stdin=file.fileno(),
        )


def copy_out(program: str, name: str, bind: Bind) -> None:
    """Copy a writable bind back; what is copied belongs to the caller. Raises MachineError."""
    inside = f"{name}:{bind.target}" + ("/." if bind.source.is_dir() else "")
    process.check(
        [program, "cp", inside, bind.source],
        what=f"{program} cp out of {name}",
        error=MachineError,
        timeout=_COPY_SECONDS,
    )


def filled_image(
    program: str, image: str, name: str, tag: str, binds: Iterable[Bind], labels: tuple[str, ...]
) -> str:
    """The image `tag`: `image` with the binds' files in it. Raises MachineError."""
    filler = f"{name}-filler"
    create(program, filler, ("--name", filler, *labels, "--network", "none", "--entrypoint", "/none", image))
    try:
        copy_in(program, filler, binds)
        process.check(
            [program, "commit", filler, tag],
            what=f"{program} commit {filler}",
            error=MachineError,
            timeout=_COPY_SECONDS,
        )
    finally:
        daemon.remove(program, filler)
    return tag


def remove_image(program: str, tag: str) -> None:
    process.run([program, "image", "rm", "--force", tag], timeout=120)
