"""The template run by gitlab-ci-local, with the examples as they stand: verdicts as by hand, reports, exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from py_portable import __version__
from py_portable.images import resolve
from py_portable.store import Store, default_root
from tests.ci.gitlab import containers, runner
from tests.integration.conftest import Project
from tests.integration.users import second_user

pytestmark = pytest.mark.integration

PROBES = ("read-only", "no-home")
MARKER = re.compile(r"section_(start|end):[0-9]+:[A-Za-z0-9_.-]+(\[[^\]]*\])?\r\x1b\[0K")
"""What makes GitLab fold a log (its lib/gitlab/regex.rb)."""
FORGERY = (
    r"printf 'section_start:1:x\r\033[0Kforged\nsection_end:1:x\r\033[0K\n::set-output name=x::y\n\033[2J'; "
    r"printf '\n$(touch pwned) `touch pwned` <b>]]>\n' >&2; exit 3"
)
GOOD = {"works": 'echo "$1"'}
BAD = {**GOOD, "breaks": FORGERY}
GONE = {**BAD, "gone": ""}
SECRETS = {
    "CI_JOB_TOKEN": "glcbt-Ghee6iechoh4",
    "PIP_INDEX_URL": "https://somebody:Iuvoh9aegh4u@index.invalid/simple",
    "UV_INDEX_TEAM_PASSWORD": "Oox8uoph9eiw",
    "DEPLOY_KEY": "paeg7Ohbee0u",
}
SECRET = re.compile(rb"glcbt-Ghee6iechoh4|Iuvoh9aegh4u|Oox8uoph9eiw|paeg7Ohbee0u")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runner.program(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def secrets(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables of the runs of a test, with a store of their own; they are in no file when it is over."""
    yield {**SECRETS, "PY_PORTABLE_STORE": str(tmp_path / "store")}
    # But for the kit, which the test made.
    found = [path for path in tmp_path.rglob("*") if path.is_file() and "python3" not in str(path)]
    assert len(found) > 20
    assert [path for path in found if SECRET.search(path.read_bytes())] == []


def verdicts(evidence: dict[str, Any], *, on: str = "") -> list[tuple[Any, ...]]:
    """`on`: with the fields that tell of where a cell was started."""
    names = ("artifact", "sha256", "image", "condition", "argv", "verdict", "reason")
    names += ("image_identity", "isolation") if on == "the same machine" else ()
    return sorted(tuple(str(cell[name]) for name in names) for cell in evidence["cells"])


def by_hand(tmp_path: Path, caller: runner.Caller, engine: str, *words: str) -> tuple[int, dict[str, Any]]:
    """What `nox -s portability` calls."""
    project = Project(tmp_path / "by-hand")
    shutil.copytree(caller.folder / "tools", project.folder / "tools")
    shutil.copy(caller.folder / "portable.yaml", project.folder)
    done = project.run("portability", "--engine", engine, *words)
    return done.status, project.evidence


def ended(ran: runner.Ran, job: str) -> list[str]:
    """The tool's own status says nothing of a child; its list of jobs does. `py-portable build` is not the jobs that
    build in images, which have nothing to do here."""
    return re.findall(rf"^ (PASS|FAIL) .*{re.escape(job)}(?! in image)", ran.text, re.MULTILINE)


def report(caller: runner.Caller, ran: runner.Ran) -> dict[str, Any]:
    """What the job that merges left, for its reader and for the server."""
    found = sorted((caller.folder / ".gitlab-ci-local/artifacts").rglob("merged.json"))
    assert found, ran.text
    evidence: dict[str, Any] = json.loads(found[0].read_text())
    folder = found[0].parent
    assert f"# {evidence['conclusions']['verdict']}" in (folder / "report.md").read_text().splitlines()[0]
    told = list(caller.folder.rglob("junit.xml"))
    assert told, ran.text
    assert len(list(xml.parse(told[0]).getroot().iter("testcase"))) >= len(evidence["cells"])
    for path in (*folder.rglob("*"), *told):
        assert not path.is_file() or not MARKER.search(path.read_bytes().decode("utf-8", "replace")), path
    return evidence


def tame(caller: runner.Caller, ran: runner.Ran) -> None:
    """Nothing of what strangers write was run, or obeyed."""
    assert not MARKER.search(ran.text)
    assert "\x1b[2J" not in ran.text
    assert not SECRET.search(ran.text.encode())
    assert not list(caller.folder.parent.rglob("pwned*"))


