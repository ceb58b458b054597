"""The schema file, and a document checked against it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py_portable.config.document import Document, Numeral
from py_portable.config.messages import explain
from py_portable.config.problems import Problem

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FILE = Path(__file__).parent.parent / "schemas" / "portable.schema.json"


@functools.cache
def schema_text() -> str:
    """The JSON Schema (draft 2020-12) of portable.yaml, as it is shipped."""
    return _FILE.read_text("utf-8")


@functools.cache
def schema() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(schema_text())
    return data


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """A schema node with its chain of `$ref`s merged in; what the node says itself wins."""
    merged = dict(node)
    while "$ref" in merged:
        target = schema()["$defs"][merged.pop("$ref").removeprefix("#/$defs/")]
        merged = {**target, **merged}
    return merged


@functools.cache
def formats() -> dict[str, dict[str, Any]]:
    """Format name -> the schema of its mapping form (`properties`, `required`), in the schema's order."""
    found: dict[str, dict[str, Any]] = {}
    for branch in schema()["$defs"]["artifact"]["oneOf"]:
        mapping = resolve(branch)["else"]
        found[mapping["properties"]["format"]["const"]] = mapping
    return found


def problems(document: Document) -> list[Problem]:
    """What the schema says against the document, one problem for each key or value that is wrong."""
    found: list[Problem] = []
    for error in _validator().iter_errors(document.data):
        found += explain(error, document, formats())
    return _without_echoes(found)


def _without_echoes(found: list[Problem]) -> list[Problem]:
    """A misspelt key is also a missing key: say only the first."""
    misspelt = {problem.path[:-1] for problem in found if problem.rank == 0}
    unique = {(p.path, p.text, p.line, p.column): p for p in found}
    return [p for p in unique.values() if not (p.rank == 2 and p.path in misspelt)]


@functools.cache
def _validator() -> Validator:
    # jsonschema costs most of the time that loading a config takes, so it is imported when there is one.
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import ValidationError

    def number(_: Any, instance: Any) -> bool:
        return isinstance(instance, (int, float, Numeral)) and not isinstance(instance, bool)

    def numeric(keyword: str) -> Any:
        check = Draft202012Validator.VALIDATORS[keyword]

        def checked(validator: Any, limit: Any, instance: Any, node: Any) -> Iterator[ValidationError]:
            # Text counts as a number only where a number is asked for: a version must not be compared.
            value = float(instance) if isinstance(instance, Numeral) else instance
            yield from check(validator, limit, value, node) or ()

        return checked

    def pattern(_: Any, wanted: str, instance: Any, node: Any) -> Iterator[ValidationError]:
        # re.search lets `$` match before a last line end; a pattern here always means the whole text.
        if isinstance(instance, str) and not re.fullmatch(wanted, instance):
            yield ValidationError("pattern")

    def unique(_: Any, wanted: bool, instance: Any, node: Any) -> Iterator[ValidationError]:
        # jsonschema compares each with each, and names none of them.
        if not isinstance(instance, list):
            return
        seen: dict[str, int] = {}
        for place, item in enumerate(instance):
            if isinstance(item, str) and seen.setdefault(item, place) != place:
                yield ValidationError("unique", path=(place,), validator_value=seen[item])

    extended: type[Validator] = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {
            "pattern": pattern,
            "uniqueItems": unique,
            **{word: numeric(word) for word in ("minimum", "maximum", "exclusiveMinimum")},
        },
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", number),
    )
    return extended(schema())
