"""What holds for the whole repository: no names of machines, documented modules, imports in one direction."""

from __future__ import annotations

import ast
import graphlib
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
SOURCE = HERE / "src"
MODULES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 320

# Put together here, so that this file does not hold what it forbids. After a word it is a place below some root.
MACHINE_PATHS = re.compile(r"(?<![\w}\)$])/(?:" + "|".join(("work" + "/", "root" + "/", "tmp/" + "x/")) + ")")
REGISTRY_HOSTS = re.compile(
    r"\b(?:" + "|".join(map(re.escape, ("py" + "pi.org", "py" + "thonhosted.org", "np" + "mjs.org"))) + r")\b"
)

RANK = {
    "errors": 0,
    "resources": 0,
    "plain": 0,
    "redact": 1,
    "elf": 1,
    "children": 0,
    "command": 1,
    "rust": 2,
    "talk": 2,
    "capture": 0,
    "store": 2,
    "download": 2,
    "fetch": 3,
    "config": 3,
    "index": 4,
    "lock": 5,
    "steps": 5,
    "plan": 6,
    "ci": 9,
    "one_run": 7,
    "records": 7,
    "regular": 0,
    "placing": 0,
    "tarball": 1,
    "zips": 2,
    "untar": 3,
    "run": 7,
    "apart": 2,
    "backends": 8,
    "carrying": 8,
    "evidence": 8,
    "as_made": 9,
    "conclude": 9,
    "report": 10,
    "cli": 11,
}
"""The way of the data: a room imports only from rooms that come before it."""

STRICT = {
    "redact": {"errors"},
    "errors": set(),
    "plain": set(),
    "elf": {"errors"},
    "conclude": set(),
    "report": {"conclude", "plain", "redact"},
}
"""Rooms that may take from these only (and from themselves)."""


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HERE,
        capture_output=True,
        check=True,
    )
    return [HERE / name for name in listing.stdout.decode().split("\0") if name and (HERE / name).is_file()]


def texts() -> Iterator[tuple[str, str]]:
    for path in tracked():
        try:
            yield str(path.relative_to(HERE)), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


def needs_git() -> None:
    if not (HERE / ".git").exists():
        pytest.skip("not a git work tree")


def test_no_file_names_a_package_registry() -> None:
    needs_git()
    found = [f"{name}: {match[0]}" for name, text in texts() for match in REGISTRY_HOSTS.finditer(text)]
    assert found == []


def test_no_file_names_a_path_of_a_machine() -> None:
    needs_git()
    found = [
        f"{name}: {line.strip()[:120]}"
        for name, text in texts()
        for line in text.splitlines()
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("line", ["cd {}main", 'Path("{}x")', "'{}a b'", "file://{}x"])
@pytest.mark.parametrize("place", ["/wo" + "rk/", "/ro" + "ot/"])
def test_the_search_sees_machine_paths(line: str, place: str) -> None:
    assert MACHINE_PATHS.search(line.format(place))
    assert not MACHINE_PATHS.search(line.format(f"$1{place}"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_says_what_it_is_for_and_is_short(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    if tree.body:
        assert ast.get_docstring(tree), "no docstring"
    assert lines_of_code(text) < MAX_LINES


def lines_of_code(text: str) -> int:
    """Lines that hold more than a comment or nothing."""
    idle = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in idle:
            used.update(range(token.start[0], token.end[0] + 1))
    return len(used)


def room(module: str) -> str:
    """The room a module is in: the first part of its name below the package."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of the package that a file takes from at run time, with the line."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "py_portable":
            assert node.level == 0
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "py_portable":
                    yield alias.name, node.lineno


def own_room(path: Path) -> str:
    return path.relative_to(SOURCE / "py_portable").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    mine = own_room(path)
    for module, line in imports(path):
        theirs = room(module)
        if theirs == mine:
            continue
        if mine in STRICT:
            assert theirs in STRICT[mine], f"{path.name}:{line} takes {module}"
        if mine in RANK and theirs in RANK:
            assert RANK[theirs] < RANK[mine], (
                f"{path.name}:{line}: {mine} takes from {theirs}, which comes later"
            )


def test_no_two_rooms_need_each_other() -> None:
    needs: dict[str, set[str]] = {}
    for path in MODULES:
        mine = own_room(path)
        theirs = {room(module) for module, _ in imports(path)} - {mine, ""}
        needs.setdefault(mine, set()).update(theirs)
    graphlib.TopologicalSorter(needs).prepare()  # raises CycleError, which names the rooms


def test_only_the_command_line_knows_the_command_line() -> None:
    for path in MODULES:
        if own_room(path) not in ("cli", "__main__"):
            assert not [m for m, _ in imports(path) if room(m) == "cli"], path


def test_every_promise_has_a_test_and_every_test_a_promise() -> None:
    named = re.findall(r"\(tests/promises/(test_\w+\.py)\)", (HERE / "SECURITY.md").read_text(encoding="utf-8"))
    there = sorted(path.name for path in (HERE / "tests" / "promises").glob("test_*.py"))
    assert sorted(named) == there


def test_an_installed_kit_has_every_file_of_its_folder() -> None:
    needs_git()
    package = SOURCE / "py_portable"
    told = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    carried = {path for pattern in told["py_portable"] for path in package.glob(pattern)}
    # What pins are made from: scripts/refresh-pins reads it in a checkout.
    carried.add(package / "resources" / "tools.in")
    modules = {path for path in MODULES if (path.parent / "__init__.py").is_file()}
    assert [path for path in tracked() if path.is_relative_to(package) and path not in carried | modules] == []
