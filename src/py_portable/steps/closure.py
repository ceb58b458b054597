"""Finds the code of a module, itself and everything that it imports, from the text of the files. A leaf."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
_NAME = PACKAGE.name
_IMPORT = re.compile(
    rf"^[ \t]*(?:from|import)[ \t]+({_NAME}[\w.]*)(?:[ \t]+import[ \t]+(?:\(([^)]*)\)|([^\n#]*)))?",
    re.MULTILINE,
)
_WORD = re.compile(r"\w+")


@cache
def modules(start: str, counts: Callable[[str], bool] | None = None) -> tuple[str, ...]:
    """`start` (such as `py_portable.prove.cell_runs`) and all modules of this package that it imports, directly or not.

    An import anywhere in a file counts, also in a function or for type checkers: too many modules do no harm.
    `counts` says of a module whether it, and what it imports, is wanted; the packages above a module are then left out
    where nothing is imported from them. Raises ValueError where there is no such module.
    """
    if _file(start) is None:
        raise ValueError(f"there is not a module {start}")
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None or (counts and not counts(name)):
            continue
        found.add(name)
        # Whoever imports a module runs the packages above it.
        waiting += [name.rpartition(".")[0]] if counts is None and "." in name else []
        for module, words in _imports(path):
            waiting += words
            if counts is None or not words or not all(map(_file, words)):
                waiting.append(module)
    return tuple(sorted(found))


@cache
def sha256(start: str, beside: tuple[str, ...] = (), counts: Callable[[str], bool] | None = None) -> str:
    """One digest over these modules, and over what is not Python below the folders `beside` of the package."""
    files: Iterable[Path] = [path for name in modules(start, counts) if (path := _file(name))]
    more = (path for folder in beside for path in (PACKAGE / folder).rglob("*"))
    told = hashlib.sha256()
    for path in sorted(
        {*files, *(path for path in more if path.is_file() and path.suffix not in (".py", ".pyc"))}
    ):
        body = hashlib.sha256(path.read_bytes()).hexdigest()
        told.update(f"{path.relative_to(PACKAGE).as_posix()} {body}\n".encode())
    return told.hexdigest()


@cache
def _imports(path: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The imports of a file from this package: (module, the imported names, as if each were a module)."""
    return tuple(
        (module, tuple(f"{module}.{word}" for word in _WORD.findall(several or one)))
        for module, several, one in _IMPORT.findall(path.read_text("utf-8"))
    )


@cache
def _file(name: str) -> Path | None:
    base = PACKAGE.parent.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def forget() -> None:
    """Read the files again, because they have changed."""
    for known in (modules, sha256, _imports, _file):
        known.cache_clear()
