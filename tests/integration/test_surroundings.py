"""docs/conditions.md compares `plain` with other ways to start an app: what its table says is what the canary sees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.conftest import REPOSITORY

pytestmark = pytest.mark.integration

OF_THE_MACHINE = ("largest core", "open files")


def rows(text: str) -> list[dict[str, str]]:
    """The rows of the table, by the heads of its columns."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_the_table_is_what_is_observed() -> None:
    ways = ["`plain`", *(["a login (`su -`)"] if os.geteuid() == 0 else [])]
    words = [sys.executable, str(REPOSITORY / "scripts" / "compare-surroundings")]
    done = subprocess.run([*words, *(f"--way={way}" for way in ways)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    page = (REPOSITORY / "docs" / "conditions.md").read_text()
    written = {row[""]: row for row in rows(page[page.index("\n## Compared with") :].partition("\n## Observed")[0])}
    seen = rows(done.stdout)
    assert [row[""] for row in seen] == list(written)
    for row in seen:
        for way, value in row.items():
            if way == "`plain`" or row[""] not in OF_THE_MACHINE:
                assert written[row[""]][way] == value, (row[""], way)
