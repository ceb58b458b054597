"""The real noxfile under the real nox, with stand-ins that write down how they are called.

A number in front is what PY_PORTABLE_TESTS was.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOXFILE = Path(__file__).parents[2] / "noxfile.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    (folder / "scripts").mkdir(parents=True)
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy2(NOXFILE, folder / "noxfile.py")
    for name in (
        "scripts/nox",
        ".venv/bin/py-portable",
        ".venv/bin/python",
        ".venv/bin/ruff",
        ".venv/bin/mypy",
        ".venv/bin/lint-imports",
        ".venv/bin/mkdocs",
        ".venv/bin/check-jsonschema",
        ".venv/bin/actionlint",
        ".venv/bin/zizmor",
        ".venv/bin/shellcheck",
    ):
        file = folder / name
        note = f'echo "${{PY_PORTABLE_TESTS}}{name} $*" >>"{folder}/calls"'
        answer = 'case "$*" in "$FAILS"*) exit "$STATUS";; esac'
        file.write_text(f"#!/bin/sh\n{note}\n{answer}\n", encoding="utf-8")
        file.chmod(0o755)
    return folder


def nox(project: Path, *words: str, fails: str = "nothing", status: int = 0) -> tuple[int, list[str]]:
    environment = {name: value for name, value in os.environ.items() if name != "PY_PORTABLE_TESTS"}
    result = subprocess.run(
        [sys.executable, "-m", "nox", "-f", str(project / "noxfile.py"), *words],
        env={**environment, "FAILS": fails, "STATUS": str(status)},
        capture_output=True,
        check=False,
        cwd="/",
    )
    return result.returncode, (project / "calls").read_text(encoding="utf-8").splitlines()


def test_a_plain_nox_makes_the_venv_and_asks_the_doctor_once(project: Path) -> None:
    assert nox(project, "-s", "build", "portability", "--", "--tier", "pr") == (
        0,
        [
            "scripts/nox --ensure",
            "0.venv/bin/py-portable doctor --fix -q",
            ".venv/bin/py-portable build --ahead --tier pr",
            ".venv/bin/py-portable portability --tier pr",
        ],
    )


@pytest.mark.parametrize("status", [1, 2, 3, 4, 130])
def test_the_exit_status_is_the_clis_and_nothing_follows(project: Path, status: int) -> None:
    code, calls = nox(project, "-s", "build", "portability", fails="build", status=status)
    assert code == status
    assert calls[-1] == ".venv/bin/py-portable build --ahead"


def test_a_doctor_who_refuses_ends_it(project: Path) -> None:
    code, calls = nox(project, "-s", "tests", fails="doctor", status=3)
    assert code == 3
    assert not any("pytest" in call for call in calls)


def test_tests_are_the_whole_suite(project: Path) -> None:
    code, calls = nox(project, "-s", "tests", "--", "-k", "a and b")
    assert code == 0
    assert calls[1:] == [
        "1.venv/bin/py-portable doctor --fix -q",
        ".venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -k a and b",
    ]


def test_lint_does_not_ask_the_doctor(project: Path) -> None:
    code, calls = nox(project, "-s", "lint")
    assert code == 0
    assert calls[:3] == ["scripts/nox --ensure", ".venv/bin/ruff check", ".venv/bin/ruff format --check --quiet"]
    programs = [call.split()[0].removeprefix(".venv/bin/") for call in calls[3:]]
    assert programs == [
        "mypy",
        "lint-imports",
        "mkdocs",
        "check-jsonschema",
        "check-jsonschema",
        "check-jsonschema",
        "actionlint",
        "zizmor",
        "shellcheck",
    ]


def test_the_benchmark_asks_the_doctor_and_passes_its_words_on(project: Path) -> None:
    code, calls = nox(project, "-s", "benchmark", "--", "folder", "--", "--version")
    assert code == 0
    assert calls[1:] == [
        "0.venv/bin/py-portable doctor --fix -q",
        ".venv/bin/py-portable benchmark folder -- --version",
    ]


@pytest.mark.parametrize(
    ("session", "words"), [("report", ["--dist", "a b"]), ("tags", ["dist/wheels", "manylinux_2_31_x86_64"])]
)
def test_what_starts_nothing_does_not_ask_the_doctor(project: Path, session: str, words: list[str]) -> None:
    code, calls = nox(project, "-s", session, "--", *words)
    assert code == 0
    assert calls == ["scripts/nox --ensure", f".venv/bin/py-portable {session} {' '.join(words)}"]
