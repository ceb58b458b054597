#!/usr/bin/env python3
"""Writes the tables of docs/config.md from schemas/portable.schema.json: `scripts/config-docs.py [--check]`.

With --check nothing is written, and the exit status is 1 where the tables are stale. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "config.md"
SCHEMA = ROOT / "schemas" / "portable.schema.json"
BEGIN = "<!-- tables: made by scripts/config-docs.py, do not edit -->"
END = "<!-- end of tables -->"

Schema = dict[str, Any]

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
    "array": "list",
}


def tables(schema: Schema) -> str:
    """All tables, as Markdown, one after the other."""
    parts = [_table("The whole file", schema, schema)]
    for key, node in schema["properties"].items():
        found = _section(schema, node)
        if key == "artifacts":
            parts += _artifacts(schema, node)
        elif found:
            parts.append(_table(f"`{key}`", schema, found))
            parts += _inner(schema, key, found)
        elif isinstance(node.get("additionalProperties"), dict):
            parts.append(_table(f"`{key}.NAME`", schema, _resolve(schema, node["additionalProperties"])))
    return "\n\n".join(parts)


def _artifacts(schema: Schema, node: Schema) -> Iterator[str]:
    yield f"### `artifacts`\n\n{node['description']}"
    for branch in schema["$defs"]["artifact"]["oneOf"]:
        each = _resolve(schema, branch)
        mapping = {**each["else"], "description": each["description"]}
        yield _table(f"Format `{each['title']}`", schema, mapping)


def _inner(schema: Schema, key: str, node: Schema) -> Iterator[str]:
    """Mappings that stand in this section, in a list of it, or in a mapping by names of the user's."""
    for name, child in node["properties"].items():
        found = _resolve(schema, child)
        named = found.get("additionalProperties")
        places = (
            ("", found),
            ("[]", found.get("items", {})),
            (".NAME", named if isinstance(named, dict) else {}),
        )
        for mark, inner in places:
            items = _resolve(schema, inner)
            items = {**items, **items.get("else", {})}
            if "properties" in items:
                yield _table(f"`{key}.{name}{mark}`", schema, items)


def _section(schema: Schema, node: Schema) -> Schema | None:
    found = _resolve(schema, node)
    return found if "properties" in found else None


def _resolve(schema: Schema, node: Schema) -> Schema:
    merged = dict(node)
    while "$ref" in merged:
        target = schema["$defs"][merged.pop("$ref").removeprefix("#/$defs/")]
        merged = {**target, **merged}
    return merged


def _table(title: str, schema: Schema, node: Schema) -> str:
    rows = [f"### {title}", "", node["description"], ""]
    rows += ["| key | value | default | |", "| --- | --- | --- | --- |"]
    for key, child in node["properties"].items():
        each = _resolve(schema, child)
        needed = key in node.get("required", ())
        default = "required" if needed else _code(each["default"]) if "default" in each else ""
        text = each.get("description", "Which format it is." if key == "format" else "")
        rows.append(f"| `{key}` | {_kind(schema, each)} | {default} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def _kind(schema: Schema, node: Schema) -> str:
    if "const" in node:
        return _code(node["const"])
    if "enum" in node:
        return " or ".join(_code(each) for each in node["enum"])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    said = " or ".join(_TYPES[kind] for kind in kinds)
    if kinds == ["array"]:
        items = _resolve(schema, node["items"])
        said += f" of {_kind(schema, items)}"
    return said


def _code(value: object) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def render(page: str, schema: Schema) -> str:
    """The page with fresh tables. Raises ValueError where its two marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page lacks {BEGIN!r} or {END!r}")
    return f"{before}{BEGIN}\n\n{tables(schema)}\n\n{END}{after}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the tables of docs/config.md from the schema.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where they are stale")
    options = parser.parse_args(argv)
    page = PAGE.read_text("utf-8")
    fresh = render(page, json.loads(SCHEMA.read_text("utf-8")))
    if fresh == page:
        return 0
    if options.check:
        print("docs/config.md is stale: run scripts/config-docs.py", file=sys.stderr)
        return 1
    PAGE.write_text(fresh, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
