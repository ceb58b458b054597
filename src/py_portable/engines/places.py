"""The places of a build in the root that it runs in, where nothing can be mounted: copied or moved there, and cleared.

What a command reads is a copy, so that it cannot change the original. A folder that it writes to is moved to its place
for the time that it runs, with a link where it was, and back afterwards. What an image has at such a place is moved
aside for that time. A build may lay out its places on top of those of another one that waits for it.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.base import process
from py_portable.engines.engine import Bind
from py_portable.errors import MachineError

ASIDE = "/.py-portable-aside"
"""Where is kept what stood in the way. On the root's own file system, so that it is moved and not copied."""
_COPY_SECONDS = 1800.0


@dataclass
class _Layer:
    number: int
    aside: Path
    laid: list[_Laid] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)
    """Folders above the places that were not there."""


@dataclass(frozen=True)
class _Laid:
    """`moved`: the folder that was moved to the target. `aside`: where is what was there before."""

    target: Path
    moved: Path | None = None
    aside: Path | None = None


class Places:
    """The layers of one root. `aside`: a folder on its file system."""

    def __init__(self, aside: str = ASIDE) -> None:
        self._aside = Path(aside)
        self._layers: list[_Layer] = []
        self._changed = threading.Condition()
        self._count = 0

    @property
    def spared(self) -> tuple[str, ...]:
        """What belongs to layers that wait, and is not looked at."""
        with self._changed:
            return (str(self._aside), *(str(laid.target) for layer in self._layers for laid in layer.laid))

    @contextmanager
    def laid(self, binds: Sequence[Bind], work: Path | None = None) -> Iterator[tuple[str, ...]]:
        """Lay out the binds at their targets for the time of the block, which gets the paths of what was in the way.

        `work`: the folder of the step; a writable folder outside of it lasts longer than the step, such as a cache, and
        is linked to. Raises MachineError.
        """
        with self._changed:
            self._count += 1
            layer = _Layer(self._count, self._aside / str(self._count))
            self._layers.append(layer)
        try:
            _lay(layer, binds, work)
            yield tuple(str(laid.target) for laid in layer.laid if laid.aside)
        finally:
            # One that was laid on top is cleared before: it has moved aside what is this one's.
            with self._changed:
                self._changed.wait_for(lambda: self._layers[-1] is layer)
            try:
                _clear(layer)
            finally:
                with self._changed:
                    self._layers.remove(layer)
                    self._changed.notify_all()


def _lay(layer: _Layer, binds: Sequence[Bind], work: Path | None) -> None:
    layer.aside.mkdir(parents=True, mode=0o700)
    last = {bind.source.absolute(): bind.target for bind in binds}
    for bind in sorted(binds, key=lambda one: one.target.count("/")):
        source, target = bind.source.absolute(), Path(bind.target)
        _make_room(layer, target)
        if bind.target != last[source]:
            # One folder under two names: the last one is its own.
            target.symlink_to(last[source])
        elif not source.is_dir():
            shutil.copy2(source, target)
        elif bind.writable and work is not None and not source.is_relative_to(work):
            target.symlink_to(source)
        elif bind.writable or not any(source.iterdir()):
            # An empty folder that is only read is one in which something will appear meanwhile.
            layer.laid[-1] = _Laid(target, source, layer.laid[-1].aside)
            _move(source, target)
            source.symlink_to(target)
        else:
            _copy(source, target)


def _make_room(layer: _Layer, target: Path) -> None:
    for parent in reversed(target.parents):
        if not parent.exists():
            parent.mkdir(mode=0o755)
            parent.chmod(0o755)
            layer.made.append(parent)
    aside = None
    if os.path.lexists(target):
        aside = layer.aside / str(len(layer.laid))
        if os.path.ismount(target):
            raise MachineError(
                f"{target} is used by build steps, but something is mounted there in this container",
                hint="mount it somewhere else: steps use /build, /out, /in, /kit, /cache, /opt/python, /opt/tools",
            )
        _move(target, aside)
    layer.laid.append(_Laid(target, None, aside))


def _clear(layer: _Layer) -> None:
    for laid in reversed(layer.laid):
        if laid.moved is not None and laid.moved.is_symlink():
            laid.moved.unlink()
            if laid.target.is_dir() and not laid.target.is_symlink():
                _move(laid.target, laid.moved)
            else:
                # Its command put something else there. What is behind a link is nothing that it made.
                laid.moved.mkdir()
        _remove(laid.target)
        if laid.aside is not None:
            _move(laid.aside, laid.target)
    for folder in reversed(layer.made):
        _remove(folder)
    _remove(layer.aside)


def _move(source: Path, target: Path) -> None:
    """Rename; a copy, where they lie on two file systems, or where the source is a folder of an image's lower layer."""
    try:
        source.rename(target)
    except OSError as problem:
        if problem.errno != errno.EXDEV:
            raise
        _copy(source, target)
        _remove(source)


def _copy(source: Path, target: Path) -> None:
    """All of it with owners, modes, times and links. `cp` knows kinds of files that Python would wait for."""
    process.check(
        ["cp", "-a", "--", source, target],
        what=f"laying out {target}",
        timeout=_COPY_SECONDS,
        error=MachineError,
        hint="the container needs space for the inputs of a build, and the program cp",
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
