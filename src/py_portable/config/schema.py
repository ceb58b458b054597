"""The schema file, and a document checked against it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py_portable.config.document import Document, Numeral
from py_portable.config.kinds import Kind, Kinds, branch
from py_portable.config.messages import explain
from py_portable.config.problems import Problem

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FILE = Path(__file__).parent.parent / "schemas" / "portable.schema.json"
_WIDTH = 100


class Schema:
    """The schema, with a branch for each format."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        written = {name: kind for name, kind in kinds.items() if kind.summary}
        branches = {f"format-{name}": branch(kind, kinds) for name, kind in written.items()}
        self.formats: dict[str, dict[str, Any]] = {
            name: branches[f"format-{name}"]["else"] for name in written
        }
        """Format name -> the schema of its mapping form (`properties`, `required`)."""
        self.data = _file()
        defs: dict[str, Any] = {}
        for name, node in self.data["$defs"].items():
            if not name.startswith("format-"):
                defs[name] = node
            if name == "artifact":
                defs[name] = {**node, "oneOf": [{"$ref": f"#/$defs/{branch}"} for branch in branches]}
                defs |= branches
        self.data["$defs"] = defs

    @functools.cached_property
    def validator(self) -> Validator:
        return _validator()(self.data)

    @property
    def default_images(self) -> list[Any]:
        images: list[Any] = self.data["$defs"]["portability"]["properties"]["images"]["default"]
        return images


def schema_of(kinds: Kinds) -> Schema:
    return _schema_of(tuple(kinds.values()))


@functools.cache
def _schema_of(kinds: tuple[Kind, ...]) -> Schema:
    return Schema({kind.name: kind for kind in kinds})


def schema_text(kinds: Kinds) -> str:
    """The JSON Schema (draft 2020-12) of portable.yaml, as it is shipped for the kit's own formats."""
    return f"{_shown(Schema(kinds).data)}\n"


def _file() -> dict[str, Any]:
    """The schema as it is shipped; scripts/make-schema writes its entries for formats."""
    data: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return data


def _shown(node: Any, indent: str = "") -> str:
    """JSON, a value on one line where it fits there."""
    short = json.dumps(node, ensure_ascii=False)
    if not isinstance(node, dict | list) or (len(indent) + len(short) <= _WIDTH and short.count("{") <= 2):
        return short
    deeper = f"{indent}  "
    if isinstance(node, dict):
        lines = [f"{deeper}{json.dumps(key)}: {_shown(value, deeper)}" for key, value in node.items()]
    else:
        lines = [f"{deeper}{_shown(value, deeper)}" for value in node]
    start, end = ("{", "}") if isinstance(node, dict) else ("[", "]")
    return "\n".join([start, ",\n".join(lines), f"{indent}{end}"])


def problems(document: Document, schema: Schema) -> list[Problem]:
    """The problems of the document according to the schema, one for each key or value that is wrong."""
    found: list[Problem] = []
    for error in schema.validator.iter_errors(document.data):
        found += explain(error, document, schema.formats)
    return _without_echoes(found)


def _without_echoes(found: list[Problem]) -> list[Problem]:
    """A misspelt key is also a missing key: report only the first."""
    misspelt = {problem.path[:-1] for problem in found if problem.rank == 0}
    unique = {(p.path, p.text, p.line, p.column): p for p in found}
    return [p for p in unique.values() if not (p.rank == 2 and p.path in misspelt)]


@functools.cache
def _validator() -> type[Validator]:
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
    return extended
