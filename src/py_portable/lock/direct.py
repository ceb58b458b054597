"""Dependencies that are named by address: a URL, a commit of a repository, or a path. Pure, except that it looks at
files.

The forms are those of PEP 508 and, for the app's own sources, of the table [tool.uv.sources] in pyproject.toml.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from py_portable.errors import ConfigError
from py_portable.lock.index.git import SCHEMES

MAX_ABOVE = 20
"""The root of a workspace is looked for at most this number of folders above."""


@dataclass(frozen=True)
class Direct:
    """One such dependency. `address` is a URL, or an absolute path on this machine."""

    name: str
    kind: Literal["url", "git", "path"]
    address: str = field(repr=False)
    where: str = ""
    ref: str | None = None
    subdirectory: str = ""
    digests: tuple[tuple[str, str], ...] = ()
    """The digest in the address itself, as (algorithm, hex digits)."""

    def __post_init__(self) -> None:
        if "\0" in f"{self.address}{self.ref}{self.subdirectory}":
            raise ConfigError(f"the address of {self.name} contains a NUL character", where=self.where)


def of_requirement(wanted: Requirement, where: str) -> Direct | None:
    """What a requirement of the form `name @ address` names. Raises ConfigError for an address that is not
    supported.
    """
    if wanted.url is None:
        return None
    name = canonicalize_name(wanted.name)
    parts = _split(name, wanted.url, where)
    system, plus, inner = parts.scheme.partition("+")
    if plus:
        if system != "git" or inner not in SCHEMES:
            raise ConfigError(
                f"{name} comes from {parts.scheme}, which is not supported",
                where=where,
                hint="name an sdist, a wheel or a git repository: git+https://host/project@tag",
            )
        return _git(name, wanted.url.removeprefix("git+"), where)
    said = dict(one.partition("=")[::2] for one in parts.fragment.split("&") if one)
    digests = tuple((k, v.lower()) for k, v in said.items() if k in hashlib.algorithms_guaranteed)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ConfigError(f"{name} is on another machine: {parts.netloc}", where=where)
        return Direct(name, "path", unquote(parts.path), where, None, said.get("subdirectory", ""), digests)
    if parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"{name} is at {wanted.url!r}, which is not a supported address",
            where=where,
            hint="expected https://…, git+https://… or file:///…",
        )
    url = urlunsplit(parts._replace(fragment=""))
    return Direct(name, "url", url, where, None, said.get("subdirectory", ""), digests)


def _split(name: str, url: str, where: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as problem:
        raise ConfigError(f"{name} is at an address that cannot be read: {problem}", where=where) from None


def _git(name: str, url: str, where: str) -> Direct:
    parts = _split(name, url, where)
    said = dict(one.partition("=")[::2] for one in parts.fragment.split("&") if one)
    path, at, ref = parts.path.rpartition("@")
    address = urlunsplit(parts._replace(path=path if at else ref, fragment=""))
    return Direct(name, "git", address, where, unquote(ref) if at else None, said.get("subdirectory", ""))


def of_uv(
    name: str, told: Any, folder: Path, environment: Mapping[str, str], where: str
) -> Direct | str | None:
    """What an entry of [tool.uv.sources] names. If it only chooses an index, this is the name of the index.

    None: no entry holds for the target. Raises ConfigError for an entry that is not supported.
    """
    for entry in told if isinstance(told, list) else [told]:
        if not isinstance(entry, dict):
            raise ConfigError(f"tool.uv.sources.{name} is not a table", where=where)
        if not _meant(name, entry, environment, where):
            continue
        text = {key: value for key, value in entry.items() if isinstance(value, str)}
        inner = text.get("subdirectory", "")
        if "git" in text:
            ref = text.get("rev") or text.get("tag") or text.get("branch")
            return Direct(name, "git", text["git"].removeprefix("git+"), where, ref, inner)
        if "url" in text:
            return of_requirement(_at(name, text["url"], where), where)
        if "path" in text:
            return Direct(name, "path", str(folder / text["path"]), where, None, inner)
        if entry.get("workspace") is True:
            return Direct(name, "path", str(_member(name, folder, where)), where)
        if "index" in text:
            return text["index"]
        raise ConfigError(
            f"tool.uv.sources.{name} has none of the keys git, url, path, workspace and index", where=where
        )
    return None


def _at(name: str, url: str, where: str) -> Requirement:
    try:
        return Requirement(f"{name} @ {url}")
    except InvalidRequirement as problem:
        what = f"tool.uv.sources.{name}.url is not an address: {str(problem).splitlines()[0]}"
        raise ConfigError(what, where=where) from None


def _meant(name: str, entry: Mapping[str, Any], environment: Mapping[str, str], where: str) -> bool:
    if "group" in entry:  # groups are for developing the app
        return False
    if "marker" not in entry:
        return True
    try:
        return Marker(str(entry["marker"])).evaluate({**environment, "extra": ""})
    except (InvalidMarker, InvalidVersion, UndefinedComparison, UndefinedEnvironmentName) as problem:
        raise ConfigError(
            f"tool.uv.sources.{name}.marker: {str(problem).splitlines()[0]}", where=where
        ) from None


def _member(name: str, folder: Path, where: str) -> Path:
    """The folder of a member of a workspace, found by the patterns of the nearest workspace root above."""
    for above in (folder, *list(folder.parents)[:MAX_ABOVE]):
        workspace = _table(_toml(above / "pyproject.toml"), "tool", "uv").get("workspace")
        if not isinstance(workspace, dict):
            continue
        for member in (above, *_members(above, workspace.get("members"), where)):
            found = _table(_toml(member / "pyproject.toml"), "project").get("name")
            if isinstance(found, str) and canonicalize_name(found) == name:
                return member
        raise ConfigError(f"the workspace at {above} has no member {name}", where=where)
    raise ConfigError(
        f"{name} should be part of a workspace, but no folder above is the root of one", where=where
    )


def _members(root: Path, globs: Any, where: str) -> list[Path]:
    try:
        texts = [glob for glob in globs if isinstance(glob, str)] if isinstance(globs, list) else []
        return [path for glob in texts for path in sorted(root.glob(glob))]
    except (ValueError, NotImplementedError) as problem:
        raise ConfigError(
            f"tool.uv.workspace.members of {root} is not a list of relative paths: {problem}", where=where
        ) from None


def _table(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The table to which the names lead; empty if there is no such table."""
    for name in names:
        found = document.get(name)
        document = found if isinstance(found, dict) else {}
    return document


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def line_of(text: str, word: str) -> int | None:
    """The number of the first line (from 1) that contains the word, for messages."""
    return next((number for number, line in enumerate(text.splitlines(), 1) if word in line), None)
