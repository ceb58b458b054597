"""The site that mkdocs makes of docs/, and the hooks that run before a commit."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from py_portable.cli import cli

HERE = Path(__file__).parents[2]


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    return subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    result = build(HERE, folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("name", sorted(name for name, command in cli.commands.items() if not command.hidden))
def test_the_page_of_a_command_is_its_help(site: Path, name: str) -> None:
    page = html.unescape((site / "commands" / f"{name}.html").read_text("utf-8"))
    printed = CliRunner().invoke(cli, [name, "--help"]).output
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", printed, re.MULTILINE)
    assert "--help" in options
    assert [option for option in options if option not in page] == []
    assert f"py-portable {name}" in page


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"([^\"]+)\"", page.read_text("utf-8"))
        assert [url for url in loaded if "//" in url] == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text("utf-8"))


@pytest.mark.parametrize("link", ["nowhere.md", "../NOWHERE.md", "config.md#nowhere"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path, link: str) -> None:
    shutil.copytree(HERE / "docs", tmp_path / "docs")
    # What else the pages lead to, and the hook that finds the repository by its own place.
    for path in HERE.iterdir():
        if path.name not in ("docs", "scripts", ".git"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(HERE / "scripts", tmp_path / "scripts")
    assert build(tmp_path, tmp_path / "before").returncode == 0
    with (tmp_path / "docs" / "tutorial.md").open("a", encoding="utf-8") as page:
        page.write(f"\n[somewhere]({link})\n")
    result = build(tmp_path, tmp_path / "after")
    assert result.returncode == 1
    assert link in result.stderr


def test_what_runs_before_a_commit_is_of_lint_and_comes_from_nowhere_else() -> None:
    told = yaml.safe_load((HERE / ".pre-commit-config.yaml").read_text("utf-8"))
    lint = (HERE / "noxfile.py").read_text("utf-8").partition("def lint(")[2]
    assert [repo["repo"] for repo in told["repos"]] == ["local"]
    for hook in told["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        words = hook["entry"].split()
        tool = Path(words[0])
        assert tool.parent == Path(".venv/bin")
        for word in (tool.name, *words[1:]):
            # ruff leaves out what the config excludes only where it is asked to: pre-commit names each file.
            assert f'"{word}"' in lint or word in ("--force-exclude", "site"), word
