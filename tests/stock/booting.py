"""A machine is booted from its layers, and ended with all that was started in it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.stock import outside
from tests.stock.inside import HERE, Machine
from tests.stock.kinds import Kind

VOLUMES = ("home", "root", "tmp", "var/lib/docker", "var/lib/containers")
"""On a plain file system, as there: docker and the kit put overlays of their own there."""
STOP_SECONDS = 20.0


@contextlib.contextmanager
def booted(lowers: Sequence[Path], name: str, kind: Kind, upper: Path | None = None) -> Iterator[Machine]:
    """`upper`: a layer is being made there; nothing is refused then, and nothing lies on volumes."""
    work = Path(tempfile.mkdtemp(prefix=f"py-portable-stock-{name}-"))
    work.chmod(0o755)
    # An overlay needs its upper and its work folder on one file system.
    scratch = (upper.parent if upper else work) / "overlay-work"
    try:
        volumes = {} if upper else {one: _volume(lowers, one, work / "volumes") for one in VOLUMES}
        words = _words(lowers, name, kind, upper or work / "upper", scratch, work / "root", volumes)
        free = kind if volumes else dataclasses.replace(kind, refuses=())
        with _first(words) as pid:
            machine = Machine(free, work, pid, volumes, dict(outside.environment()))
            try:
                yield machine
            finally:
                _end(machine)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _remove(work)


def _remove(work: Path) -> None:
    """Nobody waits for it: docker leaves gigabytes, which a busy disk takes a minute to forget."""
    gone = work.rename(work.with_name(f"{work.name}.gone"))
    words = ["sh", "-c", 'rm -rf --one-file-system -- "$1" >/dev/null 2>&1 &', "sh", gone]
    subprocess.run(words, stdin=subprocess.DEVNULL, start_new_session=True, check=True)


def _words(
    lowers: Sequence[Path],
    name: str,
    kind: Kind,
    upper: Path,
    scratch: Path,
    root: Path,
    volumes: Mapping[str, Path],
) -> list[str]:
    for place in (upper, scratch, root):
        place.mkdir(exist_ok=True)
    _write_files(upper, lowers, name)
    told = {
        "kind": name,
        "root": str(root),
        "lowers": [str(one) for one in lowers],
        "upper": str(upper),
        "work": str(scratch),
        "volumes": {one: str(place) for one, place in volumes.items()},
        "apparmor": kind.apparmor and bool(volumes),
        "container": "container" in kind.refuses and bool(volumes),
    }
    return [sys.executable, str(HERE / "boot.py"), json.dumps(told)]


@contextlib.contextmanager
def _first(words: Sequence[str]) -> Iterator[int]:
    """The first process, which ends with this one, whatever ends this one: its pipe ends then."""
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as boot:
        assert boot.stdin and boot.stdout and boot.stderr
        try:
            told = boot.stdout.readline()
            assert told, boot.stderr.read().decode("utf-8", "replace")
            yield int(told)
        finally:
            boot.stdin.close()
            boot.wait(30)


def _volume(lowers: Sequence[Path], name: str, volumes: Path) -> Path:
    place = volumes / name
    place.mkdir(parents=True)
    for lower in reversed(lowers):
        if (lower / name).is_dir():
            subprocess.run(["cp", "-a", f"{lower / name}/.", place], check=True)
            shutil.copystat(lower / name, place)
    return place


def _write_files(upper: Path, lowers: Sequence[Path], name: str) -> None:
    told = dict(outside.files())
    told["/etc/hostname"] = f"{name}\n".encode()
    told["/etc/hosts"] = f"127.0.0.1\tlocalhost {name}\n::1\tlocalhost\n".encode()
    for path, contents in told.items():
        place = upper / path.removeprefix("/")
        for folder in reversed(place.relative_to(upper).parents):
            _folder(upper, lowers, folder)
        place.write_bytes(contents)
        place.chmod(0o644)


def _folder(upper: Path, lowers: Sequence[Path], folder: Path) -> None:
    """With the mode that it has below."""
    if not (upper / folder).exists():
        (upper / folder).mkdir()
        below = next((lower / folder for lower in lowers if (lower / folder).is_dir()), None)
        (upper / folder).chmod(below.stat().st_mode & 0o7777 if below else 0o755)


def _end(machine: Machine) -> None:
    """What was started there is asked to end, by its own id: docker then leaves no control groups behind."""
    for started in machine.started.values():
        if started.poll() is None:
            children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
            for pid in children or [str(started.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(STOP_SECONDS)
        if started.poll() is None:
            started.kill()
            started.wait()
