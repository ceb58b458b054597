"""The own keys of a format as one frozen dataclass: its schema, its table in the docs and its parser come from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints


@dataclass(frozen=True)
class NoOptions:
    """The options of a format that has no keys of its own."""


def option(default: Any, description: str, **schema: Any) -> Any:
    """A field of such a dataclass; its key is its name with `-` for `_`.

    `schema`: what its value may be, as in the JSON Schema. A bool and a Path need none. A Path names a place on this
    machine and is absolute once it is read; so is `path` in a mapping, and each value of several or a mapping of Paths.
    With `...` as `default` the key is required.
    """
    told = {"schema": {"description": description, **schema}}
    return field(metadata=told) if default is ... else field(default=default, metadata=told)


def ref(name: str) -> dict[str, Any]:
    """A reference to `$defs/NAME` of the schema."""
    return {"$ref": f"#/$defs/{name}"}


def several(name: str) -> dict[str, Any]:
    """The schema of a list without repetitions, whose items are described by `$defs/NAME`."""
    return {"type": "array", "items": ref(name), "uniqueItems": True}


def key_of(name: str) -> str:
    return name.replace("_", "-")


def properties(options: type) -> dict[str, dict[str, Any]]:
    """The key of each option -> its schema."""
    found: dict[str, dict[str, Any]] = {}
    kinds = get_type_hints(options)
    for each in fields(options):
        node = dict(each.metadata["schema"])
        if _is_path(kinds[each.name]):
            node |= ref("path")
        elif kinds[each.name] is bool:
            node["type"] = "boolean"
        if each.default is not MISSING and each.default is not None and "$ref" not in node:
            node["default"] = list(each.default) if isinstance(each.default, tuple) else each.default
        found[key_of(each.name)] = node
    return found


def required(options: type) -> list[str]:
    return [key_of(each.name) for each in fields(options) if each.default is MISSING]


def read(options: type, mapping: Mapping[str, Any], base: Path) -> Any:
    """The options of an artifact that the schema accepts; `base` is where relative paths start."""
    kinds = get_type_hints(options)
    written = {
        each.name: mapping[key_of(each.name)] for each in fields(options) if key_of(each.name) in mapping
    }
    return options(**{name: _value(kinds[name], value, base) for name, value in written.items()})


def told(options: Any) -> dict[str, Any]:
    """Key -> value, without paths on this machine, so that it may be part of a digest."""
    found = {key_of(each.name): getattr(options, each.name) for each in fields(options)}
    return {key: _placeless(value) for key, value in found.items() if not isinstance(value, Path)}


def _value(kind: Any, value: Any, base: Path) -> Any:
    if _is_path(kind):
        return (base / value).absolute()
    if kind == tuple[Path, ...] | None:
        return tuple((base / each).absolute() for each in value)
    if kind == Mapping[str, Path] | None:
        return {str(key): (base / each).absolute() for key, each in value.items()}
    return _plain(value, base)


def _placeless(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_placeless(each) for each in value if not isinstance(each, Path)]
    if not isinstance(value, Mapping):
        return value
    return {key: each for key, each in value.items() if not isinstance(each, Path)}


def _is_path(kind: Any) -> bool:
    return kind is Path or kind == Path | None


def _plain(value: Any, base: Path) -> Any:
    """A plain value for what was read from YAML, without the position that it carries."""
    if isinstance(value, list):
        return tuple(_plain(each, base) for each in value)
    if isinstance(value, Mapping):
        return {
            str(key): (base / each).absolute() if key == "path" else _plain(each, base)
            for key, each in value.items()
        }
    return str(value) if isinstance(value, str) else value