def test_a_green_run(tmp_path: Path, program: Path, secrets: dict[str, str]) -> None:
    """On a runner that keeps no store: the next run takes it from the cache."""
    caller = runner.make(tmp_path / "caller", program, "flat.gitlab-ci.yml", GOOD)
    env = {**secrets, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "", "PY_PORTABLE_STORE": ""}
    ran = caller.run("--shell-isolation", env=env)
    tame(caller, ran)
    status, expected = by_hand(tmp_path, caller, "native")
    assert (ran.status, status) == (0, 0), ran.text
    assert ended(ran, "py-portable report") == ["PASS"]
    on = "the same machine"
    assert verdicts(report(caller, ran), on=on) == verdicts(expected, on=on)
    shutil.rmtree(tmp_path / "home/.cache/py-portable")
    # The plan's job compiled the helpers that it names; the others found that store, as they share a home here.
    again = caller.run("--shell-isolation", "py-portable plan", env=env)
    assert ("cache: miss" in ran.text, "cache: hit" in again.text) == (True, True), again.text


def test_a_red_run_in_which_an_artifact_was_not_built(tmp_path: Path, program: Path, secrets: dict[str, str]) -> None:
    caller = runner.make(tmp_path / "caller", program, "flat.gitlab-ci.yml", GONE)
    # With isolation a job sees what its `needs` bring and nothing else.
    ran = caller.run("--shell-isolation", env=secrets)
    tame(caller, ran)
    status, expected = by_hand(tmp_path, caller, "native")
    assert status == 2
    assert ran.status != 0
    for job in ("build", "in image: [debian:12]", "report"):
        assert ended(ran, f"py-portable {job}") == ["FAIL"], ran.text
    evidence = report(caller, ran)
    on = "the same machine"
    assert [cell for cell in verdicts(evidence, on=on) if cell[0] != "gone"] == verdicts(expected, on=on)
    # Of what was not built there are cells all the same: nobody can take them for proven.
    lost = [cell for cell in evidence["cells"] if cell["artifact"] == "gone"]
    assert [(cell["verdict"], cell["reason"]) for cell in lost] == [("UNPROVEN", "shard")]


def test_a_red_child_of_a_part_of_the_matrix(tmp_path: Path, program: Path, secrets: dict[str, str]) -> None:
    """A child's `needs` of its parent the tool passes over, so that there the jobs share a folder."""
    caller = runner.make(
        tmp_path / "caller",
        program,
        "local.gitlab-ci.yml",
        GONE,
        probes=PROBES,
        inputs={"artifacts": "works breaks", "tier": "pr"},
    )
    known_name(caller.folder)
    ran = caller.run("--no-shell-isolation", env=secrets)
    tame(caller, ran)
    words = ("--artifact", "works", "--artifact", "breaks", "--tier", "pr")
    status, expected = by_hand(tmp_path, caller, "native", *words)
    assert status == 1
    assert ended(ran, "py-portable build") == ["PASS"], ran.text
    assert ended(ran, "py-portable report") == ["FAIL"]
    on = "the same machine"
    assert verdicts(report(caller, ran), on=on) == verdicts(expected, on=on)


def test_as_an_ordinary_user(tmp_path: Path, program: Path) -> None:
    """A runner without root. What cannot be isolated without it is UNPROVEN here as by hand."""
    with second_user("py-portable-t6", home=True) as user:
        home = Path(user.pw_dir)
        modules = shutil.copytree(program.parents[1], home / "node_modules", symlinks=True)
        # The one of these tests may start from a folder that only root can read.
        containers.kit(home / "kit")

        def launcher(folder: Path) -> None:
            folder.mkdir(parents=True)
            path = folder / "py-portable"
            path.write_text(f'#!/bin/sh\nexec {home}/kit/py-portable "$@"\n')
            path.chmod(0o755)

        caller = runner.make(
            home / "caller",
            modules / ".bin/gitlab-ci-local",
            "flat.gitlab-ci.yml",
            GOOD,
            inputs={"command": "vendor/py-portable/py-portable"},
            kit=launcher,
        )
        subprocess.run(["chown", "-R", user.pw_name, home], check=True)
        prefix = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--")
        env = {"HOME": str(home), "XDG_CACHE_HOME": "", "PY_PORTABLE_STORE": str(home / "store"), "TMPDIR": "/tmp"}
        ran = replace(caller, prefix=prefix).run("--no-shell-isolation", env=env)
        assert ran.status == 0, ran.text
        assert ended(ran, "py-portable report") == ["PASS"]
        (cell,) = report(caller, ran)["cells"]
        assert (cell["verdict"], cell["isolation"]) == ("PASS", "partial")


@pytest.mark.parametrize(
    ("example", "ref", "path"),
    [
        ("component.gitlab-ci.yml", __version__, "templates/py-portable.yml"),
        ("project.gitlab-ci.yml", f"v{__version__}", "ci-templates/gitlab/py-portable.yml"),
    ],
    ids=["component", "project"],
)
def test_from_another_project_and_the_kit_by_pip(
    tmp_path: Path, program: Path, secrets: dict[str, str], example: str, ref: str, path: str
) -> None:
    caller = runner.make(tmp_path / "caller", program, example, GOOD, kit=runner.packed_kit)
    runner.fetched(caller, ref, path)
    known_name(caller.folder)
    del secrets["PIP_INDEX_URL"]
    env = {**secrets, **runner.wheel(tmp_path / "wheels")}
    whole = ref == __version__
    ran = caller.run("--no-shell-isolation", *([] if whole else ["py-portable plan"]), env=env)
    tame(caller, ran)
    assert ended(ran, "py-portable plan") == ["PASS"], ran.text
    if not whole:
        return
    assert ended(ran, "py-portable report") == ["PASS"], ran.text
    assert report(caller, ran)["conclusions"]["verdict"] == "PASS"


