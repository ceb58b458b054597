"""Reads the name, dependencies and build system that a source declares, without running it."""

from __future__ import annotations

import configparser
import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from py_portable.base.regular import read_regular
from py_portable.errors import ConfigError
from py_portable.lock.egg import egg_requires
from py_portable.lock.index.texts import MAX_TEXT_BYTES, metadata_of, texts

LEGACY_BUILD = ("setuptools>=40.8.0", "wheel")
"""PEP 517: what a project without a [build-system] table requires."""

LEGACY_BACKEND = "setuptools.build_meta:__legacy__"

_OF_SDIST = r"[^/]+/(PKG-INFO|pyproject\.toml|setup\.py|setup\.cfg|([^/]+/)?[^/]+\.egg-info/requires\.txt)"
_OF_FOLDER = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Backend:
    """The build system of a source (PEP 517, PEP 518). `path`: where the backend lies, if it is in the source
    itself.
    """

    requires: tuple[str, ...] = LEGACY_BUILD
    name: str = LEGACY_BACKEND
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """The facts about a source that are known before any of its code runs."""

    name: str | None
    """In its canonical form; None if only building it shows the name."""
    version: str | None
    requires: tuple[str, ...] | None
    """As in Requires-Dist, with extras as markers; None if only the build backend knows them."""
    requires_python: str | None
    backend: Backend
    asks: bool
    """Whether the build backend may require more than build-system.requires says."""
    uv: Mapping[str, Any] = field(default_factory=dict)
    """The table [tool.uv] of its pyproject.toml: its `sources` say where dependencies come from."""


