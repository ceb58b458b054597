"""The template for GitLab: one text in two places, what a server takes, and no input that any shell reads."""

from __future__ import annotations

import functools
import importlib.resources
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from py_portable.ci.gitlab import jobs as gitlab_jobs
from py_portable.ci.gitlab import pipeline, template
from py_portable.errors import ConfigError
from py_portable.plan.cell import PlannedCell
from py_portable.plan.partition import by_image
from tests.unit.gitlab_expander import INPUT, Refused, expand, header

HERE = Path(__file__).parents[2]
TEXT = template.template()
EXAMPLES = sorted((HERE / "ci-templates/gitlab/examples").glob("*.yml"))
KINDS = ("child", "flat")
HOSTILE = [
    "$(touch canary)",
    "`touch canary`",
    "; touch canary",
    "a && touch canary #",
    "'; touch canary; '",
    '"; touch canary; "',
    "${IFS}$(touch${IFS}canary)",
    "a\ntouch canary\n",
    "--help",
    "-rcanary",
    "| touch canary",
    "> canary",
    "::set-output name=x::y",
    "::add-mask::x",
    "%0A::error::x",
    "\x1b[31mred\x1b[0m",
    "$CI_JOB_TOKEN",
    "$[[ inputs.kit ]]",
    "'\"\\",
    " ",
    "*",
    "é\u202e\u2028",
]


@functools.cache
def schema() -> dict[str, Any]:
    """GitLab's own, as check-jsonschema carries it."""
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "gitlab-ci.json"
    told: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return told


def jobs_of(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """With `extends` made good, as the server does it."""
    found = {}
    for name, job in told.items():
        if name in ("workflow", "stages"):
            continue
        base = told[job["extends"]] if "extends" in job else {}
        merged = {**base, **job, "variables": {**base.get("variables", {}), **job.get("variables", {})}}
        if not name.startswith("."):
            found[name] = merged
    return found


def scripts_of(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, job in jobs_of(told).items():
        for key in ("before_script", "script", "after_script"):
            for line in job.get(key, ()):
                yield f"{name}: {key}", line


BUILDS = (
    pipeline.BuildJob("default", "quay.io/pypa/manylinux_2_28_x86_64@sha256:" + "1" * 64),
    pipeline.BuildJob("old", "debian:11"),
)


def child(inside: bool, builds: Sequence[pipeline.BuildJob] = ()) -> dict[str, Any]:
    shards = by_image([PlannedCell("a", "file", "debian:12", "plain", (), "pass")], limit=9)
    text = pipeline.pipeline(shards, inside=inside, job_image="python:3.13", builds=builds)
    told: dict[str, Any] = yaml.safe_load(text)
    return told


def variables(job: Mapping[str, Any]) -> dict[str, str]:
    """As a shell gets them. What is not raw, the runner expands; such a value may hold no input."""
    told = {}
    for name, value in job["variables"].items():
        if isinstance(value, dict):
            assert value["expand"] is False
            told[name] = value["value"]
        else:
            told[name] = value
        assert isinstance(told[name], str), name
    return told


# ---------------------------------------------------------------------------------------------- one source


def test_both_files_are_what_the_one_source_says() -> None:
    assert template.FILES == ("templates/py-portable.yml", "ci-templates/gitlab/py-portable.yml")
    for name in template.FILES:
        assert (HERE / name).read_text("utf-8") == TEXT, f"{name}: run scripts/make-gitlab-templates"


def test_the_docs_name_every_input_and_no_other() -> None:
    page = (HERE / "docs/gitlab.md").read_text("utf-8").partition("## Inputs")[2].partition("\n## ")[0]
    told = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert told == list(template.INPUTS)


# -------------------------------------------------------------------------------------- what a server takes


def test_the_server_s_schema_holds_for_the_header() -> None:
    jsonschema.validate({"spec": {"inputs": header(TEXT)}}, schema())
    for name, spec in header(TEXT).items():
        assert spec["type"] in ("string", "boolean", "array"), name
        assert spec["description"], name
        assert "default" in spec, f"{name}: a caller's ten lines would be eleven"


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_s_schema_holds_for_the_jobs(kind: str) -> None:
    jsonschema.validate(expand(TEXT, {"pipeline": kind, "images": ["debian:11", "debian:12"]}), schema())


@pytest.mark.parametrize("builds", [(), BUILDS], ids=["built before", "builds in images"])
@pytest.mark.parametrize("inside", [False, True])
def test_the_server_s_schema_holds_for_the_child(inside: bool, builds: Sequence[pipeline.BuildJob]) -> None:
    jsonschema.validate(child(inside, builds), schema())


def test_several_baselines_are_several_build_jobs_in_their_images() -> None:
    told = child(True, BUILDS)
    assert told["stages"][0] == "build"
    folders = set()
    for build in BUILDS:
        job = told[f"py-portable build {build.name}"]
        assert job["image"] == {"name": build.image, "entrypoint": [""]}
        assert job["variables"]["PY_PORTABLE_BASELINE"] == build.name
        assert [need["job"] for need in job["needs"]] == ["py-portable plan"]
        folders |= {job["artifacts"]["paths"][0], job["cache"][0]["key"]}
    assert len(folders) == 4
    names = [f"py-portable build {build.name}" for build in BUILDS]
    for job in (told[".py-portable shard"], told["py-portable carry"], told["py-portable benchmark"]):
        # Not those of the parent's job, which has built nothing then.
        assert [need["job"] for need in job["needs"]] == ["py-portable plan", *names]
    for job in (told[".py-portable shard"], told["py-portable carry"], told["py-portable report"]):
        assert job["when"] == "always"
    assert "when" not in child(True)[".py-portable shard"]


def test_flat_builds_in_the_images_that_are_listed() -> None:
    told = expand(TEXT, {"pipeline": "flat", "baselines": ["debian:11", "manylinux_2_28"]})
    job = told["py-portable build in image"]
    assert job["parallel"] == {"matrix": [{"PY_PORTABLE_BASELINE": ["debian:11", "manylinux_2_28"]}]}
    assert job["image"]["name"] == "$PY_PORTABLE_BASELINE"


def test_a_baseline_that_no_runner_can_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="of the baseline a"):
        child(True, (pipeline.BuildJob("a", "docker-archive:/x y.tar"),))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_server_s_schema_holds_for_the_examples_and_their_inputs_are_taken(path: Path) -> None:
    told = yaml.safe_load(path.read_text("utf-8"))
    jsonschema.validate(told, schema())
    (include,) = told["include"]
    expand(TEXT, include["inputs"])
    assert set(include) <= {"component", "project", "ref", "file", "local", "inputs"}


def test_that_schema_can_say_no() -> None:
    told = expand(TEXT)
    told["py-portable build"]["artifacts"]["reports"] = 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, schema())


