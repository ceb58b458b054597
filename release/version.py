"""The version stands in `src/py_portable/__init__.py`; everything else that names it is held against that, or made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path("src/py_portable/__init__.py")
CHANGELOG = Path("CHANGELOG.md")
SCHEMAS = Path("src/py_portable/schemas")
NAMING = (
    "README.md",
    "SECURITY.md",
    "action.yml",
    "ci-templates/**/*.yml",
    "docs/**/*.md",
    "release/portable.yaml",
    "templates/*.yml",
)
"""Files in which the version may be named for a reader to copy."""

_NUMBER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
_ASSIGNED = re.compile(rf'^__version__ = "({_NUMBER})"$', re.MULTILINE)
_HEADING = re.compile(rf"^## ({_NUMBER}) \((unreleased|\d{{4}}-\d\d-\d\d)\)$", re.MULTILINE)
_NAMED = re.compile(
    rf"(?P<before>py-portable(?:@|==|-|, version )|py_portable-|\bref: v|/download/v)(?P<version>{_NUMBER})(?![\d.]*\d)"
)


def version(root: Path) -> str:
    """MAJOR.MINOR.PATCH. Raises ValueError where the file does not say it so."""
    found = _ASSIGNED.search((root / SOURCE).read_text("utf-8"))
    if found is None:
        raise ValueError(f'{SOURCE} has no line __version__ = "MAJOR.MINOR.PATCH"')
    return found[1]


def key(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def moving_tag(root: Path) -> str:
    """The tag that goes along with every release that reads the same configs: v1 for `version: 1`."""
    schema = json.loads((root / SCHEMAS / "portable.schema.json").read_text("utf-8"))
    return f"v{schema['properties']['version']['const']}"


def problems(root: Path, tag: str | None) -> list[str]:
    """What does not agree with the version; with a tag also what stands against releasing it."""
    try:
        now = version(root)
    except ValueError as problem:
        return [str(problem)]
    found = [*_changelog(root, now, released=tag is not None), *_named(root, now), *_ids(root)]
    if tag is not None and tag != f"v{now}":
        found.insert(0, f"the tag is {tag!r}, the version v{now}")
    return found


def _changelog(root: Path, now: str, *, released: bool) -> Iterator[str]:
    text = (root / CHANGELOG).read_text("utf-8")
    top = re.search(r"^## .*$", text, re.MULTILINE)
    heading = _HEADING.fullmatch(top[0]) if top else None
    if top is None or heading is None:
        told = repr(top[0]) if top else "nothing"
        yield f"{CHANGELOG}: at the top stands {told}, expected '## {now} (unreleased)' or its date"
        return
    if heading[1] != now:
        yield f"{CHANGELOG}: the top entry is of {heading[1]}, the version {now}"
    if released and heading[5] == "unreleased":
        yield f"{CHANGELOG}: the top entry has no date yet"
    if not notes(root):
        yield f"{CHANGELOG}: the top entry is empty"
    versions = [key(match[1]) for match in _HEADING.finditer(text)]
    if versions != sorted(set(versions), reverse=True):
        yield f"{CHANGELOG}: the entries are not sorted, newest first"


def notes(root: Path) -> str:
    """The text of the changelog's top entry."""
    parts = re.split(r"^## .*$", (root / CHANGELOG).read_text("utf-8"), flags=re.MULTILINE)
    return parts[1].strip() if len(parts) > 1 else ""


def _named(root: Path, now: str) -> Iterator[str]:
    for path in _naming(root):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for match in _NAMED.finditer(line):
                if match["version"] != now:
                    yield f"{path.relative_to(root)}:{number}: names {match[0]}, the version is {now}"


def _naming(root: Path) -> list[Path]:
    return sorted({path for pattern in NAMING for path in root.glob(pattern)})


def _ids(root: Path) -> Iterator[str]:
    """A schema has the number of what it describes in its `$id`, and names no host: the file is found beside it."""
    for path in sorted((root / SCHEMAS).glob("*.schema.json")):
        name = path.name.removesuffix(".schema.json")
        schema = json.loads(path.read_text("utf-8"))
        own = schema["properties"].get("version") or schema["properties"]["schema"]
        wanted = f"urn:py-portable:{name}:{own['const']}"
        if schema.get("$id") != wanted:
            yield f"{path.relative_to(root)}: its $id is {schema.get('$id')!r}, expected {wanted!r}"


def bump(root: Path, new: str) -> None:
    """Write the next version wherever it stands. Raises ValueError for one that is not later."""
    old = version(root)
    if not re.fullmatch(_NUMBER, new) or key(new) <= key(old):
        raise ValueError(f"{new!r} is no version after {old}")
    text = (root / SOURCE).read_text("utf-8")
    (root / SOURCE).write_text(_ASSIGNED.sub(f'__version__ = "{new}"', text), "utf-8")
    text = (root / CHANGELOG).read_text("utf-8")
    top = _HEADING.search(text)
    if top is None:
        raise ValueError(f"{CHANGELOG} has no entry")
    # What was never released is part of what comes next.
    end = top.end() if top[5] == "unreleased" else top.start()
    fresh = f"## {new} (unreleased)" + ("" if top[5] == "unreleased" else "\n\n")
    (root / CHANGELOG).write_text(text[: top.start()] + fresh + text[end:], "utf-8")
    for path in _naming(root):
        text = path.read_text("utf-8")
        named = _NAMED.sub(lambda match: match["before"] + new, text)
        if named != text:
            path.write_text(named, "utf-8")
