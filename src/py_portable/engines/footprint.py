"""What a command changed in the root file system that it ran in, beside the places that were its own.

An engine with a sandbox closes the root to a build. Where a build runs in the container itself, the root is looked at
before and after: what is new is removed, and what was changed or removed is told.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_State = tuple[int, ...]
_SHARED = ("/dev/shm", "/tmp", "/var/tmp", "/run")
"""What may be file systems of their own, and anybody may write to."""
MOST_NAMED = 5


@dataclass(frozen=True)
class Footprint:
    """`states`: what is there, by path. Of a folder its mode and owner; of anything else its size and times as well."""

    states: Mapping[str, _State]

    @classmethod
    def look(cls, spared: Collection[str], root: str = "/") -> Footprint:
        """All of the root's own file system, and what is mounted on the usual places for passing files. `spared`:
        absolute paths that are not looked into."""
        states: dict[str, _State] = {}
        device = os.lstat(root).st_dev
        tops = [root]
        if root == "/":
            tops += [place for place in _SHARED if Path(place).is_dir() and os.lstat(place).st_dev != device]
        for top in tops:
            states.update(_walk(top, frozenset(spared)))
        return cls(states)


@dataclass(frozen=True)
class Change:
    """`new`: paths that were not there; `lost`: paths that are gone, or other than they were. Both sorted."""

    new: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The first few that are lost."""
        more = f" and {len(self.lost) - MOST_NAMED} more" if len(self.lost) > MOST_NAMED else ""
        return ", ".join(self.lost[:MOST_NAMED]) + more


def change(before: Footprint, after: Footprint, moved: Collection[str] = ()) -> Change:
    """What is different. `moved`: paths that were moved away and back, which is a change of its own time. Pure."""
    new = sorted(after.states.keys() - before.states.keys())
    lost = [
        path
        for path, state in before.states.items()
        if (now := after.states.get(path)) != state
        and not (now and now[:-1] == state[:-1] and any(_is_in(path, place) for place in moved))
    ]
    return Change(tuple(new), tuple(sorted(lost)))


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def remove(new: Collection[str]) -> None:
    """Remove these paths and all below them; no link is followed."""
    for path in sorted(new):
        try:
            kind = os.lstat(path).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(kind):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                Path(path).unlink()


def _walk(top: str, spared: frozenset[str]) -> Iterator[tuple[str, _State]]:
    device = os.lstat(top).st_dev
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = os.scandir(folder)
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.path in spared:
                    continue
                try:
                    state = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if stat.S_ISDIR(state.st_mode):
                    # What is mounted there is not of this root.
                    if state.st_dev != device:
                        continue
                    waiting.append(entry.path)
                    # Its times change with what is made in it for a moment.
                    yield entry.path, (state.st_mode, state.st_uid, state.st_gid)
                else:
                    yield (
                        entry.path,
                        (
                            state.st_mode,
                            state.st_uid,
                            state.st_gid,
                            state.st_size,
                            state.st_mtime_ns,
                            state.st_ctime_ns,
                        ),
                    )