def test_there_are_jobs_only_and_all_bear_the_prefix() -> None:
    told = expand(TEXT, {"job-prefix": "team x"})
    assert all(name.removeprefix(".").startswith("team x ") for name in told)
    for job in told.values():
        # Nothing of a caller's `default:` takes part but what says where and how often a job runs.
        assert "image" not in job.get("inherit", {}).get("default") if job.get("inherit", {}).get("default") else True
    assert not set(told) & {"default", "stages", "variables", "workflow", "image", "before_script", "cache"}


@pytest.mark.parametrize("prefix", ["", "a\nb", "$(x)", "a: b", ".x", "x" * 63, "x ", "a\n", "é"])
def test_a_prefix_that_is_no_part_of_a_name_is_refused_by_the_server_too(prefix: str) -> None:
    with pytest.raises(Refused):
        expand(TEXT, {"job-prefix": prefix})
    assert not pipeline.PREFIX.fullmatch(prefix)


def runs(job: Mapping[str, Any]) -> bool:
    """Whether its rules let it run; they compare two texts, and join comparisons."""

    def holds(comparison: str) -> bool:
        one, sign, other = comparison.split(" ")
        return (one == other) == {"==": True, "!=": False}[sign]

    return any("if" not in rule or all(map(holds, rule["if"].split(" && "))) for rule in job["rules"])


