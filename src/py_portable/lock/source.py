"""What a source tree or sdist says of itself without being run: its name, dependencies, build requirements."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from py_portable.errors import ConfigError

LEGACY_BUILD = ("setuptools>=40.8.0", "wheel")
"""PEP 517: what a project without a [build-system] table requires."""

MAX_METADATA_BYTES = 4 << 20


def dependency_files(folder: Path) -> tuple[Path, ...]:
    """The file of a source folder that tells its dependencies, as uv takes it."""
    project = folder / "pyproject.toml"
    if project.is_file() and "project" in _toml(project.read_text("utf-8"), str(project)):
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


def build_requires(folder: Path) -> tuple[str, ...]:
    """`build-system.requires` of a source folder."""
    project = folder / "pyproject.toml"
    return _build_requires(project.read_text("utf-8") if project.is_file() else None, str(project))


def sdist_build_requires(sdist: Path) -> tuple[str, ...]:
    """`build-system.requires` of an sdist."""
    return _build_requires(_members(sdist, r"[^/]+/pyproject\.toml").get("pyproject.toml"), sdist.name)


def sdist_requires(sdist: Path) -> tuple[str, ...] | None:
    """The dependencies that setuptools wrote into an sdist when it was made; None where it says nothing.

    Sdists of the older metadata versions do not promise that these are final, so uv builds them to find out,
    and that needs the libraries that only the baseline has.
    """
    found = _members(sdist, r"[^/]+/([^/]+/)?[^/]+\.egg-info/requires\.txt|[^/]+/PKG-INFO")
    if "requires.txt" in found:
        return egg_requires(found["requires.txt"])
    return () if "PKG-INFO" in found else None


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
    table = _toml(project.read_text("utf-8"), str(project)).get("project", {}) if project.is_file() else {}
    return canonicalize_name(table["name"]) if "name" in table else None


def dependencies_fingerprint(folder: Path) -> Any:
    """JSON that changes when what the source folder depends on may have changed."""
    (file,) = dependency_files(folder)
    if file.name != "pyproject.toml":
        return {file.name: file.read_text("utf-8", "replace")}
    table = _toml(file.read_text("utf-8"), str(file))
    project: Mapping[str, Any] = table.get("project", {})
    told = {
        key: project.get(key) for key in ("name", "dependencies", "optional-dependencies", "requires-python")
    }
    told["build-system"] = table.get("build-system", {}).get("requires")
    if "dependencies" in project.get("dynamic", ()) and (folder / "setup.py").is_file():
        told["setup.py"] = (folder / "setup.py").read_text("utf-8", "replace")
    return told


def _build_requires(text: str | None, where: str) -> tuple[str, ...]:
    if text is None:
        return LEGACY_BUILD
    requires: Sequence[str] = _toml(text, where).get("build-system", {}).get("requires", LEGACY_BUILD)
    return tuple(requires)


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
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
            with tarfile.open(sdist) as tar:
                for member in tar:
                    if (
                        member.isfile()
                        and member.size <= MAX_METADATA_BYTES
                        and wanted.fullmatch(member.name)
                    ):
                        stream = tar.extractfile(member)
                        assert stream is not None
                        found[PurePosixPath(member.name).name] = stream.read().decode("utf-8", "replace")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as problem:
        raise ConfigError(f"cannot be read as an sdist: {problem}", where=sdist.name)
    return found