def said(path: Path) -> Said:
    """The declarations of a source folder, an sdist or a wheel. Raises ConfigError if it cannot be read."""
    if path.is_dir():
        return _folder(path)
    status = path.stat()
    return _archive(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _archive(path: Path, _size: int, _mtime: int) -> Said:
    if path.name.endswith(".whl"):
        try:
            parse_wheel_filename(path.name)
        except InvalidWheelFilename as problem:
            raise ConfigError(f"is not the name of a wheel: {problem}", where=path.name) from None
        return said_by_metadata(metadata_of(path), path.name)
    found = texts(path, _OF_SDIST)
    by_name = {name.rpartition("/")[2]: text for name, text in found.items()}
    return _project(by_name, path.name)


def _folder(folder: Path) -> Said:
    files = {name: folder / name for name in _OF_FOLDER}
    found = {name: _read(path) for name, path in files.items() if path.is_file()}
    if not {"pyproject.toml", "setup.py", "setup.cfg"} & found.keys():
        raise ConfigError(
            "is not a Python project: it has neither pyproject.toml nor setup.py",
            where=str(folder),
            hint="see app.source",
        )
    return _project(found, str(folder / "pyproject.toml"))


def _project(files: Mapping[str, str], where: str) -> Said:
    """The declarations in the texts of a source. PKG-INFO and requires.txt count only if there is nothing newer."""
    document = _toml(files["pyproject.toml"], where) if "pyproject.toml" in files else {}
    backend = _backend(document, where)
    asks = _asks(backend, document, files)
    project = document.get("project")
    told = metadata(files["PKG-INFO"], where) if "PKG-INFO" in files else None
    written = _of_metadata(told, backend, asks=asks) if told else None
    uv = _table(_table(document, "tool"), "uv")
    if written is not None and told is not None and _final(told):
        return written
    if isinstance(project, dict):
        name, version = project.get("name"), project.get("version")
        requires = _project_requires(project, where)
        if requires is None:
            requires = _older(files, written)
        python = project.get("requires-python")
        return Said(
            canonicalize_name(name) if isinstance(name, str) else None,
            version if isinstance(version, str) else written.version if written else None,
            requires,
            python if isinstance(python, str) else None,
            backend,
            asks,
            uv,
        )
    return Said(
        written.name if written else _name_elsewhere(document, files),
        written.version if written else None,
        _older(files, written),
        written.requires_python if written else None,
        backend,
        asks,
        uv,
    )


def _older(files: Mapping[str, str], written: Said | None) -> tuple[str, ...] | None:
    """The dependencies that were written into an sdist when it was made, by an older tool.

    Metadata before version 2.2 does not promise that these are final, so what is built is compared with them later.
    """
    if "requires.txt" in files:
        return egg_requires(files["requires.txt"])
    return written.requires if written else None


def _final(told: Message) -> bool:
    """PEP 643: from metadata version 2.2 on, the wheel will repeat whatever PKG-INFO does not call dynamic."""
    version = str(told.get("Metadata-Version", "")).strip().split(".")
    dynamic = {str(value).strip().lower() for value in told.get_all("Dynamic", ())}
    numbers = [int(part) for part in version if part.isascii() and part.isdigit()][:2]
    return numbers >= [2, 2] and not dynamic & {"requires-dist", "provides-extra"}


def metadata(text: str, where: str) -> Message:
    """Read core metadata (PEP 566). Raises ConfigError if it does not name a project."""
    found = HeaderParser().parsestr(text)
    if not str(found.get("Name", "")).strip():
        raise ConfigError("its metadata does not name a project", where=where)
    return found


def _of_metadata(told: Message, backend: Backend, *, asks: bool) -> Said:
    python = told.get("Requires-Python")
    return Said(
        canonicalize_name(str(told["Name"]).strip()),
        str(told.get("Version", "")).strip() or None,
        tuple(" ".join(str(line).split()) for line in told.get_all("Requires-Dist", ())),
        str(python).strip() if python else None,
        backend,
        asks,
    )


def said_by_metadata(text: str, where: str) -> Said:
    """The declarations in the core metadata of something that was built. Raises ConfigError."""
    return _of_metadata(metadata(text, where), Backend((), "", ()), asks=False)


def _project_requires(project: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """The dependencies in a [project] table, those of extras with a marker; None where they are dynamic."""
    dynamic = project.get("dynamic", ())
    if isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & set(map(str, dynamic)):
        return None
    extras = project.get("optional-dependencies", {})
    if not isinstance(extras, dict):
        raise ConfigError("project.optional-dependencies is not a table", where=where)
    found = list(_lines(project.get("dependencies", []), "project.dependencies", where))
    for extra, lines in extras.items():
        for line in _lines(lines, f"project.optional-dependencies.{extra}", where):
            found.append(_with_extra(line, str(extra)))
    return tuple(found)


def _lines(told: Any, key: str, where: str) -> Iterable[str]:
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        raise ConfigError(f"{key} is not a list of requirements", where=where)
    for line in told:
        try:
            Requirement(line)
        except InvalidRequirement as problem:
            raise ConfigError(
                f"{key}: {line!r} is not a requirement: {str(problem).splitlines()[0]}", where=where
            )
        yield line


def _with_extra(line: str, extra: str) -> str:
    wanted = Requirement(line)
    marker = f"({wanted.marker}) and " if wanted.marker else ""
    wanted.marker = None
    return f'{wanted} ; {marker}extra == "{canonicalize_name(extra)}"'


def _name_elsewhere(document: Mapping[str, Any], files: Mapping[str, str]) -> str | None:
    name = _table(_table(document, "tool"), "poetry").get("name")
    if not isinstance(name, str):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(files.get("setup.cfg", ""))
            name = parser.get("metadata", "name", fallback=None)
        except configparser.Error:
            return None
    return canonicalize_name(name) if name else None


def _backend(document: Mapping[str, Any], where: str) -> Backend:
    table = _table(document, "build-system")
    requires, name, path = (
        table.get("requires", LEGACY_BUILD),
        table.get("build-backend"),
        table.get("backend-path", []),
    )
    if not isinstance(requires, (list, tuple)) or not all(isinstance(one, str) for one in requires):
        raise ConfigError("build-system.requires is not a list of requirements", where=where)
    if name is not None and not isinstance(name, str):
        raise ConfigError("build-system.build-backend is not text", where=where)
    if not isinstance(path, list) or not all(isinstance(one, str) for one in path):
        raise ConfigError("build-system.backend-path is not a list of paths", where=where)
    return Backend(tuple(requires), name or LEGACY_BACKEND, tuple(path))


def _asks(backend: Backend, document: Mapping[str, Any], files: Mapping[str, str]) -> bool:
    """Whether the hook get_requires_for_build_wheel (PEP 517) may have an answer. For known backends this is known."""
    if backend.path:
        return True
    tool = _table(document, "tool")
    match backend.name.partition(":")[0]:
        case "setuptools.build_meta":
            return any("setup_requires" in files.get(name, "") for name in ("setup.py", "setup.cfg"))
        case "hatchling.build":
            return "hooks" in str(_table(_table(tool, "hatch"), "build"))
        case "pdm.backend":
            return "setuptools" in str(_table(tool, "pdm"))
        case "flit_core.buildapi" | "poetry.core.masonry.api" | "uv_build":
            return False
    return True


def build_requires(folder: Path) -> tuple[str, ...]:
    """`build-system.requires` of a source folder."""
    return _folder(folder).backend.requires


def build_backend(folder: Path) -> tuple[str, tuple[str, ...]]:
    """`build-system.build-backend` and `backend-path` of a source folder (PEP 517)."""
    backend = _folder(folder).backend
    return backend.name, backend.path


def distribution_name(path: Path) -> str | None:
    """The name of the project in `path` (a folder, sdist or wheel); None if only building it would show the name."""
    return said(path).name


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> str:
    try:
        data = read_regular(path, MAX_TEXT_BYTES)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path)) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if path.suffix == ".toml":
            raise ConfigError("is not UTF-8 text", where=str(path)) from None
        return data.decode("utf-8", "replace")


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise ConfigError(f"is not TOML: {problem}", where=where)
