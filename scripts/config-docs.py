#!/usr/bin/env python3
"""Writes the tables of docs/config.md and of docs/formats/ from schemas/portable.schema.json: `[--check]`.

With --check nothing is written, and the exit status is 1 where the tables are stale. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "config.md"
FORMATS = ROOT / "docs" / "formats"
SCHEMA = ROOT / "schemas" / "portable.schema.json"
BEGIN = "<!-- tables: made by scripts/config-docs.py, do not edit -->"
END = "<!-- end of tables -->"
BEGIN_KEYS = "<!-- keys: made by scripts/config-docs.py, do not edit -->"
END_KEYS = "<!-- end of keys -->"

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
    return "\n".join([f"### {title}", "", node["description"], "", *_rows(schema, node, node["properties"])])


def _rows(schema: Schema, node: Schema, keys: Iterable[str]) -> Iterator[str]:
    yield from ("| key | value | default | |", "| --- | --- | --- | --- |")
    for key in keys:
        child = node["properties"][key]
        each = _resolve(schema, child)
        needed = key in node.get("required", ())
        default = "required" if needed else _code(each["default"]) if "default" in each else ""
        text = each.get("description", "Which format it is." if key == "format" else "")
        yield f"| `{key}` | {_kind(schema, each)} | {default} | {text.replace('|', chr(92) + '|')} |"


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


def pages(schema: Schema) -> dict[Path, str]:
    """Each page -> its text with fresh tables. Raises ValueError where a page lacks its two marks."""
    found = {PAGE: _between(PAGE, BEGIN, END, tables(schema))}
    for branch in schema["$defs"]["artifact"]["oneOf"]:
        each = _resolve(schema, branch)
        path, keys = FORMATS / f"{each['title']}.md", list(each["else"]["properties"])[1:]
        found[path] = _between(path, BEGIN_KEYS, END_KEYS, "\n".join(_rows(schema, each["else"], keys)))
    return found


def _between(page: Path, begin: str, end: str, text: str) -> str:
    before, begins, rest = page.read_text("utf-8").partition(begin)
    _, ends, after = rest.partition(end)
    if not (begins and ends):
        raise ValueError(f"{page} lacks {begin!r} or {end!r}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the tables of the docs from the schema.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where they are stale")
    options = parser.parse_args(argv)
    fresh = pages(json.loads(SCHEMA.read_text("utf-8")))
    stale = [page for page, text in fresh.items() if text != page.read_text("utf-8")]
    for page in stale:
        if options.check:
            print(f"{page.relative_to(ROOT)} is stale: run scripts/config-docs.py", file=sys.stderr)
        else:
            page.write_text(fresh[page], "utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
