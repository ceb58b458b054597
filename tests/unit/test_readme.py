"""The README's first page is what tests run: its snippets are the examples, its lines the commands there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from py_portable.cli import cli
from py_portable.doctor import machine, needs
from tests.readme import README, blocks

HERE = Path(__file__).parents[2]
MACHINE = HERE / "docs" / "machine.md"


def without_head(path: str) -> str:
    """An example without the comment that says where it goes."""
    return re.sub(r"\A(?:#.*\n)+", "", (HERE / path).read_text("utf-8"))


def test_it_begins_with_the_three_ways_in() -> None:
    headings = re.findall(r"^##+ (.*)$", README.read_text("utf-8"), re.MULTILINE)
    assert headings[:4] == ["Three ways in", "GitHub", "GitLab", "Your laptop"]


def test_github_is_the_example_that_act_runs() -> None:
    assert blocks("GitHub") == [without_head("ci-templates/github/one-job.yml")]


def test_gitlab_is_the_end_of_the_example() -> None:
    (block,) = blocks("GitLab")
    assert without_head("ci-templates/gitlab/examples/component.gitlab-ci.yml").endswith(f"\n{block}")


def test_the_laptops_lines_are_commands() -> None:
    """tests/integration/test_stock_laptops.py runs them."""
    block, _printed = blocks("Your laptop")
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert lines[:3] == [
        ["python3", "-m", "venv", ".venv"],
        [".", ".venv/bin/activate"],
        ["pip", "install", "py-portable"],
    ]
    for program, command, *options in lines[3:]:
        assert program == "py-portable"
        known = {name for parameter in cli.commands[command].params for name in parameter.opts}
        assert set(options) <= known


def test_the_repositorys_two_commands_are_there() -> None:
    (commands, printed) = blocks("The sample app, in two commands")
    first, second = (line.split("#")[0].strip() for line in commands.splitlines())
    assert (first, second) == ("scripts/nox -s build portability", "scripts/nox -s tests")
    assert printed.startswith(f"$ {first}\n")


@pytest.mark.parametrize(
    ("system", "family", "tool"),
    [
        ("Debian, Ubuntu", "debian", "apt-get"),
        ("Fedora", "fedora", "dnf"),
        ("openSUSE", "suse", "zypper"),
        ("Arch", "arch", "pacman"),
    ],
)
def test_the_lines_in_the_docs_are_the_doctors(system: str, family: str, tool: str) -> None:
    one = machine.Machine(
        1000,
        "USER",
        family=frozenset({family}),
        programs=frozenset({tool, "sudo"}),
        files=frozenset({machine.CA_BUNDLES[0]}),
        subordinate_ids=65536,
    )
    assert f"| {system} | `{needs.cure(one, needs.system(one))}` |\n" in MACHINE.read_text("utf-8")