CHILD = ["plan", "build", "portability"]
FLAT = ["plan", "build", "build in image", "in image", "report"]
NAMED = ["plan", "build", "in image", "report"]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, CHILD),
        ({"pipeline": ""}, CHILD),
        ({"benchmark": True}, CHILD),
        ({"pipeline": "flat"}, FLAT),
        ({"pipeline": "flat", "benchmark": True}, [*FLAT[:-1], "benchmark", "report"]),
        ({"pipeline": "flat", "build-engine": ""}, FLAT),
        ({"pipeline": "flat", "build-engine": "native"}, FLAT),
        ({"pipeline": "flat", "build-engine": "docker"}, NAMED),
        ({"pipeline": "flat", "build-engine": "bubblewrap"}, NAMED),
        ({"build-engine": "native"}, CHILD),
    ],
)
def test_which_jobs_there_are(given: dict[str, Any], names: list[str]) -> None:
    told = jobs_of(expand(TEXT, given))
    there = {name.removeprefix("py-portable "): job for name, job in told.items() if runs(job)}
    assert list(there) == names
    for job in there.values():
        for needed in job.get("needs", ()):
            optional = isinstance(needed, dict) and needed["optional"]
            assert optional or runs(told[needed])


def test_what_was_built_is_proven_and_reported_though_a_job_failed() -> None:
    told = jobs_of(expand(TEXT))
    for name in ("portability", "in image", "report"):
        assert [rule["when"] for rule in told[f"py-portable {name}"]["rules"]] == ["always"]


def test_the_lock_travels_and_so_does_what_was_built_in_tar() -> None:
    told = jobs_of(expand(TEXT))
    assert told["py-portable build"]["needs"] == ["py-portable plan"]
    handed = gitlab_jobs.HANDED
    assert f"{handed}/" in told["py-portable plan"]["artifacts"]["paths"]
    assert f"{handed}/build/" in told["py-portable build"]["artifacts"]["paths"]
    assert f"{handed}/build-*/" in told["py-portable build in image"]["artifacts"]["paths"]
    for job in (told["py-portable build"], told["py-portable in image"], child(False)[".py-portable shard"]):
        assert "gitlab take\n" in job["script"][0].replace("kit gitlab", "gitlab")


def test_a_merge_request_s_cache_is_its_own() -> None:
    scopes = []
    for told in (jobs_of(expand(TEXT)), jobs_of(child(False))):
        for name, job in told.items():
            for cache in job.get("cache", ()):
                assert cache["paths"] == [f"{gitlab_jobs.CACHE}/"], name
                # Only what builds or gets images keeps them.
                assert ("policy" in cache) == (name.split(" ")[1] not in ("plan", "build")), name
                scopes.append(cache["key"].partition("mr")[2] or cache["key"].rpartition("-")[2])
    assert set(scopes) == {"$CI_MERGE_REQUEST_IID-$CI_COMMIT_REF_SLUG", f"${gitlab_jobs.SCOPE}"}
    trigger = jobs_of(expand(TEXT))["py-portable portability"]["variables"]
    assert trigger[gitlab_jobs.SCOPE] == "mr$CI_MERGE_REQUEST_IID-$CI_COMMIT_REF_SLUG"


@pytest.mark.parametrize("told", [expand(TEXT, {"pipeline": "flat"}), child(True), child(False)])
def test_one_job_holds_the_reports(told: dict[str, Any]) -> None:
    holders = {n: j["artifacts"]["reports"] for n, j in jobs_of(told).items() if "reports" in j.get("artifacts", {})}
    (name,) = holders
    assert name == "py-portable report"
    assert holders[name] == {"junit": "dist/junit.xml", "codequality": "dist/codequality.json"}


def test_the_parent_has_what_the_child_takes_its_files_from() -> None:
    parent, inside = jobs_of(expand(TEXT)), child(True)
    taken = {need["job"] for job in inside.values() if isinstance(job, dict) for need in job.get("needs", ())}
    assert taken == {"py-portable plan", "py-portable build"} <= set(parent)
    assert parent["py-portable portability"]["trigger"]["include"] == [
        {"artifact": gitlab_jobs.PIPELINE, "job": "py-portable plan"}
    ]
    assert {"dist/plan.json", gitlab_jobs.PIPELINE, f"{gitlab_jobs.KIT}/"} <= set(
        parent["py-portable plan"]["artifacts"]["paths"]
    )
    assert gitlab_jobs.PARENT in variables(parent["py-portable portability"])


def test_images_are_a_matrix() -> None:
    told = expand(TEXT, {"pipeline": "flat", "images": ["a:1", "b:2"]})
    assert told["py-portable in image"]["parallel"] == {"matrix": [{"PY_PORTABLE_IMAGE": ["a:1", "b:2"]}]}
    with pytest.raises(Refused):
        expand(TEXT, {"images": "a:1"})


