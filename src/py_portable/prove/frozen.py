"""Makes sure that cells start files which only the user can write to, and whose digest was computed in place.

Files that were made here are in the store, where nobody else writes. All other files (a user's own file, a file from
another machine) could change before they are started: they are copied first, once in a run, and only if one of their
cells really starts.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from py_portable.errors import UnmetError
from py_portable.formats import FORMATS, Made
from py_portable.store import Store, copying
from py_portable.store.faults import explain, is_out_of_room
from py_portable.store.walk import remove, started_mode

_AGAIN = "run it again while nothing else changes it"


class Freezer:
    """The copies of one run. They are gone when `stack` is closed.

    `reachable`: cells see their paths as they are, as an ordinary user (the engine `native` under root), so that
    nothing can be started in the store, which is closed to others.
    """

    def __init__(self, store: Store, stack: ExitStack, *, reachable: bool = False) -> None:
        self._store = store
        self._stack = stack
        self._reachable = reachable
        self._room: Path | None = None
        self._copies: dict[tuple[Path, str, int | None], Path | UnmetError] = {}

    def freeze(self, made: Made, *, whole: bool = False) -> Made:
        """The same artifact at the place from which it can be started, with the other files that its start needs.

        `whole`: always include the interpreter and the wheelhouse. Raises UnmetError if a digest no longer fits,
        StoreError for a full disk.
        """
        path = self._take(made.stored or made.path, made.sha256, made.mode, made.name)
        shown = [] if whole else FORMATS[made.format].start(made).sources

        def beside(name: str, place: Path | None, digest: str | None) -> Path | None:
            if place is None or digest is None:
                return place
            if not whole and not any(source.is_relative_to(place) for source in shown):
                return place
            return self._take(place, digest, None, f"the {name} of {made.name}")

        return replace(
            made,
            path=path,
            stored=None,
            interpreter=beside("interpreter", made.interpreter, made.interpreter_digest),
            wheelhouse=beside("wheelhouse", made.wheelhouse, made.wheelhouse_digest),
        )

    def _take(self, path: Path, digest: str, mode: int | None, what: str) -> Path:
        if self._store.key_of(path) and not self._reachable:
            return path
        wanted = (path, digest, mode)
        if wanted not in self._copies:
            try:
                self._copies[wanted] = self._copy(path, digest, mode, what)
            except UnmetError as problem:
                self._copies[wanted] = problem
        found = self._copies[wanted]
        if isinstance(found, UnmetError):
            raise found
        return found

    def _copy(self, path: Path, digest: str, mode: int | None, what: str) -> Path:
        folder = self._folder() / str(len(self._copies))
        folder.mkdir(0o755)
        target = folder / path.name
        try:
            records = copying.copy(path, target)
        except OSError as problem:
            if is_out_of_room(problem):
                raise explain(problem, f"copy {what}", folder) from problem
            why = f"{problem.filename or path}: {problem.strerror}"
            raise UnmetError(f"{what} cannot be copied for the start: {why}", hint=_AGAIN) from problem
        seen = copying.digest_of_copy(records)
        if seen != digest:
            changed = f"its digest is {seen[:19]}… now, and was {digest[:19]}…"
        elif mode is not None and started_mode(records[0].mode) != mode:
            changed = f"its mode is {records[0].mode:04o} now, and was {mode:04o}"
        else:
            return target
        remove(target)
        raise UnmetError(f"{what} was changed during this run: {changed}", hint=_AGAIN)

    def _folder(self) -> Path:
        if self._room is None and self._reachable:
            # Called as the engine's own copies are, so that it sweeps those of callers that were killed.
            prefix = f"py-portable-home-{os.getpid()}-"
            self._room = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
            self._room.chmod(0o755)
        elif self._room is None:
            self._room = self._stack.enter_context(self._store.scratch("frozen"))
        return self._room
