"""The action's program: inputs, what it calls, what it writes for the runner, and that nothing foreign is obeyed."""

from __future__ import annotations

import io
import json
import re
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from py_portable.ci import travel
from py_portable.ci.github import __main__, action, caching, calls, console, cost_cache
from py_portable.ci.github.calls import Call
from py_portable.ci.github.follow import CommandEnded, environment
from py_portable.ci.github.inputs import ALL, PREFIX, Inputs, read
from py_portable.ci.github.runner_files import RunnerFiles, code, cut, output
from py_portable.ci.job_config import Project
from py_portable.errors import ConfigError, MachineError
from py_portable.formats import load_config
from py_portable.store import Store

HERE = Path(__file__).parents[2]
CORPUS = (
    "$(touch forged)",
    "`touch forged`",
    "a; touch forged",
    "a\ntouch forged",
    "a\r::set-output name=verdict::PASS",
    "::set-output name=verdict::PASS",
    "::add-mask::a",
    "\n::error::forged",
    "##[error]forged",
    "  ::stop-commands::x",
    "%0A::error::forged",
    "'\"; touch forged; #",
    "${{ github.token }}",
    "\x1b[31mred\x1b]0;title\x07",
    "verdict<<EOF\nPASS\nEOF",
    "</details><script>alert(1)</script>",
    "[a](javascript:x) ![x](http://x)",
    "../../forged",
    "--config=/etc/passwd",
    "-rf",
    "\u202eforged",
    "a\0b",
)
"""What a stranger may call a branch, a file, an artifact, or have an app say."""
NAMES = (
    "config",
    "command",
    "artifacts",
    "images",
    "tier",
    "dist",
    "engine",
    "cache",
    "allow-unproven",
    "artifact-prefix",
    "build",
    "shard",
)
OURS = re.compile(r"::(group|endgroup|stop-commands|error|[0-9a-f]{32})\b")


def variables(**values: str) -> dict[str, str]:
    return {PREFIX + name.upper(): value for name, value in values.items()}


