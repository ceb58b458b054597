"""Reads evidence, and the plan in it, with the care that a file from anybody needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from py_portable.base import shape
from py_portable.base.regular import read_regular
from py_portable.errors import ConfigError
from py_portable.evidence.typed import ROWS, SCHEMA, ConfigRow, Evidence
from py_portable.plan import shards

NEEDED: Mapping[str, tuple[str, ...]] = {
    name: tuple(key for key in row.__annotations__ if key in vars(row)["__required_keys__"])
    for name, row in {**ROWS, "config": ConfigRow}.items()
}
"""The keys without which a row means nothing. An older kit may not have written the other ones."""
_HINT = "name an evidence.json, or a part that a run wrote"
_EXPECTED = (str, str, str, list)
_FILE = Path(__file__).parent.parent / "schemas" / "evidence.schema.json"


def read(path: Path) -> Evidence:
    """One part, or the merge of some. Raises ConfigError, which names the file and the key."""
    try:
        data = read_regular(path, shape.MOST_BYTES)
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path))
    return parse(data, str(path))


def parse(data: bytes, where: str) -> Evidence:
    """Reads evidence from the bytes of a file. Raises ConfigError."""
    try:
        told = shape.parse(data)
        if not isinstance(told, dict) or type(told.get("schema")) is not int or told["schema"] != SCHEMA:
            raise shape.Misfit(f"is not evidence of schema {SCHEMA}")
        _shapes()(told, "")
        for name, keys in NEEDED.items():
            rows = told.get(name, ())
            for number, row in enumerate(rows if isinstance(rows, list) else [rows] if rows else ()):
                for key in keys:
                    if key not in row:
                        raise shape.Misfit(f"has no {key!r}", name if rows is row else f"{name}[{number}]")
        for number, cell in enumerate(told.get("expected", ())):
            if [type(one) for one in cell] != [*_EXPECTED] or not all(type(w) is str for w in cell[3]):
                raise shape.Misfit(
                    "does not consist of artifact, image, condition and arguments", f"expected[{number}]"
                )
    except shape.Misfit as problem:
        raise ConfigError(str(problem), where=f"{where}{problem.place}", hint=_HINT)
    if "plan" in told:
        shards.parse(told["plan"], where)
    return cast(Evidence, told)


@functools.cache
def _shapes() -> shape.Check:
    """The plan is read by its own reader, which also checks its digest."""
    schema: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    properties = {name: one for name, one in schema["properties"].items() if name != "plan"}
    return shape.checker({**schema, "properties": properties})
