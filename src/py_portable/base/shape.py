"""JSON that anybody may have written: of bounded size, and of the shape that a JSON Schema says. A leaf.

What the schema does not name passes, because a newer kit may have written it; it is bounded all the same. Of JSON
Schema (2020-12) the keywords `type`, `enum`, `pattern`, `minimum`, `maximum`, `properties`, `additionalProperties`
(as a schema), `items`, `minItems` and `maxItems` are known; `required` is the caller's: older evidence lacks keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

MOST_BYTES = 512 << 20
"""The evidence of 50,000 cells with all that they may say is half of that."""
MOST_DEPTH = 40
MOST_NUMBER = (1 << 63) - 1
_DIGITS = 19
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SHOWN = 60
_PATHS = ("file", "log", "path", "reproduce")
Check = Callable[[Any, str], None]


class Misfit(ValueError):
    """`key` is the path of what does not fit, such as `cells[3].verdict`; empty for the whole. `place`: line and column
    of what is not JSON, as what follows the name of a file."""

    def __init__(self, what: str, key: str = "", place: str = "") -> None:
        super().__init__(f"{key} {what}" if key else what)
        self.key = key
        self.place = place


def parse(data: bytes, most: int = MOST_BYTES) -> Any:
    """The value in `data`: no number that a float cannot hold, no name twice in an object, no half of a character.

    Raises Misfit.
    """
    if len(data) > most:
        raise Misfit(f"has more than {most} bytes")
    try:
        found = json.loads(
            data.decode("utf-8"),
            parse_int=_int,
            parse_float=_float,
            parse_constant=_constant,
            object_pairs_hook=_once,
        )
        _bounded(found, "", characters=_SURROGATE.search(data) is not None)
    except json.JSONDecodeError as problem:
        raise Misfit("is not JSON", place=f":{problem.lineno}:{problem.colno}")
    except UnicodeDecodeError:
        raise Misfit("is not JSON: it is not UTF-8")
    except RecursionError:
        raise Misfit("is not usable JSON: it is nested too deeply")
    return found


def _int(text: str) -> int:
    # Checked before it is read: reading takes time that grows with the square of the length.
    if len(text.lstrip("-")) > _DIGITS or abs(number := int(text)) > MOST_NUMBER:
        raise Misfit(f"has the number {text[:_DIGITS]}…, which is too large")
    return number


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Misfit(f"has the number {text[:_DIGITS]}, which is too large")
    return number


def _constant(text: str) -> Any:
    raise Misfit(f"has {text}, which is not a JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Misfit(f"has {_shown(twice)} twice in one object")
    return found


def _bounded(found: Any, key: str, *, characters: bool) -> None:
    """The depth of all; where there may be halves of characters, of each text that there is none."""
    waiting = [(found, key, 0)]
    while waiting:
        value, key, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise Misfit("is nested too deeply", key)
        if isinstance(value, dict):
            if characters:
                for name in value:
                    _whole(name, key)
            waiting += [
                (one, f"{key}.{name}" if key else name, depth + 1)
                for name, one in value.items()
                if characters or isinstance(one, (dict, list))
            ]
        elif isinstance(value, list):
            waiting += [
                (one, f"{key}[{number}]", depth + 1)
                for number, one in enumerate(value)
                if characters or isinstance(one, (dict, list))
            ]
        elif isinstance(value, str):
            _whole(value, key)


def _whole(text: str, key: str) -> None:
    # A byte of a path that is no character comes as such a half (PEP 383).
    path = key.rpartition(".")[2] in _PATHS
    try:
        text.encode("utf-8", "surrogateescape" if path else "strict")
    except UnicodeEncodeError:
        raise Misfit("has half of a character (a lone surrogate)", key if key.isprintable() else "")


def checker(schema: Mapping[str, Any]) -> Check:
    """A function of a value and the name it is called by; it raises Misfit where the value is not of the schema."""
    checks = [make(schema[word], schema) for word, make in _MAKERS.items() if word in schema]
    if len(checks) == 1:
        return checks[0]

    def check(value: Any, key: str) -> None:
        for one in checks:
            one(value, key)

    return check


def _type(told: str | list[str], _schema: Mapping[str, Any]) -> Check:
    names = [told] if isinstance(told, str) else told
    types = tuple(kind for name in names for kind in _TYPES[name])
    expected = " or ".join(_WORDS[name] for name in names)

    def check(value: Any, key: str) -> None:
        if type(value) not in types:
            raise Misfit(f"is {_shown(value)}, expected {expected}", key)

    return check


def _enum(told: list[Any], _schema: Mapping[str, Any]) -> Check:
    def check(value: Any, key: str) -> None:
        if not any(type(one) is type(value) and one == value for one in told):
            expected = ", ".join("null" if one is None else str(one) for one in told)
            raise Misfit(f"is {_shown(value)}, expected one of: {expected}", key)

    return check


def _pattern(told: str, _schema: Mapping[str, Any]) -> Check:
    # `$` of ECMA 262 is the end; Python's is also the place before a last line break.
    pattern = re.compile(told.removeprefix("^").removesuffix("$"))

    def check(value: Any, key: str) -> None:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise Misfit(f"cannot be {_shown(value)}", key)

    return check


def _minimum(told: float, _schema: Mapping[str, Any]) -> Check:
    def check(value: Any, key: str) -> None:
        if isinstance(value, (int, float)) and value < told:
            raise Misfit(f"is {_shown(value)}, expected at least {told}", key)

    return check


def _maximum(told: float, _schema: Mapping[str, Any]) -> Check:
    def check(value: Any, key: str) -> None:
        if isinstance(value, (int, float)) and value > told:
            raise Misfit(f"is {_shown(value)}, expected at most {told}", key)

    return check


def _properties(told: Mapping[str, Any], _schema: Mapping[str, Any]) -> Check:
    known = {name: checker(one) for name, one in told.items()}

    def check(value: Any, key: str) -> None:
        if isinstance(value, dict):
            prefix = f"{key}." if key else ""
            for name, one in value.items():
                own = known.get(name)
                if own:
                    own(one, prefix + name)

    return check


def _rest(told: Any, schema: Mapping[str, Any]) -> Check:
    own = checker(told) if isinstance(told, dict) else None
    known = schema.get("properties", {})

    def check(value: Any, key: str) -> None:
        if own and isinstance(value, dict):
            for name, one in value.items():
                if name not in known:
                    own(one, f"{key}.{name}")

    return check


def _items(told: Mapping[str, Any], _schema: Mapping[str, Any]) -> Check:
    own = checker(told)

    def check(value: Any, key: str) -> None:
        if isinstance(value, list):
            for number, one in enumerate(value):
                own(one, f"{key}[{number}]")

    return check


def _min_items(told: int, _schema: Mapping[str, Any]) -> Check:
    def check(value: Any, key: str) -> None:
        if isinstance(value, list) and len(value) < told:
            raise Misfit(f"has {len(value)} items, expected {told}", key)

    return check


def _max_items(told: int, _schema: Mapping[str, Any]) -> Check:
    def check(value: Any, key: str) -> None:
        if isinstance(value, list) and len(value) > told:
            raise Misfit(f"has {len(value)} items, expected {told}", key)

    return check


_MAKERS: Mapping[str, Callable[[Any, Mapping[str, Any]], Check]] = {
    "type": _type,
    "enum": _enum,
    "pattern": _pattern,
    "minimum": _minimum,
    "maximum": _maximum,
    "minItems": _min_items,
    "maxItems": _max_items,
    "items": _items,
    "properties": _properties,
    "additionalProperties": _rest,
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return _WORDS["object"] if isinstance(value, dict) else _WORDS["array"]
    told = json.dumps(value)
    return told if len(told) <= _SHOWN else told[:_SHOWN] + "…"