def obeyed(log: str) -> list[str]:
    """Lines that GitHub's runner takes for commands and that are not the program's own."""
    lines = re.split(r"[\r\n]", log)
    commands = [line for line in lines if line.lstrip().startswith("::") or re.search(r"##\[", line)]
    return [line for line in commands if not OURS.match(line)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("blank", ["", " ", "\n", "\t \n"])
def test_an_empty_input_is_one_that_is_not_given(name: str, blank: str) -> None:
    assert read({PREFIX + name.upper().replace("-", "_"): blank}) == read({}) == Inputs()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", CORPUS)
def test_no_input_becomes_an_option_or_a_line_of_its_own(name: str, text: str, tmp_path: Path) -> None:
    try:
        inputs = read({PREFIX + name.upper().replace("-", "_"): text})
    except ConfigError as problem:
        assert obeyed(problem.render()) == []
        assert f"the input {name}" in problem.render()
        return
    made = calls.calls(inputs, Project("portable.yaml", tmp_path))
    for call in made:
        words = list(call.argv)
        assert all("\n" not in word and "\0" not in word for word in words)
        after = words.index("--") if "--" in words else len(words)
        options = [word for word in words[:after] if word.startswith("-")]
        known = {"--config", "--dist", "--engine", "--image", "--artifact", "--allow-unproven", "--shard", "--tier"}
        assert set(options) <= known


@pytest.mark.parametrize("text", CORPUS)
def test_a_pattern_stays_in_the_repository(text: str, tmp_path: Path) -> None:
    (tmp_path / "portable.yaml").touch()
    try:
        inputs = read(variables(config=text))
        found = calls.projects(inputs, tmp_path)
    except ConfigError as problem:
        assert obeyed(problem.render()) == []
        return
    assert found == ()


def test_inputs_are_read() -> None:
    inputs = read(
        {
            **variables(command="portability build", artifacts="a, b\n c", images="debian:11 debian:13"),
            **variables(tier="pr", cache="False", fix="no", allow_unproven="true", artifact_prefix="x.y-1"),
        }
    )
    assert inputs.commands == ("build", "portability")
    assert inputs.artifacts == ("a", "b", "c")
    assert inputs.images == ("debian:11", "debian:13")
    assert read({}).fix and not inputs.fix
    assert (inputs.tier, inputs.cache, inputs.allow_unproven, inputs.artifact_prefix) == (
        "pr",
        False,
        True,
        "x.y-1",
    )
    project = Project("portable.yaml", Path("/dist"))
    build, proof = calls.calls(inputs, project)
    assert build.argv[-4:] == ("--", "a", "b", "c")
    assert proof.argv[5:] == (
        *("--allow-unproven", "--image", "debian:11", "--image", "debian:13"),
        *("--artifact", "a", "--artifact", "b", "--artifact", "c", "--tier", "pr"),
    )


def test_a_shard_takes_what_others_made_and_leaves_the_report_to_the_last_job() -> None:
    inputs = read(variables(command="portability", shard="shard-007", images="debian:11"))
    (call,) = calls.calls(inputs, Project("portable.yaml", Path("/dist")))
    assert call.argv[5:] == ("--shard", "shard-007", "--as-made")
    assert not calls.reports(inputs)
    assert calls.reports(read({}))
    assert not calls.reports(read(variables(command="build")))


def test_several_configs_have_a_dist_each(tmp_path: Path) -> None:
    for name in ("a", "b", ".hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "portable.yaml").touch()
    (tmp_path / "b" / "other.yaml").touch()
    found = calls.projects(Inputs(config="*/*.yaml"), tmp_path)
    assert [one.config for one in found] == ["a/portable.yaml", "b/other.yaml", "b/portable.yaml"]
    assert len({one.dist for one in found}) == 3
    shared = calls.projects(Inputs(config="*/*.yaml", dist="out"), tmp_path)
    assert [one.dist.relative_to(tmp_path) for one in shared] == [
        Path("out/a/portable"),
        Path("out/b/other"),
        Path("out/b/portable"),
    ]
    (tmp_path / "away").symlink_to("/etc")
    with pytest.raises(ConfigError, match=r"there is no .away"):
        calls.projects(Inputs(config="away/hostnam*"), tmp_path)
    with pytest.raises(ConfigError, match="is outside the repository"):
        calls.projects(Inputs(config="../portable.yaml"), tmp_path)


def parsed(text: str) -> dict[str, str]:
    """A file of outputs, as the runner reads it."""
    found, lines = {}, re.split(r"\r\n|\n|\r", text)
    at = 0
    while at < len(lines) and lines[at]:
        name, _, end = lines[at].partition("<<")
        assert end, lines[at]
        stop = lines.index(end, at + 1)
        found[name] = "\n".join(lines[at + 1 : stop])
        at = stop + 1
    return found


@pytest.mark.parametrize("text", CORPUS)
def test_a_value_ends_no_output(text: str) -> None:
    found = parsed(output("report", text) + output("verdict", "FAIL"))
    assert set(found) == {"report", "verdict"}
    assert found["verdict"] == "FAIL"


@given(st.text())
def test_no_value_at_all_ends_an_output(text: str) -> None:
    found = parsed(output("report", text, delimiter="EOF") + output("verdict", "FAIL"))
    assert found["verdict"] == "FAIL" and set(found) == {"report", "verdict"}


def test_a_known_delimiter_is_not_used() -> None:
    assert "x<<EOF" not in output("x", "a\nEOF\ny<<EOF\nforged\nEOF", delimiter="EOF")
    with pytest.raises(ValueError, match="not an output"):
        output("a\nb", "")


@pytest.mark.parametrize("text", CORPUS)
def test_the_log_obeys_nothing_foreign(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with console.group(f"py-portable build, {text}"):
        console.say(text)
    console.annotate("error", f"{text} failed")
    log = capfd.readouterr().out
    assert obeyed(log) == []
    # One title, one word that stops commands, the same word, one end.
    word = re.search(r"::stop-commands::([0-9a-f]{32})$", log, re.MULTILINE)
    assert word and log.count(word[1]) == 2
    assert "\x1b" not in log


@pytest.mark.parametrize("text", CORPUS)
def test_the_summary_shows_foreign_text_as_code(text: str, tmp_path: Path) -> None:
    failed = Call("build", ("build", "--config", text, "--dist", "/d"))
    result = action.ConfigResult(Project(text, tmp_path), 4, "FAIL", None, None, None, failed, (text,))
    told = action.summary(result, several=True)
    for line in told.split("\n"):
        foreign = re.sub(r"`[^`]*`", "", line)
        assert line.startswith("    ") or not re.search(r"script|javascript|forged|\]\(", foreign)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", told)
    assert code("a`b|c") == "`a'b¦c`"


def test_the_command_of_the_summary_can_be_pasted(tmp_path: Path) -> None:
    argv = ("build", "--config", "my app/portable.yaml", "--dist", "/d", "--", "tree")
    result = action.ConfigResult(Project(argv[2], tmp_path), 4, "FAIL", None, None, None, Call("build", argv))
    assert "again: `py-portable build --config 'my app/portable.yaml' -- tree`" in action.summary(result, False)


def test_the_command_of_a_job_is_one_that_other_machines_can_do() -> None:
    argv = ("--config", "a.yaml", "--dist", "/d", "--shard", "shard-002", "--as-made")
    failed = Call("portability", ("portability", *argv))
    told = action.summary(
        action.ConfigResult(Project("a.yaml", Path("/d")), 1, "FAIL", None, None, None, failed), False
    )
    assert "again: `py-portable portability --config a.yaml`" in told


def test_what_the_report_tells_is_not_told_before_it(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# FAIL: 1 FAIL\n")
    merge = Call("merge", ("merge", "--output", "/runner/dist/evidence.json", "/runner/dist/plan.json"))

    def told(status: int) -> str:
        result = action.ConfigResult(Project("a.yaml", tmp_path), status, "FAIL", report, None, None, merge, ("why",))
        return action.summary(result, False)

    assert told(1) == "# FAIL: 1 FAIL\n"
    assert "why" in told(2) and "/runner" not in told(2)


def test_shards_are_balanced_by_what_cells_took_the_last_time(tmp_path: Path) -> None:
    assert cost_cache.known(tmp_path) is None
    found = tmp_path / "dist" / "evidence.json"
    found.parent.mkdir()
    found.write_text('{"schema": 1}')
    cost_cache.keep(found, tmp_path / "costs")
    known = cost_cache.known(tmp_path / "costs")
    assert known
    (plan,) = calls.calls(read(variables(command="plan")), Project("portable.yaml", tmp_path), None, known)
    assert plan.argv[plan.argv.index("--costs") + 1] == str(known)
    (plan,) = calls.calls(read(variables(command="plan")), Project("portable.yaml", tmp_path))
    assert "--costs" not in plan.argv


def test_what_is_no_evidence_is_told_and_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "[]", '{"schema": 1, "cells": [{}]}'):
        (tmp_path / cost_cache.FILE).write_text(text)
        assert cost_cache.known(tmp_path) is None
        assert capsys.readouterr().out.startswith("::warning title=py-portable::the times of earlier cells")


def test_a_config_that_is_not_there_is_told_once_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "portable.yaml").touch()
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "summary"
    env = {**variables(config="app/portable.yaml"), "GITHUB_STEP_SUMMARY": str(place), "RUNNER_TEMP": str(tmp_path)}
    assert [__main__.main([verb], env) for verb in ("run", "pack")] == [2, 2]
    assert place.read_text().count("could not begin") == 1
    assert "next: there is: 'tools/portable.yaml'" in place.read_text()
    assert capsys.readouterr().out.count("::error ") == 1


def test_the_annotation_of_a_command_that_failed_says_why_and_the_summary_that_a_lock_is_to_be_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "portable.yaml").touch()
    place = tmp_path / "summary"

    def follow(argv: object, env: object) -> CommandEnded:
        Path("portable.lock").touch()
        return CommandEnded(2, ("  | Error: the app's", "Error: portable.yaml:15:3: no artifact is named treee"))

    monkeypatch.setattr(action.follow, "follow", follow)
    assert action.run({**variables(command="build"), "GITHUB_STEP_SUMMARY": str(place)}) == 2
    assert "ended with 2: Error: portable.yaml:15:3: no artifact is named treee" in capsys.readouterr().out
    assert "`portable.lock` is not committed" in place.read_text()
    assert action.run({**variables(command="build"), "GITHUB_STEP_SUMMARY": str(place)}) == 2
    assert place.read_text().count("is not committed") == 1


def test_the_summary_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    files = RunnerFiles({"GITHUB_STEP_SUMMARY": str(path)})
    for _ in range(3):
        files.summary("ä" * 99 + "\n" + "| a row |\n" * 60_000)
    assert path.stat().st_size <= 1_000_000
    assert path.read_text().endswith("The rest is in report.md.\n")
    assert cut("short", 100) == "short"


def test_without_a_runner_nothing_is_written() -> None:
    files = RunnerFiles({})
    files.outputs({"verdict": "PASS"})
    files.summary("text")


def test_what_is_started_knows_neither_the_runners_files_nor_its_tokens() -> None:
    own = {"GITHUB_OUTPUT": "x", "GITHUB_ENV": "x", "ACTIONS_RUNTIME_TOKEN": "x", PREFIX + "CONFIG": "x"}
    assert environment({**own, "PATH": "p", "GITHUB_ACTIONS": "true"}) == {
        "PATH": "p",
        "GITHUB_ACTIONS": "true",
    }


@pytest.mark.parametrize("branch", CORPUS)
def test_no_branch_is_in_a_key(branch: str) -> None:
    for event in ("push", "pull_request", "workflow_run", branch):
        told = {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_REF": branch,
            "GITHUB_RUN_ID": branch,
            "GITHUB_RUN_ATTEMPT": "2",
        }
        keys = caching.keys(told, "prefix", branch, branch)
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,200}", key) for key in (keys.key, *keys.restore))