def test_a_child_on_another_engine_ends_in_the_verdicts_of_nox(
    tmp_path: Path, program: Path, secrets: dict[str, str]
) -> None:
    """Also of the conditions that only an engine with a sandbox gives. The store is one that lasts."""
    caller = runner.make(
        tmp_path / "caller",
        program,
        "local.gitlab-ci.yml",
        BAD,
        probes=PROBES,
        inputs={"engine": "bubblewrap", "bundle": "", "benchmark": True},
    )
    known_name(caller.folder)
    ran = caller.run("--no-shell-isolation", env={**secrets, "PY_PORTABLE_STORE": str(default_root(os.environ))})
    tame(caller, ran)
    status, expected = by_hand(tmp_path, caller, "bubblewrap")
    assert (status, ended(ran, "py-portable report")) == (1, ["FAIL"]), ran.text
    # What is made elsewhere has no interpreter to be measured against; the report comes nevertheless.
    assert ended(ran, "py-portable benchmark") == ["FAIL"], ran.text
    on = "the same machine"
    assert verdicts(report(caller, ran), on=on) == verdicts(expected, on=on)


def test_a_job_in_its_image_on_docker(
    tmp_path: Path, program: Path, docker: dict[str, str], secrets: dict[str, str]
) -> None:
    """The image holds neither Python nor compiler: everything was brought along, and no token came in."""
    debian = resolve(runner.IMAGE, store=Store(default_root(os.environ)))
    containers.images(docker, runner.IMAGE, debian.root)
    looks = {**BAD, "works": 'echo "$1"; ! env | grep -q "TOKEN\\|PASSWORD\\|DEPLOY\\|^CI_"'}
    caller = runner.make(
        tmp_path / "caller",
        program,
        "flat.gitlab-ci.yml",
        looks,
        probes=PROBES,
        # Nothing is built here, but the job that would build is started, and the daemon has no other image.
        inputs={"baselines": [runner.IMAGE]},
        kit=containers.kit,
        shell=True,
    )
    ran = caller.run(
        "--shell-isolation",
        "--network=host",
        f"--helper-image={containers.HELPER}",
        "--pull-policy=if-not-present",
        # Else only jobs without an image would have them.
        *(f"--variable={name}={value}" for name, value in SECRETS.items()),
        env={**docker, **secrets},
        containers=True,
    )
    tame(caller, ran)
    evidence = report(caller, ran)
    assert {cell["isolation"] for cell in evidence["cells"]} == {"partial"}
    # A container's root cannot be made read-only from within it; all else is as nox has it.
    _, expected = by_hand(tmp_path, caller, "bubblewrap")
    for cell in expected["cells"]:
        if cell["condition"] == "read-only":
            cell |= {"verdict": "UNPROVEN", "reason": "condition"}
    assert verdicts(evidence) == verdicts(expected)


HOSTILE = "$(touch pwned)`touch pwned`;touch pwned\n'\"|touch pwned\nsection_start:1:x\r\x1b[0Kforged"


@pytest.mark.parametrize(
    "names",
    [("command",), ("bundle", "kit"), ("config", "artifacts", "bundle", "bundle-sha256", "kit", "image")],
    ids=lambda names: names[0],
)
def test_what_an_input_holds_is_never_run(
    tmp_path: Path, program: Path, secrets: dict[str, str], names: tuple[str, ...]
) -> None:
    """And the name of the branch, which anybody may choose who asks for a merge. (`job-prefix` has a pattern, which
    this tool knows nothing of.)"""
    branch = "x$(touch${IFS}pwned)`touch${IFS}pwned`;touch${IFS}pwned"
    hostile = dict.fromkeys(names, HOSTILE)
    caller = runner.make(tmp_path / "caller", program, "flat.gitlab-ci.yml", GOOD, inputs=hostile, branch=branch)
    ran = caller.run("--stage=build", "--shell-isolation", env=secrets)
    tame(caller, ran)
    assert ended(ran, "py-portable plan") == ["FAIL"], ran.text


def test_that_marker_can_be_found(tmp_path: Path) -> None:
    done = subprocess.run(["sh", "-c", FORGERY], cwd=tmp_path, capture_output=True, check=False)
    assert MARKER.search(done.stdout.decode())
    assert not (tmp_path / "pwned").exists()


def known_name(folder: Path) -> None:
    """The tool looks for a trigger's artifact below the job's name, and puts it below that name made safe."""
    place = folder / ".gitlab-ci-local/artifacts"
    place.mkdir(parents=True)
    (place / "py-portable plan").symlink_to("py-portableIAplan")
