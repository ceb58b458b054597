"""The action: runs what the inputs ask for, and reports it in the log, the summary, annotations and outputs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable.base import printable
from py_portable.base.redact import hide
from py_portable.ci.github import calls, console, cost_cache, follow
from py_portable.ci.github.calls import Call
from py_portable.ci.github.folders import place
from py_portable.ci.github.inputs import Inputs, read
from py_portable.ci.github.runner_files import RunnerFiles, code, one_line
from py_portable.ci.job_config import Project
from py_portable.errors import ConfigError
from py_portable.evidence import reading
from py_portable.formats import load_config
from py_portable.plan.assemble import image_node
from py_portable.plan.shards import FILE, Sharding, parse

VERDICTS = ("PASS", "FAIL", "UNPROVEN")
_RESULTS = ("evidence.json", "report.md", "junit.xml")
_WRITE_EVIDENCE = {"build", "portability", "benchmark", "merge"}
_CONCLUDE = ("portability", "merge")
"""Commands whose exit status 1 says nothing that the report does not say."""


@dataclass(frozen=True)
class ConfigResult:
    """The result of one config. `failed`: the command that ended it, with its last lines. `fresh`: a lock that this
    job made, because there was none."""

    project: Project
    status: int
    verdict: str
    report: Path | None
    evidence: Path | None
    plan: str | None = None
    failed: Call | None = None
    tail: tuple[str, ...] = ()
    fresh: Path | None = None


def run(environ: Mapping[str, str]) -> int:
    """The exit status, the worst of all configs. Raises ConfigError, MachineError."""
    inputs = read(environ)
    here = Path.cwd()
    found = calls.projects(inputs, here)
    files = RunnerFiles(environ)
    env = follow.environment(environ)
    folder = place(environ, "costs")
    earlier = cost_cache.known(folder) if "plan" in inputs.commands else None
    results = [_project(inputs, project, env, earlier) for project in found]
    kept = results[0].evidence if "merge" in inputs.commands else None
    if kept:
        cost_cache.keep(kept, folder)
    files.outputs({**_outputs(inputs, results), "costs": str(bool(kept)).lower()})
    for result in sorted(results, key=lambda one: not one.status):
        files.summary(summary(result, len(results) > 1))
    return max(result.status for result in results)


def _project(inputs: Inputs, project: Project, env: Mapping[str, str], earlier: Path | None) -> ConfigResult:
    status, plan = 0, None
    fresh_evidence = bool(_WRITE_EVIDENCE & set(inputs.commands))
    if fresh_evidence:
        # What an earlier step or run left there is not a result of this one, however this one ends.
        for name in _RESULTS:
            if (left := project.dist / name).is_file():
                left.unlink()
    lock = Path(project.config).with_suffix(".lock")
    locked = lock.exists()
    failed: Call | None = None
    tail: tuple[str, ...] = ()
    for call in calls.calls(inputs, project, _artifacts(inputs, project), earlier):
        with console.group(f"py-portable {call.command}, {project.config}"):
            ended = follow.ask(call.argv, env) if call.told else follow.follow(call.argv, env)
        if call.told and not ended.status:
            plan = ended.answer.strip()
        if ended.status:
            status, failed, tail = ended.status, call, ended.tail
            why = next((f": {line}" for line in ended.tail if line.startswith("Error: ")), "")
            console.annotate("error", f"{call.command} of {project.config} ended with {ended.status}{why}")
            break
    # The evidence has all cells, also those that were not started because of a failure. What was there before is
    # reported only if a report of it was asked for.
    evidence = project.dist / "evidence.json"
    told_of = fresh_evidence or (calls.reports(inputs) and failed is None)
    evidence_path = evidence if told_of and evidence.is_file() else None
    report = None
    if calls.reports(inputs) and evidence_path:
        report, told = _report(inputs, project, env)
        status = max(status, told)
    verdict = verdict_of(evidence_path, status)
    fresh = lock if lock.exists() and not locked else None
    return ConfigResult(project, status, verdict, report, evidence_path, plan, failed, tail, fresh)


def _report(inputs: Inputs, project: Project, env: Mapping[str, str]) -> tuple[Path | None, int]:
    with console.group(f"py-portable report, {project.config}"):
        ended = follow.ask(calls.report(inputs, project).argv, env)
        lines = ended.answer.split("\n")
        for line in lines:
            if not console.is_annotation(line):
                console.say(line)
    # The runner must obey these lines. In what `report` quotes there are no commands any more.
    for line in lines:
        if console.is_annotation(line):
            print(line, flush=True)
    path = project.dist / "report.md"
    return (path if path.is_file() else None), ended.status


def _artifacts(inputs: Inputs, project: Project) -> tuple[str, ...] | None:
    """The artifacts that a job of the plan builds; None if the inputs name them."""
    if inputs.build is None:
        return None
    groups = calls.builds(load_config(Path(project.config)))
    names = calls.build_names(len(groups))
    if inputs.build not in names:
        raise ConfigError(
            f"{inputs.build} is not one of the plan's builds",
            where=project.config,
            hint="all jobs must use the same commit",
        )
    wanted = groups[names.index(inputs.build)]
    return tuple(name for name in wanted if not inputs.artifacts or name in inputs.artifacts)


def verdict_of(evidence: Path | None, status: int) -> str:
    """One of the words of this program, whatever the evidence says. The evidence is about everything that is known, the
    exit status is about this run."""
    if status:
        return "FAIL"
    if evidence is None:
        return "UNPROVEN"
    try:
        told = reading.read(evidence)["conclusions"]["verdict"]
    except ConfigError:
        return "FAIL"
    except KeyError:
        return "UNPROVEN"
    return told if told in VERDICTS else "FAIL"


def _outputs(inputs: Inputs, results: Sequence[ConfigResult]) -> dict[str, str]:
    worst = max((VERDICTS.index("PASS"), *map(_badness, results)))
    matrices = [result.plan for result in results if result.plan]
    values = {
        "evidence": "\n".join(str(one.evidence) for one in results if one.evidence),
        "dist": "\n".join(str(one.project.dist) for one in results),
        "report": "\n".join(str(one.report) for one in results if one.report),
        "verdict": {0: "PASS", 1: "UNPROVEN", 2: "FAIL"}[worst],
        "matrix": matrices[0] if len(matrices) == 1 else "",
        "builds": "",
    }
    if "plan" in inputs.commands and len(results) == 1:
        groups = calls.builds(load_config(Path(results[0].project.config)))
        rows = [{"build": name} for name in calls.build_names(len(groups))]
        values["builds"] = one_line({"include": rows})
    return values


def _badness(result: ConfigResult) -> int:
    return {"PASS": 0, "UNPROVEN": 1}.get(result.verdict, 2)


def summary(result: ConfigResult, several: bool) -> str:
    """Markdown: the scorecard, or what went wrong before there was one. Foreign text is shown as code."""
    parts = []
    if several:
        parts.append(f"# {code(result.project.config)}: {result.verdict}")
    # The report says what these found; a merge that was refused found nothing.
    told = result.report and result.status == 1 and result.failed and result.failed.command in _CONCLUDE
    if result.failed and not told:
        parts.append(
            f"**{result.failed.command} of {code(result.project.config)} failed** (exit status {result.status})"
        )
        if result.failed.command != "merge":
            again = shlex.join(("py-portable", *_by_hand(result.failed.argv)))
            parts.append(f"again: {code(again)}")
        if result.tail:
            parts.append("\n".join(f"    {hide(printable.line(line))}" for line in result.tail))
    if result.report:
        parts.append(result.report.read_text("utf-8", "replace"))
    elif not result.failed:
        parts.append(f"py-portable: {code(result.project.config)} is done.")
    if result.fresh:
        lock = code(str(result.fresh))
        parts.append(
            f"{lock} is not committed, so this run resolved every name again. Run `py-portable "
            "lock` and commit the file."
        )
    return "\n\n".join(parts)


def _by_hand(argv: Sequence[str]) -> list[str]:
    """The command line to show: without the dist folder of this machine, and without things that only a job has, such
    as a plan and artifacts that other jobs made.
    """
    words = [word for word in argv if word not in ("--as-made", "--carry", "--carry-all")]
    for option in ("--dist", "--shard"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return words


def images(inputs: Inputs, here: Path) -> tuple[str, ...] | None:
    """The nodes of the plan on whose images this job starts something; None for all."""
    if inputs.shard:
        plans = [project.dist / FILE for project in calls.projects(inputs, here)]
        shards = [_sharding(path).shard(inputs.shard) for path in plans]
        return tuple(str(image_node(name)) for shard in shards for name in shard.images)
    return None if {"build", "portability", "benchmark"} & set(inputs.commands) else ()


def _sharding(path: Path) -> Sharding:
    told = reading.read(path).get("plan") if path.is_file() else None
    if told is None:
        raise ConfigError(
            "the plan is missing", where=path.name, hint="look at the log of the job that plans"
        )
    return parse(told, path.name)


def job_name(inputs: Inputs) -> str:
    """A text that distinguishes this job's cache from others."""
    return f"{inputs.config}\n{inputs.build or inputs.shard or ''}"