def test_what_a_pull_request_saves_no_push_takes() -> None:
    def keys(event: str, ref: str) -> caching.Keys:
        told = {
            "GITHUB_EVENT_NAME": event,
            "GITHUB_REF": ref,
            "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_ATTEMPT": "1",
        }
        return caching.keys(told, "py-portable", "portable.yaml", "x86_64-root")

    request, other = keys("pull_request", "refs/pull/12/merge"), keys("pull_request", "refs/pull/1/merge")
    for event, ref in (
        ("push", "refs/heads/pr-12"),
        ("release", "refs/tags/v1"),
        ("push", "refs/pull/12/merge"),
    ):
        trusted = keys(event, ref)
        assert not any(request.key.startswith(begin) for begin in trusted.restore)
        assert any(trusted.key.startswith(begin) for begin in request.restore)
    assert not any(other.key.startswith(begin) for begin in request.restore)
    for event in ("pull_request_target", "workflow_run", "issue_comment", ""):
        assert not keys(event, "refs/heads/main").key.startswith("py-portable-push")


def write_config(folder: Path) -> Path:
    path = folder / "portable.yaml"
    path.write_text((HERE / "tests" / "ci" / "app" / "portable.yaml").read_text())
    return path


def test_builds_are_a_job_a_baseline() -> None:
    groups = calls.builds(load_config(HERE / "portable.yaml"))
    config = load_config(HERE / "portable.yaml")
    assert sorted(name for group in groups for name in group) == sorted(config.artifacts)
    assert calls.build_names(2) == ("build-001", "build-002")


