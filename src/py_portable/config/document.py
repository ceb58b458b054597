"""YAML text -> plain data in which every value knows its line and column. Nothing here knows the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

from py_portable.config.problems import DataPath, Problem, fail, show, show_path, split_lines
from py_portable.config.syntax import explain

__all__ = ["DataPath", "Document", "Mark", "Marks", "Numeral", "read"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_NODES = 20_000

# YAML's own rule of what is text, without NEL and the line and paragraph separators: YAML counts them as line
# ends and editors do not, so the line numbers would disagree.
_NOT_TEXT = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Numeral(str):
    """A plain scalar such as 3.10: a version or a number, as the schema asks."""


@dataclass(frozen=True)
class Mark:
    """The position of a value and of its key (line and column from 1), and the text of a scalar as it is written."""

    line: int
    column: int
    key_line: int
    key_column: int
    text: str | None = None


@dataclass(frozen=True)
class Marks:
    """The positions of all values of one file."""

    name: str
    table: Mapping[DataPath, Mark]

    def find(self, path: DataPath) -> Mark | None:
        """The mark of `path`, or of the nearest thing above it."""
        for size in range(len(path), -1, -1):
            if mark := self.table.get(path[:size]):
                return mark
        return None

    def where(self, path: DataPath, *, key: bool = False) -> str:
        """`name:line:column`."""
        mark = self.find(path)
        if mark is None:
            return self.name
        line, column = (mark.key_line, mark.key_column) if key else (mark.line, mark.column)
        return f"{self.name}:{line}:{column}"


@dataclass(frozen=True)
class Document:
    name: str
    lines: tuple[str, ...]
    data: Any
    marks: Marks

    def problem(self, path: DataPath, text: str, *, key: bool = False, rank: int = 1) -> Problem:
        """A problem with the value at `path`, or with its key."""
        mark = self.marks.find(path)
        assert mark, "the root always has a mark"
        line, column = (mark.key_line, mark.key_column) if key else (mark.line, mark.column)
        return Problem(path, text, line, column, rank)


class _AnyMark(Protocol):
    line: int
    column: int


class _Refused(Exception):
    def __init__(self, text: str, mark: _AnyMark) -> None:
        self.text = text
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """SafeLoader with few implicit types, no tags, and bounds on depth and number of nodes."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and kind

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Refused(f"the file holds more than {MAX_NODES} values", event.start_mark)
        if self._depth >= MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} deep", event.start_mark)
        if not isinstance(event, yaml.AliasEvent) and getattr(event, "tag", None) is not None:
            what = "a YAML tag (!…) is not allowed; text that starts with ! needs quotes"
            raise _Refused(what, event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_NULL, _BOOL, _INT, _NUMERAL = (f"tag:{kind}" for kind in ("null", "bool", "int", "numeral"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][0-9]{0,14})\Z"), list("-+0123456789"))
_Loader.add_implicit_resolver(_NUMERAL, re.compile(r"[-+]?[0-9]{1,9}\.[0-9]{1,9}\Z"), list("-+0123456789"))


def read(raw: bytes, name: str) -> Document:
    """Parse YAML. Raises ConfigError with the exact place for whatever is not plain, bounded YAML text."""
    lines, text = _text(raw, name)
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        except (ValueError, OverflowError):  # PyYAML leaks these from \U escapes and %YAML lines
            mark = loader.get_mark()
            raise _Refused("is not valid YAML: a number or escape is out of range", mark) from None
        if root is None:
            fail(name, lines, [Problem((), "the file is empty", 1, 1)], hint="run: py-portable init")
        walk = _Walk()
        data = walk.value(root, (), root.start_mark)
    except _Refused as refused:
        fail(name, lines, [Problem((), refused.text, refused.mark.line + 1, refused.mark.column + 1)])
    except yaml.MarkedYAMLError as problem:
        fail(name, lines, [explain(problem)])
    if walk.problems:
        fail(name, lines, walk.problems)
    return Document(name, lines, data, Marks(name, walk.table))


def _text(raw: bytes, name: str) -> tuple[tuple[str, ...], str]:
    if len(raw) > MAX_BYTES:
        what = f"the file is larger than {MAX_BYTES >> 20} MiB: that cannot be a config"
        fail(name, (), [Problem((), what, 0, 0)])
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        fail(name, (), [Problem((), "the file is UTF-16 text: save it as UTF-8", 0, 0)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = split_lines(raw[: problem.start].decode("utf-8", "replace"))
        what = f"the file is not UTF-8 text: byte 0x{raw[problem.start]:02x}"
        fail(name, (), [Problem((), what, len(before), len(before[-1]) + 1)])
    lines = split_lines(text)
    if match := _NOT_TEXT.search(text):
        before = split_lines(text[: match.start()])
        what = f"the file is not plain text: character U+{ord(match[0]):04X}"
        fail(name, (), [Problem((), what, len(before), len(before[-1]) + 1)])
    return lines, text


class _Walk:
    """Nodes -> data and marks. Aliases are expanded, so what they expand to is counted."""

    def __init__(self) -> None:
        self.table: dict[DataPath, Mark] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: DataPath, key: _AnyMark) -> Any:
        start = node.start_mark
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        self.table[path] = Mark(start.line + 1, start.column + 1, key.line + 1, key.column + 1, text)
        if len(self.table) > MAX_NODES:
            raise _Refused(f"aliases (*…) make more than {MAX_NODES} values", start)
        if any(node is opened for opened in self._open):
            raise _Refused("an alias (*…) stands inside its own anchor (&…)", start)
        if len(self._open) >= MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} deep", start)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, i), item.start_mark) for i, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _scalar(self, node: yaml.ScalarNode, path: DataPath) -> Any:
        text: str = node.value
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT:
            return int(text)
        if node.tag == _NUMERAL:
            return Numeral(text)
        if match := _NOT_TEXT.search(text):
            what = f"text must not hold the control character U+{ord(match[0]):04X}"
            raise _Refused(f"{show_path(path)}: {what}" if path else what, node.start_mark)
        return text

    def _mapping(self, node: yaml.MappingNode, path: DataPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            at = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                raise _Refused("a key must be plain text", at)
            key: str = key_node.value
            if key == "<<" and key_node.style is None:
                raise _Refused("merge keys (<<) are not supported: use an alias for a whole value", at)
            if match := _NOT_TEXT.search(key):
                raise _Refused(f"a key must not hold the control character U+{ord(match[0]):04X}", at)
            if key in data:
                first = self.table[(*path, key)]
                place = f"{first.key_line}:{first.key_column}"
                what = f"the key {show(key)} appears twice; the first is at {place}"
                self.problems.append(Problem(path, what, at.line + 1, at.column + 1))
                continue
            data[key] = self.value(value_node, (*path, key), at)
        return data
