"""What GitLab makes of a template with `spec:inputs`: types checked, `$[[ inputs.x ]]` replaced in every scalar.

It happens after the YAML is parsed (docs.gitlab.com: CI/CD inputs), so a value never becomes YAML. A scalar that is
nothing but one input takes the input's type.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import yaml

INPUT = re.compile(r"\$\[\[ *inputs\.([A-Za-z0-9_-]+) *\]\]")
_TYPES: Mapping[str, type] = {"string": str, "boolean": bool, "array": list, "number": int}


class Refused(Exception):
    """The server would make no pipeline of it."""


@functools.cache
def _documents(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second = yaml.safe_load_all(text)
    return first, second


def header(text: str) -> dict[str, Any]:
    told: dict[str, Any] = _documents(text)[0]["spec"]["inputs"]
    return told


def expand(text: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The jobs. Raises Refused."""
    inputs = header(text)
    if unknown := set(given or {}) - set(inputs):
        raise Refused(f"unknown: {unknown}")
    values = {name: _value(name, spec, given or {}) for name, spec in inputs.items()}
    told: dict[str, Any] = _replaced(_documents(text)[1], values)
    return told


def _value(name: str, spec: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    value = given.get(name, spec.get("default"))
    if type(value) is not _TYPES[spec.get("type", "string")]:
        raise Refused(f"{name}: {value!r} is no {spec.get('type', 'string')}")
    if "options" in spec and value not in spec["options"]:
        raise Refused(f"{name}: {value!r} is none of {spec['options']}")
    # RE2 without flags: ^ and $ are the whole text's ends, and no newline is passed over.
    if "regex" in spec and not re.search(spec["regex"].replace("$", r"\Z"), value):
        raise Refused(f"{name}: {value!r} does not match")
    return value


def _replaced(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {_replaced(key, values): _replaced(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_replaced(one, values) for one in node]
    if not isinstance(node, str):
        return node
    if alone := INPUT.fullmatch(node):
        return values[alone[1]]
    return INPUT.sub(lambda match: _inside_text(values[match[1]]), node)


def _inside_text(value: Any) -> str:
    if isinstance(value, list):
        raise Refused("an array is no part of a text")
    return str(value).lower() if isinstance(value, bool) else str(value)
