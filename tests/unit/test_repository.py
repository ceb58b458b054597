"""What holds for the whole repository: no names of machines, documented modules."""

from __future__ import annotations

import ast
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
