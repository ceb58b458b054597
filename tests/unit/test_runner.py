"""The runner over a real store: order, lanes, failures, a second run, two threads, an interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.base import process
from py_portable.base.redact import scrub
from py_portable.engines.native import Native
from py_portable.errors import Blocked, ConfigError, MachineError, PortableError, StepError
from py_portable.steps.context import Context, Environment, Result
from py_portable.steps.graph import ImageNode, Step
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import LANES, Report, Runner
from py_portable.store import Store

SECONDS = 20.0
"""Waiting for what must happen ends here; nothing is measured."""


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(store=Store(tmp_path / "store"), engine=Native(), epoch=0, jobs=2)


class Talk:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, name: str, what: str, seconds: float) -> None:
        self.told.append((name, what))


def write(ctx: Context) -> Mapping[str, Any]:
    text = "".join((result.path / "text").read_text() for result in ctx.inputs.values())
    (ctx.out / "text").write_text(f"{text}{ctx.params['text']}")
    return {"length": len(text)}


def fail(ctx: Context) -> None:
    ctx.log.write_text("its last words\n")
    raise StepError(f"{ctx.name} did not work")


def step(name: str, *needs: str, **changes: Any) -> Step:
    return replace(Step(name, write, {"text": name}, needs, lane="io"), **changes)


def run(env: Environment, *steps: Step | ImageNode, wanted: list[str] | None = None) -> tuple[Report, Talk]:
    talk = Talk()
    nodes = {one.name: one for one in steps}
    return Runner(env, talk).run(nodes, wanted or list(nodes)), talk


def text(report: Report, name: str) -> str:
    return (report.results[name].path / "text").read_text()


def test_a_step_sees_what_it_needs_in_the_order_it_names_it(env: Environment) -> None:
    report, talk = run(env, step("c", "b", "a"), step("b", "a"), step("a"))
    assert text(report, "c") == "abac"
    assert report.results["c"].meta == {"length": 3}
    assert [name for name, what in talk.told if what == "done"] == ["a", "b", "c"]
    assert not report.results["c"].cached


def test_what_is_not_wanted_is_not_run(env: Environment) -> None:
    report, _ = run(env, step("a"), step("b", "a"), step("other"), wanted=["b"])
    assert sorted(report.results) == ["a", "b"]


def test_nothing_to_do_is_done(env: Environment) -> None:
    assert Runner(env, Talk()).run({}, []) == Report()


def test_a_second_run_finds_all_made(env: Environment) -> None:
    first, _ = run(env, step("b", "a"), step("a"))
    again, talk = run(env, step("b", "a"), step("a"))
    assert talk.told == [("a", "cached"), ("b", "cached")]
    assert all(result.cached for result in again.results.values())
    assert {n: r.digest for n, r in again.results.items()} == {n: r.digest for n, r in first.results.items()}


def test_a_changed_step_is_made_anew_and_so_is_what_needs_it(env: Environment) -> None:
    run(env, step("a"), step("b", "a"), step("alone"))
    report, _ = run(env, step("a", params={"text": "new"}), step("b", "a"), step("alone"))
    assert {name: result.cached for name, result in report.results.items()} == {
        "a": False,
        "b": False,
        "alone": True,
    }
    assert text(report, "b") == "newb"


def test_a_changed_step_with_the_same_output_changes_nothing_behind_it(env: Environment) -> None:
    run(env, step("a", params={"text": "x", "option": 1}), step("b", "a"))
    report, _ = run(env, step("a", params={"text": "x", "option": 2}), step("b", "a"))
    assert {name: result.cached for name, result in report.results.items()} == {"a": False, "b": True}


@pytest.mark.parametrize(
    ("name", "mirrors", "said"),
    [
        ("Debian:12", "", "'Debian:12' is not the name of an image"),
        ("r.example/x:1", "garbage", "PY_PORTABLE_MIRRORS: garbage: expected PREFIX=REPLACEMENT"),
    ],
)
def test_a_malformed_image_ends_the_run_once_all_else_is_done(
    env: Environment, monkeypatch: pytest.MonkeyPatch, name: str, mirrors: str, said: str
) -> None:
    monkeypatch.setenv("PY_PORTABLE_MIRRORS", mirrors)
    with pytest.raises(ConfigError, match=said):
        run(env, ImageNode("image", name), step("a"))
    report, _ = run(env, step("a"))
    assert report.results["a"].cached


def test_a_failure_stops_only_what_needs_it_and_is_named_as_the_cause(env: Environment) -> None:
    report, talk = run(
        env,
        step("bad", action=fail),
        step("b", "bad"),
        step("c", "b", "good"),
        step("good"),
        step("d", "good"),
    )
    assert sorted(report.results) == ["d", "good"]
    assert sorted(report.failures) == ["b", "bad", "c"]
    for name in ("b", "c"):
        problem = report.failures[name]
        assert isinstance(problem, Blocked)
        assert problem.cause == "bad"
    assert report.failures["bad"].what == "bad did not work"
    assert report.failures["bad"].log is not None
    assert report.failures["bad"].log.read_text() == "its last words\n"
    assert [pair for pair in talk.told if pair[1] == "failed"] == [("bad", "failed")]


def test_a_step_that_failed_is_tried_again_by_the_next_run(env: Environment) -> None:
    run(env, step("a", action=fail))
    report, _ = run(env, step("a"))
    assert text(report, "a") == "a"


def test_an_image_that_nobody_makes_fails_its_steps_and_no_others(env: Environment) -> None:
    image = ImageNode("base", "no-such-thing:1")
    report, _ = run(env, image, step("in it", image="base"), step("alone"))
    assert sorted(report.results) == ["alone"]
    problem = report.failures["in it"]
    assert isinstance(problem, Blocked)
    assert problem.cause == "base"


def test_a_defect_in_a_step_is_not_swallowed(env: Environment) -> None:
    def broken(ctx: Context) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(env, step("a", action=broken))


class Crowd:
    """Counts how many steps are at work at once."""

    def __init__(self, wait_for: int = 1) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.wait_for = wait_for
        self.full = threading.Event()

    def __call__(self, ctx: Context) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.most >= self.wait_for:
                self.full.set()
        self.full.wait(SECONDS)
        time.sleep(0.02)
        with self.lock:
            self.now -= 1


def action(crowd: Callable[[Context], None]) -> Callable[[Context], None]:
    """A key needs a function with a source file."""

    def act(ctx: Context) -> None:
        crowd(ctx)

    return act


@pytest.mark.parametrize("lane", ["cores", "io"])
def test_a_lane_is_as_wide_as_it_says_and_no_wider(env: Environment, lane: Any) -> None:
    crowd = Crowd(LANES[lane])
    act = action(crowd)
    report, _ = run(env, *(step(str(n), action=act, params={"n": n}, lane=lane) for n in range(6)))
    assert len(report.results) == 6
    assert crowd.most == LANES[lane]


def test_steps_that_wait_for_the_cores_do_not_hold_up_those_that_wait_for_the_network(
    env: Environment,
) -> None:
    fetched = threading.Event()
    seen: list[bool] = []

    def compile_one(ctx: Context) -> None:
        seen.append(fetched.wait(SECONDS))

    def fetch(ctx: Context) -> None:
        fetched.set()

    cores = [step(f"c{n}", action=compile_one, params={"n": n}, lane="cores") for n in range(6)]
    run(env, *cores, step("fetch", action=fetch, params={}))
    assert seen == [True] * 6


def test_what_no_artifact_needs_gets_the_processor_time_that_others_leave(env: Environment) -> None:
    def look(ctx: Context) -> dict[str, Any]:
        # Its niceness is set a moment after it has started.
        words = ["sh", "-c", "sleep 0.2; nice; cat /proc/self/autogroup 2>/dev/null || :"]
        return {"said": process.run(words).stdout.text.split()}

    nodes = {name: step(name, action=look, params={"name": name}) for name in ("needed", "beside")}
    report = Runner(env, lambda *told: None).run(nodes, list(nodes), beside=frozenset({"beside"}))
    (own, *group), (later, *later_group) = (report.results[name].meta["said"] for name in ("needed", "beside"))
    assert (int(own), int(later)) == (os.nice(0), 10)
    assert group == later_group == [] or (group[-1], later_group[-1]) == ("0", "10")


def test_two_runs_at_once_make_a_thing_once(env: Environment) -> None:
    made: list[str] = []
    both = threading.Barrier(2)

    def slow(ctx: Context) -> None:
        made.append(ctx.name)
        time.sleep(0.2)

    reports: list[Report] = []

    def go() -> None:
        both.wait(SECONDS)
        reports.append(run(env, step("a", action=slow, params={}))[0])

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert made == ["a"]
    assert sorted(report.results["a"].cached for report in reports) == [False, True]


def test_two_steps_of_one_key_are_made_once(env: Environment) -> None:
    report, _ = run(env, step("a", params={"text": "same"}), step("b", params={"text": "same"}))
    assert report.keys["a"] == report.keys["b"]
    assert report.results["a"].digest == report.results["b"].digest


def test_an_interruption_gets_out_at_once_and_what_waited_is_never_begun(env: Environment) -> None:
    go_on, first = threading.Event(), threading.Event()
    begun: list[str] = []

    def hold(ctx: Context) -> None:
        begun.append(ctx.name)
        first.set()
        go_on.wait(SECONDS)

    def fail_later(ctx: Context) -> None:
        first.wait(SECONDS)
        fail(ctx)

    def tell(name: str, what: str, seconds: float) -> None:
        if what == "failed":
            raise KeyboardInterrupt

    steps = [step(f"s{n}", action=hold, params={"n": n}, lane="cores") for n in range(4)]
    steps.append(step("bad", action=fail_later, params={}))
    nodes = {one.name: one for one in steps}
    before = set(threading.enumerate())
    try:
        with pytest.raises(KeyboardInterrupt):
            Runner(env, tell).run(nodes, nodes)
    finally:
        go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(SECONDS)
    assert 1 <= len(begun) <= LANES["cores"]


SCRIPT = """
import os, sys
from pathlib import Path
from py_portable import cli
from py_portable.base import process
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import Runner
from py_portable.steps.context import Environment
from py_portable.engines.native import Native
from py_portable.store import Store