# ----------------------------------------------------------------------------------------------- injection


def free_inputs() -> list[str]:
    """Those that take any text, or any list of texts."""
    return [
        name
        for name, spec in header(TEXT).items()
        if spec["type"] in ("string", "array") and not {"options", "regex"} & set(spec)
    ]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_is_a_part_of_a_command_a_name_or_a_rule(kind: str, text: str) -> None:
    tame = expand(TEXT, {"pipeline": kind})
    for name in free_inputs():
        given = [text] if header(TEXT)[name]["type"] == "array" else text
        told = expand(TEXT, {"pipeline": kind, name: given})
        assert list(told) == list(tame)
        assert list(scripts_of(told)) == list(scripts_of(tame))
        for job, other in zip(told.values(), tame.values(), strict=True):
            for key in set(job) - {"variables", "image", "stage", "artifacts", "parallel"}:
                assert job[key] == other[key], f"{name} gets into {key}"
            for variable, value in job.get("variables", {}).items():
                assert isinstance(value, dict) or text not in value or INPUT.search(text), variable


def test_every_input_is_used_and_no_command_holds_one() -> None:
    body = TEXT.split("---\n")[1]
    assert {match[1] for match in INPUT.finditer(body)} == set(header(TEXT))
    for where, script in scripts_of(yaml.safe_load(body)):
        assert "$[[" not in script, where


ALL_SCRIPTS = sorted(
    {line for told in (expand(TEXT), child(True), child(False), child(True, BUILDS)) for _, line in scripts_of(told)}
)


ASSIGNMENT = re.compile(r"PY_PORTABLE_[A-Z]+=\$")


@pytest.mark.parametrize("script", ALL_SCRIPTS)
def test_every_variable_in_a_command_is_quoted(script: str) -> None:
    assert "eval" not in script
    assert "`" not in script
    assert "$(" not in script
    for line in script.splitlines():
        # Whatever is left once quoted words are taken out has no variable, but for an assignment, which splits nothing.
        lexer = shlex.shlex(line, posix=False, punctuation_chars=True)
        lexer.wordchars += "$:%{}?=,"
        for word in lexer:
            bare = "".join(word.split('"')[::2])
            assert "$" not in bare or ASSIGNMENT.match(word), word


@pytest.mark.parametrize("script", ALL_SCRIPTS)
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    done = subprocess.run(
        # SC2154: the variables come from the job. SC2248 and SC2250 are about taste, SC2249 asks for a `case` to say
        # that it has no more cases.
        ["shellcheck", "--shell=sh", "--enable=all", "--exclude=SC2154,SC2248,SC2249,SC2250", "-"],
        input=f"set -e\n{script}",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


STUB = """#!/bin/sh
printf '%s\\0' "$@" >>"$ARGUMENTS"
printf '\\n' >>"$ARGUMENTS"
if [ "$2" = look ]; then echo native; fi
if [ "$1" = merge ]; then mkdir -p dist; echo {} >dist/merged.json; fi
"""


@pytest.mark.parametrize("text", [text for text in HOSTILE if "\0" not in text])
def test_what_hostile_values_do_in_a_real_shell(tmp_path: Path, text: str) -> None:
    """Every script of every job, with a program that writes down what it is given."""
    stub = tmp_path / "stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    jobs = [
        job
        for told in (expand(TEXT), expand(TEXT, {"pipeline": "flat"}), child(True), child(False), child(True, BUILDS))
        for job in jobs_of(told).values()
        if "script" in job
    ]
    different = {"\n".join([*job.get("before_script", ()), *job["script"]]): job for job in jobs}
    assert len(different) >= 6
    several = [(*one, builder) for one in different.items() for builder in ("native", "auto")]
    for number, (script, job, builder) in enumerate(several):
        folder = tmp_path / str(number)
        (folder / "dist").mkdir(parents=True)
        (folder / "dist/plan.json").write_text("{}")
        kit = folder / ".py-portable/kit/py-portable"
        kit.parent.mkdir(parents=True)
        (folder / gitlab_jobs.BUILDER).write_text(f"{builder}\n")
        arguments = folder / "arguments"
        # In an image the environment is cleared: the stub there knows its file by itself.
        kit.write_text(STUB.replace('"$ARGUMENTS"', shlex.quote(str(arguments))))
        kit.chmod(0o755)
        given = {variable: text for variable in variables(job) if variable != "PY_PORTABLE_COMMAND"}
        given |= {f"PY_PORTABLE_{word}": text for word in ("IMAGE", "SHARD", "CONFIG", "ALLOW_UNPROVEN", "BASELINE")}
        done = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                **given,
                "PY_PORTABLE_COMMAND": str(stub),
                "ARGUMENTS": str(arguments),
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (script, done.stderr)
        assert not list(tmp_path.rglob("canary*")), script
        for line in arguments.read_bytes().split(b"\0\n") if arguments.exists() else ():
            words = line.decode().split("\0")
            assert words[0] in COMMANDS, words
            for word in words[1:]:
                assert word == text or word in FIXED, words