def test_an_artifact_is_built_with_what_it_is_made_from(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    assert calls.builds(load_config(path)) == (("tool",),)


@pytest.mark.parametrize("told", ["FORGED\nverdict=PASS", 7, None, {"a": 1}, "PASS "])
def test_a_verdict_is_a_word_of_ours(told: object, tmp_path: Path) -> None:
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps({"conclusions": {"verdict": told}}))
    assert action.verdict_of(path, 0) == "FAIL"
    for text, verdict in (("{", "FAIL"), ('{"schema": 1}', "UNPROVEN")):
        path.write_text(text)
        assert action.verdict_of(path, 0) == verdict
    assert action.verdict_of(None, 1) == "FAIL"


def test_executables_survive_the_way(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    name = "a $(touch forged)\n--checkpoint-action=exec=x"
    (here / "dist" / "evidence" / "parts").mkdir(parents=True)
    (here / "dist" / name).write_text("#!/bin/sh\n")
    (here / "dist" / name).chmod(0o755)
    (here / "dist" / "tree").mkdir()
    (here / "dist" / "tree" / "link").symlink_to("nothing")
    (here / "dist" / "evidence" / "parts" / "x.json").write_text("{}")
    (here / "portable.lock").write_text("lock")
    there.mkdir()
    project = Project("portable.yaml", here / "dist")
    archive = travel.pack_dist([project], here, tmp_path / "packed" / "one")
    archive.chmod(0o644)
    found = [Project("portable.yaml", there / "dist")]
    assert travel.unpack_dist([archive], there, found) == 1
    assert stat.S_IMODE((there / "dist" / name).stat().st_mode) == 0o755
    assert (there / "dist" / "tree" / "link").is_symlink()
    assert (there / "portable.lock").read_text() == "lock"
    assert not list(tmp_path.rglob("forged"))
    shutil.rmtree(there)
    there.mkdir()
    travel.pack_dist([project], here, tmp_path / "packed" / "one", small=True)
    travel.unpack_dist([archive], there, found)
    assert [one.name for one in sorted(there.rglob("*")) if one.is_file()] == ["x.json"]
    with pytest.raises(MachineError, match="only files inside the repository"):
        travel.pack_dist([Project("portable.yaml", tmp_path)], here, tmp_path / "packed")
    with pytest.raises(MachineError, match="only files inside the repository"):
        travel.pack_dist([Project("portable.yaml", here / ".." / "b")], here, tmp_path / "packed")


@pytest.mark.parametrize(
    "members",
    [
        [("../forged", "")],
        [("dist/../../forged", "")],
        [("dist/out", ".."), ("dist/out/forged", "")],
        [("portable.yaml", "")],
        [("portable.lock", "portable.yaml"), ("portable.lock/forged", "")],
        [(".git/hooks/post-checkout", "")],
        [("dist.forged", "")],
    ],
)
def test_an_archive_reaches_nothing_but_locks_and_dist(tmp_path: Path, members: list[tuple[str, str]]) -> None:
    """Each is a name, and what it links to, if it is a link."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "portable.yaml").write_text("mine")
    archive = tmp_path / "job" / travel.DIST
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        for name, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
            member.size = 0 if target else 1
            tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(ConfigError, match=r"job/dist\.tar: cannot be unpacked"):
        travel.unpack_dist([archive], there, [Project("portable.yaml", there / "dist")])
    assert not list(tmp_path.rglob("*forged"))
    assert (there / "portable.yaml").read_text() == "mine"
    assert not (there / ".git").exists()


def test_a_store_is_taken_whole_and_only_where_there_is_none(tmp_path: Path) -> None:
    store, key = tmp_path / "store", "ab" * 32

    def build(work: Path) -> dict[str, object]:
        (work / "out" / "set-uid").write_text("x")
        (work / "out" / "set-uid").chmod(0o4755)
        return {}

    Store(store).make(key, build)
    # What was damaged on its way does not get in.
    (store / "objects" / "cd").mkdir()
    shutil.copytree(store / "objects" / "ab" / key, store / "objects" / "cd" / ("cd" * 32))
    assert travel.pack_store(tmp_path / "none", tmp_path / "cache") is None
    assert travel.pack_store(store, tmp_path / "cache")
    assert not travel.unpack_store(tmp_path / "cache", store)
    assert travel.unpack_store(tmp_path / "cache", tmp_path / "other")
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "other/objects/ab" / key / "out/set-uid").stat().st_mode) == 0o4755
    assert not list((tmp_path / "other/objects/cd").iterdir())
    assert (tmp_path / "other" / "quarantine").is_dir()


FILES = [HERE / "action.yml", *sorted((HERE / ".github" / "workflows").glob("*.yml"))]
FILES += sorted((HERE / "ci-templates" / "github").glob("*.yml"))


def steps(told: object) -> list[dict[str, object]]:
    """Everything in it that is a step."""
    if isinstance(told, dict):
        own = [told] if "run" in told or "uses" in told else []
        return [*own, *(step for value in told.values() for step in steps(value))]
    return [step for value in told for step in steps(value)] if isinstance(told, list) else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_expression_is_in_a_command_and_actions_are_pinned(path: Path) -> None:
    found = steps(yaml.safe_load(path.read_text()))
    assert found
    for step in found:
        assert "${{" not in str(step.get("run", ""))
        used = str(step.get("uses", "org/py-portable@v1"))
        assert re.fullmatch(r"[\w/.-]+@[0-9a-f]{40}|org/py-portable[\w/.-]*@v1", used), used
    for line in path.read_text().splitlines():
        assert not re.search(r"@[0-9a-f]{40}(?! # v\d)", line), line


def test_the_action_hands_every_input_on_in_every_step() -> None:
    told = yaml.safe_load((HERE / "action.yml").read_text())
    first, *later = [step for step in told["runs"]["steps"] if "run" in step]
    assert len(later) == 5
    # What scripts/ci-github reads before there is a Python.
    python = {PREFIX + "PYTHON": "${{ inputs.python }}"}
    assert first["env"] == {PREFIX + "CACHE": "${{ inputs.cache }}", **python}
    for step in later:
        env = {name: value for name, value in step["env"].items() if name.startswith("PY_PORTABLE_INPUT")}
        assert env == {ALL: "${{ toJSON(inputs) }}", **python}
    assert set(told["outputs"]) == {"evidence", "dist", "report", "verdict", "matrix"}


def test_inputs_that_come_together_are_read_as_those_that_come_alone() -> None:
    told = {
        "config": "a/*.yaml",
        "command": "plan",
        "allow-unproven": "true",
        "tier": "pr",
        "dist": "",
        "python": "3.13",
    }
    alone = {PREFIX + name.upper().replace("-", "_"): value for name, value in told.items()}
    assert read({ALL: json.dumps(told)}) == read(alone) != read({})
    assert read({ALL: json.dumps(told), PREFIX + "CONFIG": "b.yaml"}).config == "b.yaml"
    with pytest.raises(ConfigError, match="is not one of its values"):
        read({ALL: json.dumps({"tier": "all"})})


def test_only_reading_is_asked_for() -> None:
    told = yaml.safe_load((HERE / ".github" / "workflows" / "portable.yml").read_text())
    assert told["permissions"] == {"contents": "read"}
    assert not [job for job in told["jobs"].values() if "permissions" in job or "secrets" in job]
