"""One jsonschema error -> problems in plain words, at the exact key or value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from py_portable.config.document import Document
from py_portable.config.problems import DataPath, Problem, listed, nearest, show

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Formats = Mapping[str, Mapping[str, Any]]

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping (key: value)",
    "array": "a list",
}

_EXPECTED = {
    "minItems": "expected at least one",
    "minProperties": "expected at least one",
    "maxItems": "expected at most {}",
    "maxProperties": "expected at most {}",
    "minLength": "expected text that is not empty",
    "maxLength": "expected at most {} characters",
    "minimum": "expected {} or more",
    "maximum": "expected {} or less",
    "exclusiveMinimum": "expected more than {}",
}


def explain(error: ValidationError, document: Document, formats: Formats) -> Iterator[Problem]:
    """The problems that an error stands for. `formats` is `schema.formats()`."""
    path: DataPath = tuple(error.absolute_path)
    value: Any = error.instance
    wanted: Any = error.validator_value
    match error.validator:
        case "oneOf":
            yield from _artifact(error, path, document, formats)
        case "additionalProperties":
            known = _schema(error).get("properties", {})
            for key in value:
                if key not in known:
                    yield _unknown((*path, key), list(known), value, document)
        case "required":
            # jsonschema yields one error for each missing key, all with the same value: all say the same.
            missing = [key for key in wanted if key not in value]
            are = "the key {} is missing" if len(missing) == 1 else "the keys {} are missing"
            yield document.problem(path, are.format(_quoted(missing)), key=True, rank=2)
        case "uniqueItems":
            first = document.marks.table[(*path[:-1], wanted)]
            item = value[path[-1]]
            text = f"{show(item)} appears twice; the first is at {first.line}:{first.column}"
            yield document.problem(path, text)
        case _ if "propertyNames" in error.absolute_schema_path:
            text = f"{_expected(error)}; found {show(value)}"
            yield document.problem((*path, value), text, key=True)
        case _:
            yield document.problem(path, _wrong(error, path, document))


def _schema(error: ValidationError) -> Mapping[str, Any]:
    return error.schema if isinstance(error.schema, dict) else {}


def _unknown(path: DataPath, known: list[str], value: Mapping[str, Any], document: Document) -> Problem:
    meant = nearest(str(path[-1]), known)
    if meant and meant not in value:
        return document.problem(path, f"unknown key; did you mean {show(meant)}?", key=True, rank=0)
    return document.problem(path, f"unknown key; the keys here are: {listed(known)}", key=True)


def _wrong(error: ValidationError, path: DataPath, document: Document) -> str:
    value: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "enum" and isinstance(value, str):
        # What stands before a colon (fail:glibc) is alike in many and would make all of them near.
        ends = {word.rpartition(":")[2]: word for word in wanted}
        meant = nearest(value.rpartition(":")[2], ends)
        better = f"did you mean {show(ends[meant])}? " if meant else ""
        return f"unknown: {show(value)}; {better}known: {listed(wanted)}"
    text = _expected(error)
    if error.validator in ("minItems", "minProperties"):
        return f"{text}; found none"
    if error.validator in ("maxItems", "maxProperties", "maxLength"):
        return f"{text}; found {len(value)}"
    written = document.marks.table[path].text
    if error.validator == "type" and wanted == "string" and written and _fits(written, _schema(error)):
        return f"{text}; put it in quotes: {show(written)}"
    return f"{text}; found {show(value)}"


def _fits(text: str, node: Mapping[str, Any]) -> bool:
    """Whether the text would be valid if it were in quotes."""
    if "pattern" in node:
        return re.fullmatch(node["pattern"], text) is not None
    return "errorMessage" not in node


def _expected(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    if error.validator in _EXPECTED:
        return _EXPECTED[error.validator].format(wanted)
    if message := _schema(error).get("errorMessage"):
        return str(message)
    if error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"expected {' or '.join(_TYPES[kind] for kind in kinds)}"
    return f"expected {' or '.join(wanted)}"


def _artifact(
    error: ValidationError, path: DataPath, document: Document, formats: Formats
) -> Iterator[Problem]:
    """Only the errors of the format that `format` names are used; those of other formats do not help."""
    value: Any = error.instance
    known, in_list = list(formats), isinstance(path[-1], int)
    if not isinstance(value, str if in_list else dict):
        return  # `type` has said it
    if not in_list and "format" not in value:
        if meant := nearest("format", value):
            yield document.problem((*path, meant), 'unknown key; did you mean "format"?', key=True, rank=0)
        else:
            text = f'the key "format" is missing; the formats are: {listed(known)}'
            yield document.problem(path, text, key=True, rank=2)
        return
    name, at = (value["format"], (*path, "format")) if isinstance(value, dict) else (value, path)
    if not isinstance(name, str):
        text = f"expected the name of a format; found {show(name)}; the formats are: {listed(known)}"
        yield document.problem(at, text)
    elif name not in formats:
        text = f"unknown format {show(name)}; {_meant(name, known)}the formats are: {listed(known)}"
        yield document.problem(at, text, rank=0)
    elif in_list:
        keys = _quoted(key for key in formats[name]["required"] if key != "format")
        text = f"the format {show(name)} needs {keys}, so it cannot be in a list of plain names"
        yield document.problem(path, text)
    else:
        for inner in error.context or ():
            if inner.relative_schema_path[0] == known.index(name):
                yield from explain(inner, document, formats)


def _meant(word: str, known: Iterable[str]) -> str:
    meant = nearest(word, known)
    return f"did you mean {show(meant)}? " if meant else ""


def _quoted(words: Iterable[str]) -> str:
    return listed(show(word) for word in words)
