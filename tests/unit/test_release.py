"""The kit's own release: one version, files with the same bytes, and what the server is asked for."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from release import github, version, wheels

from py_portable import __version__
from py_portable.base.prebuilt import Prebuilt
from py_portable.ci.gitlab import template
from py_portable.engines import static_helpers
from py_portable.errors import ConfigError
from py_portable.formats import runtime

HERE = Path(__file__).parents[2]
WORKFLOW = HERE / ".github" / "workflows" / "release.yml"


def test_everything_agrees_with_the_version() -> None:
    assert version.version(HERE) == __version__
    assert version.problems(HERE, None) == []


def test_the_release_s_lock_has_the_packages_that_are_tested() -> None:
    """Otherwise: scripts/release make, or py-portable lock --config release/portable.yaml --update '*'."""
    told = json.loads((HERE / "release" / "portable.lock").read_text())
    packages = [package["file"] for package in told["houses"]["default/3.13"]["packages"]]
    locked = {package["name"]: package["version"] for package in packages}
    assert len(locked) > 10
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (HERE / "requirements/kit.txt").read_text(), re.MULTILINE))
    assert {name: pinned.get(name) for name in locked} == locked


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What the check looks at, with the version 1.2.3 and a date."""
    for name in (
        "src/py_portable/__init__.py",
        "CHANGELOG.md",
        "README.md",
        "docs/gitlab.md",
        "release/portable.yaml",
        *template.FILES,
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((HERE / name).read_text("utf-8").replace(__version__, "1.2.3"), "utf-8")
    shutil.copytree(HERE / "src/py_portable/schemas", tmp_path / "src/py_portable/schemas")
    log = tmp_path / "CHANGELOG.md"
    log.write_text(log.read_text("utf-8").replace("(unreleased)", "(2026-01-31)"), "utf-8")
    assert version.problems(tmp_path, "v1.2.3") == []
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("src/py_portable/__init__.py", '"1.2.3"', '"1.2"', "has no line __version__"),
        ("src/py_portable/__init__.py", '"1.2.3"', '"1.2.4"', "the tag is 'v1.2.3', the version v1.2.4"),
        ("CHANGELOG.md", "## 1.2.3", "## 1.2.2", "CHANGELOG.md: the top entry is of 1.2.2, the version 1.2.3"),
        ("CHANGELOG.md", "2026-01-31", "unreleased", "CHANGELOG.md: the top entry has no date yet"),
        ("CHANGELOG.md", "## 1.2.3 (", "## Next (", "CHANGELOG.md: at the top stands '## Next (2026-01-31)'"),
        ("CHANGELOG.md", "## 1.2.3", "## 1.2.3 (2026-01-31)\n\n## 1.2.3", "the top entry is empty"),
        (
            "templates/py-portable.yml",
            "py-portable==1.2.3",
            "py-portable==1.2.30",
            "names py-portable==1.2.30, the version is 1.2.3",
        ),
        ("release/portable.yaml", "version 1.2.3", "version 1.2.0", "names py-portable, version 1.2.0, the version"),
        ("docs/gitlab.md", "py-portable@1.2.3", "py-portable@0.1.0", "names py-portable@0.1.0, the version is 1.2.3"),
        ("src/py_portable/schemas/lock.schema.json", "urn:py-portable:lock:1", "https://example.org/", "its $id is"),
        ("src/py_portable/schemas/lock.schema.json", "urn:py-portable:lock:1", "urn:py-portable:lock:2", "its $id is"),
    ],
)
def test_whatever_does_not_agree_is_named(root: Path, name: str, old: str, new: str, said: str) -> None:
    text = (root / name).read_text("utf-8")
    assert old in text
    (root / name).write_text(text.replace(old, new, 1), "utf-8")
    assert said in "\n".join(version.problems(root, "v1.2.3"))


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2.4", "v1", "v1.2.3\n", "$(x)"])
def test_another_tag_is_refused(root: Path, tag: str) -> None:
    assert version.problems(root, tag) == [f"the tag is {tag!r}, the version v1.2.3"]


def test_the_next_version_is_written_wherever_one_stands(root: Path) -> None:
    before = (root / "CHANGELOG.md").read_text("utf-8")
    version.bump(root, "1.3.0")
    assert version.version(root) == "1.3.0"
    assert (root / template.FILES[0]).read_text("utf-8") == template.template().replace(__version__, "1.3.0")
    text = (root / "CHANGELOG.md").read_text("utf-8")
    assert text == before.replace("## 1.2.3", "## 1.3.0 (unreleased)\n\n## 1.2.3", 1)
    # What was not released goes on under another number.
    (root / "CHANGELOG.md").write_text(before.replace("2026-01-31", "unreleased"), "utf-8")
    version.bump(root, "2.0.0")
    assert version.problems(root, None) == []
    assert (root / "CHANGELOG.md").read_text("utf-8") == before.replace(
        "## 1.2.3 (2026-01-31)", "## 2.0.0 (unreleased)"
    )
    for wrong in ("2.0.0", "1.9.9", "2.0", "v3.0.0", "3.0.0rc1", "03.0.0"):
        with pytest.raises(ValueError, match="no version after"):
            version.bump(root, wrong)


def test_the_moving_tag_is_that_of_the_config() -> None:
    assert version.moving_tag(HERE) == "v1"
    lines = version.notes(HERE).splitlines()
    assert len(lines) > 1 and not any(line.startswith("## ") for line in lines), "of the top entry alone"