def slow(ctx):
    process.run(["sh", "-c", "echo $$; echo $$ > pid.new; mv pid.new pid; sleep 1000"], cwd=Path(sys.argv[1]))

@cli.cli.command()
def wait():
    env = Environment(store=Store(Path(sys.argv[1], "store")), engine=Native(), epoch=0, jobs=1)
    nodes = {name: Step(name, slow, {"name": name}) for name in ("a", "b")}
    Runner(env, lambda *told: None).run(nodes, nodes)

cli.main(["wait"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_with_130_and_leaves_nothing_running(tmp_path: Path, number: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script, tmp_path],
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs this in the background lets its children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        end = time.monotonic() + SECONDS
        while child.poll() is None and not (tmp_path / "pid").exists() and time.monotonic() < end:
            time.sleep(0.02)
        pid = int((tmp_path / "pid").read_text())
        child.send_signal(number)
        _, said = child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    assert said.strip() == "Interrupted."
    end = time.monotonic() + SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------------------------------------- context


def context(env: Environment, tmp_path: Path, inputs: dict[NodeId, str]) -> Context:
    results = {node: Result(tmp_path, digest, {}) for node, digest in inputs.items()}
    return Context(env, "x", {}, results, None, tmp_path, tmp_path / "log")


def test_an_input_is_found_by_its_kind(env: Environment, tmp_path: Path) -> None:
    inputs = {NodeId("wheel", "a-1"): "1", NodeId("wheels", "3.13"): "2", NodeId("toolbox", "3.13"): "3"}
    ctx = context(env, tmp_path, inputs)
    assert ctx.need("wheels").digest == "2"
    assert ctx.need("toolbox").digest == "3"
    for name in ("tool", "none"):
        with pytest.raises(KeyError):
            ctx.need(name)


def test_two_inputs_of_one_kind_are_a_defect(env: Environment, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="has 2 inputs of the kind wheel"):
        context(env, tmp_path, {NodeId("wheel", "a"): "1", NodeId("wheel", "b"): "2"}).need("wheel")


def test_values_of_passed_variables_are_taken_out_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"cc -DTOKEN=s3cr3t\xff x\ns3cr3ts3cr3t yes\n")
    scrub(log, ["s3cr3t", "yes", ""])
    assert log.read_bytes() == b"cc -DTOKEN=***\xff x\n****** yes\n"
    scrub(tmp_path / "none", ["s3cr3t"])


def test_secrets_are_in_no_representation_of_an_environment(env: Environment) -> None:
    shown = repr(replace(env, pass_env={"TOKEN": "s3cr3t"}, environ={"PIP_INDEX_URL": "https://u:s3cr3t@host"}))
    assert "s3cr3t" not in shown


def test_a_passed_variable_is_in_no_key(env: Environment) -> None:
    first, _ = run(env, step("a"))
    again, _ = run(replace(env, pass_env={"TOKEN": "other"}), step("a"))
    assert again.results["a"].cached
    assert first.keys == again.keys


def test_failures_are_errors_that_can_be_shown(env: Environment) -> None:
    report, _ = run(env, step("bad", action=fail), step("b", "bad"))
    assert all(isinstance(problem, PortableError) for problem in report.failures.values())
    assert report.failures["b"].render() == "Error: b was not built: bad failed"


def test_what_a_step_observes_decides_whether_it_is_made_anew(env: Environment) -> None:
    seen: list[str] = []
    watching = step("a", observes=lambda env: seen[-1])
    told = []
    for version in ("one", "one", "two", "one"):
        seen.append(version)
        told.append(run(env, watching)[1].told[0])
    assert told == [("a", "started"), ("a", "cached"), ("a", "started"), ("a", "cached")]


def test_a_step_that_cannot_observe_stops_only_what_needs_it(env: Environment) -> None:
    def lacking(env: Environment) -> str:
        raise MachineError("there is none")

    report, _ = run(env, step("a", observes=lacking), step("b", "a"), step("c"))
    assert isinstance(report.failures["a"], MachineError)
    assert isinstance(report.failures["b"], Blocked)
    assert text(report, "c") == "c"
