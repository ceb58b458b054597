"""What a source tree or sdist says of itself without being run: its name, dependencies, build requirements."""

from __future__ import annotations

import json
import lzma
import re
import struct
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from py_portable.errors import ConfigError
from py_portable.index.files import SDIST_BOUNDS
from py_portable.regular import read_regular
from py_portable.tarball import members, opened

LEGACY_BUILD = ("setuptools>=40.8.0", "wheel")
"""PEP 517: what a project without a [build-system] table requires."""

LEGACY_BACKEND = "setuptools.build_meta:__legacy__"

MAX_METADATA_BYTES = 4 << 20

# RuntimeError: an encrypted member; NotImplementedError: an unknown compression; ValueError: a broken header.
_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    struct.error,
)


def dependency_files(folder: Path) -> tuple[Path, ...]:
    """The file of a source folder that tells its dependencies, as uv takes it."""
    project = folder / "pyproject.toml"
    if project.is_file() and "project" in _read_toml(project):
        return (project,)
    for name in ("setup.py", "setup.cfg"):
        if (folder / name).is_file():
            return (folder / name,)
    if project.is_file():
        return (project,)
    raise ConfigError(
        "is no Python project: it has neither pyproject.toml nor setup.py",
        where=str(folder),
        hint="see app.source",
    )


def is_static(folder: Path) -> bool:
    """Whether the source folder tells its dependencies without its own code being run."""
    (file,) = dependency_files(folder)
    if file.name != "pyproject.toml":
        return False
    return "dependencies" not in _read_toml(file).get("project", {}).get("dynamic", ())


def build_requires(folder: Path) -> tuple[str, ...]:
    """`build-system.requires` of a source folder."""
    project = folder / "pyproject.toml"
    if not project.is_file():
        return LEGACY_BUILD
    return _build_requires(_read_toml(project), str(project))


def build_backend(folder: Path) -> tuple[str, tuple[str, ...]]:
    """`build-system.build-backend` and `backend-path` of a source folder (PEP 517)."""
    project = folder / "pyproject.toml"
    told = _table(_read_toml(project), "build-system") if project.is_file() else {}
    backend, paths = told.get("build-backend", LEGACY_BACKEND), told.get("backend-path", [])
    if not isinstance(backend, str):
        raise ConfigError("build-system.build-backend is not text", where=str(project))
    if not isinstance(paths, list) or not all(isinstance(one, str) for one in paths):
        raise ConfigError("build-system.backend-path is not a list of paths", where=str(project))
    return backend, tuple(paths)


def sdist_build_requires(sdist: Path) -> tuple[str, ...]:
    """`build-system.requires` of an sdist."""
    text = _members(sdist, r"[^/]+/pyproject\.toml").get("pyproject.toml")
    return LEGACY_BUILD if text is None else _build_requires(_toml(text, sdist.name), sdist.name)


def sdist_requires(sdist: Path) -> tuple[str, ...] | None:
    """The dependencies that were written into an sdist when it was made; None where it says nothing.

    Sdists of the older metadata versions do not promise that these are final, so uv builds them to find out,
    and that needs the libraries that only the baseline has.
    """
    found = _members(sdist, r"[^/]+/([^/]+/)?[^/]+\.egg-info/requires\.txt|[^/]+/PKG-INFO")
    if "requires.txt" in found:
        return egg_requires(found["requires.txt"])
    if "PKG-INFO" not in found:
        return None
    return tuple(HeaderParser().parsestr(found["PKG-INFO"]).get_all("Requires-Dist", ()))


def egg_requires(text: str) -> tuple[str, ...]:
    """The requirements of an `egg-info/requires.txt`, its sections turned into markers."""
    requires, extra, marker = [], "", ""
    for line in (raw.strip() for raw in text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if section := re.fullmatch(r"\[([^:\]]*)(?::(.*))?\]", line):
            extra, marker = section[1].strip(), (section[2] or "").strip()
            continue
        terms = [f"({marker})"] if marker else []
        terms += [f'extra == "{extra}"'] if extra else []
        requires.append(f"{line} ; {' and '.join(terms)}" if terms else line)
    return tuple(requires)


def distribution_name(path: Path) -> str | None:
    """The name of the project in `path` (a folder, sdist or wheel); None where only building would tell."""
    if path.name.endswith(".whl"):
        return str(parse_wheel_filename(path.name)[0])
    if path.is_file():
        return str(parse_sdist_filename(path.name)[0])
    project = path / "pyproject.toml"
    name = _table(_read_toml(project), "project").get("name") if project.is_file() else None
    return canonicalize_name(name) if isinstance(name, str) else None


def dependencies_fingerprint(folder: Path) -> Any:
    """JSON that changes when what the source folder depends on may have changed."""
    (file,) = dependency_files(folder)
    if file.name != "pyproject.toml":
        return _texts(folder, ("setup.py", "setup.cfg", "pyproject.toml"))
    table = _read_toml(file)
    project = _table(table, "project")
    told: dict[str, Any] = {
        key: _jsonable(project.get(key))
        for key in ("name", "dependencies", "optional-dependencies", "requires-python")
    }
    told["build-system"] = _jsonable(_table(table, "build-system").get("requires"))
    if {"dependencies", "optional-dependencies"} & set(map(str, project.get("dynamic", ()))):
        dynamic = _table(_table(_table(table, "tool"), "setuptools"), "dynamic")
        told |= _texts(folder, ("setup.py", "setup.cfg", *_file_names(dynamic)))
    return told


def _texts(folder: Path, names: Iterable[str]) -> dict[str, str]:
    paths = {name: folder / name for name in names}
    return {name: path.read_text("utf-8", "replace") for name, path in paths.items() if path.is_file()}


def _file_names(told: Any) -> list[str]:
    """What stands under `file`, anywhere in [tool.setuptools.dynamic]."""
    found: list[str] = []
    for key, value in told.items() if isinstance(told, dict) else ():
        if key == "file":
            found += [
                name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str)
            ]
        else:
            found += _file_names(value)
    return found


def _build_requires(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    requires = _table(table, "build-system").get("requires", LEGACY_BUILD)
    if not isinstance(requires, (list, tuple)) or not all(isinstance(one, str) for one in requires):
        raise ConfigError("build-system.requires is not a list of requirements", where=where)
    return tuple(requires)


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return _toml(read_regular(path, MAX_METADATA_BYTES).decode("utf-8"), str(path))
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path))
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", where=str(path))


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise ConfigError(f"is not TOML: {problem}", where=where)


def _members(sdist: Path, pattern: str) -> dict[str, str]:
    """Last part of the name -> text, of the members whose whole name matches."""
    found: dict[str, str] = {}
    wanted = re.compile(pattern)
    try:
        if sdist.name.endswith(".zip"):
            with zipfile.ZipFile(sdist) as archive:
                for info in archive.infolist():
                    if wanted.fullmatch(info.filename) and info.file_size <= MAX_METADATA_BYTES:
                        found[PurePosixPath(info.filename).name] = archive.read(info).decode(
                            "utf-8", "replace"
                        )
        else:
            with opened(sdist, SDIST_BOUNDS) as tar:
                for member in members(tar, SDIST_BOUNDS):
                    if (
                        member.isfile()
                        and member.size <= MAX_METADATA_BYTES
                        and wanted.fullmatch(member.name)
                    ):
                        stream = tar.extractfile(member)
                        assert stream is not None
                        found[PurePosixPath(member.name).name] = stream.read().decode("utf-8", "replace")
    except _UNREADABLE as problem:
        raise ConfigError(f"cannot be read as an sdist: {problem}", where=sdist.name)
    return found