class Gh:
    """Answers with the tags that there are, and keeps what it was asked."""

    def __init__(self, *tags: str) -> None:
        self.tags, self.asked = tags, list[list[str]]()

    def __call__(self, words: Sequence[str]) -> str:
        self.asked.append(list(words))
        return "\n".join(self.tags)


def test_the_tag_moves_to_the_last_version_and_never_back() -> None:
    first = Gh("v0.1.0")
    assert github.move("v0.1.0", "v1", "abc", ask=first) == "v1 is v0.1.0, commit abc"
    assert first.asked[1] == [
        "api",
        "--method",
        "POST",
        "repos/{owner}/{repo}/git/refs",
        "-f",
        "ref=refs/tags/v1",
        "-f",
        "sha=abc",
    ]
    later = Gh("v0.9.0", "v0.10.0", "v1", "latest", "v2.0.0-rc1")
    assert github.move("v0.10.0", "v1", "abc", ask=later) == "v1 is v0.10.0, commit abc"
    assert later.asked[1] == [
        "api",
        "--method",
        "PATCH",
        "repos/{owner}/{repo}/git/refs/tags/v1",
        "-F",
        "force=true",
        "-f",
        "sha=abc",
    ]
    back = Gh("v0.9.1", "v0.10.0", "v1")
    assert github.move("v0.9.1", "v1", "abc", ask=back) == "v1 stays where it is: v0.10.0 is later than v0.9.1"
    assert len(back.asked) == 1


def test_a_release_that_is_there_gets_its_files_anew(tmp_path: Path) -> None:
    asked = Gh()
    github.publish("v0.1.0", tmp_path / "notes.md", [tmp_path / "a"], exists=False, ask=asked)
    github.publish("v0.1.0", tmp_path / "notes.md", [tmp_path / "a"], exists=True, ask=asked)
    assert [words[:3] for words in asked.asked] == [["release", "create", "v0.1.0"], ["release", "upload", "v0.1.0"]]
    assert all(words[-1] == str(tmp_path / "a") for words in asked.asked)
    assert "--verify-tag" in asked.asked[0] and "--clobber" in asked.asked[1]


MEMBERS: wheels.Members = {
    "py_portable-1.dist-info/RECORD": (b"", False),
    "py_portable/x.py": (b"x = 1\n", False),
    "py_portable-1.dist-info/WHEEL": (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", False),
}


def test_a_wheel_has_the_same_bytes_whoever_packs_it(tmp_path: Path) -> None:
    for name, members in (("a", MEMBERS), ("b", dict(reversed(MEMBERS.items())))):
        wheels.write(members, tmp_path / name, 1_700_000_000)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert wheels.read(tmp_path / "a") == MEMBERS
    with zipfile.ZipFile(tmp_path / "a") as archive:
        assert archive.namelist()[-1] == "py_portable-1.dist-info/RECORD"
        assert {entry.date_time for entry in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}


@pytest.mark.parametrize("folder", [static_helpers.FOLDER, runtime.FOLDER])
def test_helpers_of_other_sources_are_never_released(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Prebuilt, "stale", lambda self: self.folder == folder)
    with pytest.raises(ConfigError) as caught:
        wheels.make(HERE, tmp_path / "out", tmp_path, 0)
    assert caught.value.where == str(folder / "compiled.toml")
    assert caught.value.hint == "scripts/make-helpers" and not (tmp_path / "out").exists()


def test_an_sdist_has_the_same_bytes_whoever_packs_it(tmp_path: Path) -> None:
    for number, way in enumerate(("a", "b")):
        folder = tmp_path / way / "kit-1"
        folder.mkdir(parents=True)
        for name in ("x", "y") if number else ("y", "x"):
            (folder / name).write_text(name)
            (folder / name).chmod(0o600 if number else 0o664)
        with tarfile.open(tmp_path / f"{way}.tar.gz", "w:gz") as tar:
            for name in ("x", "y") if number else ("y", "x"):
                tar.add(folder / name, f"kit-1/{name}")
        wheels.settled_sdist(tmp_path / f"{way}.tar.gz", tmp_path / f"{way}.out", 1_700_000_000)
    assert (tmp_path / "a.out").read_bytes() == (tmp_path / "b.out").read_bytes()
    with tarfile.open(tmp_path / "a.out") as tar:
        assert [(m.name, m.mode, m.mtime, m.uid) for m in tar] == [
            (f"kit-1/{n}", 0o644, 1_700_000_000, 0) for n in "xy"
        ]


def test_a_pull_request_runs_with_the_right_to_read_only() -> None:
    told = yaml.safe_load(WORKFLOW.read_text())
    # YAML 1.1 reads the key `on` as true.
    assert told[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}, "pull_request": None}
    assert told["permissions"] == {}
    open_to_all = {name: job["permissions"] for name, job in told["jobs"].items() if "if" not in job}
    assert open_to_all == {"make": {"contents": "read"}}
    for name, job in told["jobs"].items():
        if name not in open_to_all:
            assert job["if"] == "github.event_name == 'push'"
            assert "make" in job["needs"]
        assert "secrets" not in json.dumps(job)
    ran = [step["run"] for job in told["jobs"].values() for step in job["steps"] if "run" in step]
    assert [words for words in ran if "apt-get" not in words] == [
        "scripts/release make",
        "scripts/release publish --dry-run",
        "scripts/release publish",
    ]