COMMANDS = {"", "bring", "plan", "build", "portability", "benchmark", "merge", "report", "gitlab", "lock"}
FIXED = {
    "hand-on",
    "--bundle",
    "--sha256",
    gitlab_jobs.KIT,
    "look",
    "take",
    "store-in",
    "--images",
    "store-out",
    "plan",
    "build",
    "--gitlab",
    "--job-prefix",
    "--job-image",
    "--shards",
    "--output",
    "--as-made",
    "--carry",
    "--carry-all",
    "dist/merged.json",
    "dist/plan.json",
    "dist/evidence/parts/*.json",
}


def test_in_an_image_the_kit_sees_nothing_of_the_job_s_environment(tmp_path: Path) -> None:
    kit = tmp_path / ".py-portable/kit/py-portable"
    kit.parent.mkdir(parents=True)
    kit.write_text("#!/bin/sh\nenv >seen\n")
    kit.chmod(0o755)
    secret = "glpat-very-secret"
    environ = {
        "PATH": os.environ["PATH"],
        "CI_JOB_TOKEN": secret,
        "PYTHONPATH": "/x",
        "PY_PORTABLE_IMAGE": "a:1",
    }
    subprocess.run(["sh", "-e", "-c", gitlab_jobs.INSIDE], cwd=tmp_path, env=environ, check=True)
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert secret not in str(seen)
    assert seen.pop("PATH") == gitlab_jobs.PATH
    assert {name for name in seen if not name.startswith("PY_PORTABLE_")} <= {
        "HOME",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }
    assert (seen["PY_PORTABLE_SHARD"], seen["PY_PORTABLE_ENGINE"]) == ("a:1", "native")


@pytest.mark.parametrize(("value", "words"), [("is true", 1), ("true", 1), ("is false", 0), ("", 0), ("false", 0)])
def test_unproven_cells_are_excused_only_where_the_caller_says_so(tmp_path: Path, value: str, words: int) -> None:
    stub = tmp_path / "stub"
    stub.write_text('#!/bin/sh\necho "$@"\n')
    stub.chmod(0o755)
    environ = {
        "PATH": os.environ["PATH"],
        "PY_PORTABLE_COMMAND": str(stub),
        "PY_PORTABLE_ALLOW_UNPROVEN": value,
    }
    done = subprocess.run(
        ["sh", "-c", gitlab_jobs.SHARD], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("--allow-unproven") == words


def test_the_report_ends_as_its_last_command_does_and_where_merging_was_refused(tmp_path: Path) -> None:
    stub = tmp_path / "stub"
    stub.chmod(0o755) if stub.exists() else None
    for merge, makes, report, status in ((0, 1, 0, 0), (1, 1, 1, 1), (2, 0, 0, 1), (1, 1, 0, 0)):
        shutil.rmtree(tmp_path / "dist", ignore_errors=True)
        (tmp_path / "dist").mkdir()
        making = "echo {} >dist/merged.json" if makes else ":"
        stub.write_text(f'#!/bin/sh\nif [ "$1" = merge ]; then {making}; exit {merge}; fi\nexit {report}\n')
        stub.chmod(0o755)
        environ = {"PATH": os.environ["PATH"], "PY_PORTABLE_COMMAND": str(stub)}
        done = subprocess.run(["sh", "-e", "-c", gitlab_jobs.REPORT], cwd=tmp_path, env=environ)
        assert done.returncode == status, (merge, makes, report)
