"""Skips are compared with tests/skips.toml, the time of each test file is shown, and files are shared between workers.

A skip is a claim that something cannot be tested here. Each has to stand in the list with its reason, else
the run fails; a listed skip that did not happen is fine.

Where pytest-xdist runs several workers, a file is a unit of work: what one needs is made once in the common store,
and a worker that wants the same waits for it there. So the sample's build comes first, beside it what waits for machines
and daemons more than it computes, and of the rest the longest before the shortest: no worker is idle at the end.
"""

from __future__ import annotations

import fnmatch
import os
import resource
import tomllib
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

SKIPS = Path(__file__).parent / "skips.toml"
SECONDS = Path(__file__).parent / "seconds.toml"
SHOWN_SECONDS = 1.0
LONG_SECONDS = 15.0
"""Tests that take so long are shown by themselves, too."""
SLOW_SECONDS = 50.0
COMPUTED = "computed"
NIGHTLY = "PY_PORTABLE_NIGHTLY" in os.environ
"""Whether what is marked `nightly` runs, too."""
USUAL_SECONDS = 10.0
"""Of a file that is not in the table."""
SAMPLE = "tests/integration/test_as_made.py"
"""Builds the sample app, which many others then find in the store."""
BUILT = {"main_job", "manylinux_layout", "parts"}
"""Fixtures that take minutes in an empty store."""
ONE_AT_A_TIME = {
    # They make users of this machine, or use podman, whose locks are the machine's.
    "users": (
        "tests/integration/test_containers.py",
        "tests/integration/test_engines.py",
        "tests/integration/test_github_action.py",
        "tests/integration/test_gitlab.py",
        "tests/integration/test_install_root.py",
        "tests/integration/test_layers.py",
        "tests/integration/test_ordinary_user.py",
        "tests/promises/test_a_build_is_not_root_of_the_machine.py",
        "tests/promises/test_a_cell_has_limits_of_its_own.py",
        "tests/promises/test_an_image_shows_nothing_in_the_artifacts_place.py",
        "tests/promises/test_cells_and_builds_have_a_system_call_filter.py",
        "tests/promises/test_cells_share_no_keys.py",
        "tests/promises/test_outputs_hold_no_setuid_files.py",
    ),
    # Each starts a daemon of its own; more at a time would only wait for the disk.
    "daemons": (
        "tests/integration/test_derive_managers.py",
        "tests/integration/test_gitlab_native.py",
        "tests/integration/test_publish.py",
        "tests/integration/test_registry.py",
    ),
    "stock machines": (
        "tests/integration/test_stock_github.py",
        "tests/integration/test_stock_laptops.py",
        "tests/integration/test_stock_managers.py",
        "tests/integration/test_stock_machines.py",
    ),
}


# How long an example takes says how busy the machine is.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@dataclass(frozen=True)
class Allowed:
    """`test` is a pattern for node ids, `reason` for the text given to pytest.skip; `why` is for people."""

    test: str
    reason: str
    why: str


def allowed(path: Path) -> tuple[Allowed, ...]:
    """The list; a KeyError or TypeError where an entry is not complete."""
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("skip", [])
    return tuple(Allowed(**entry) for entry in entries)


def unlisted(skips: Iterable[tuple[str, str]], listed: tuple[Allowed, ...]) -> list[tuple[str, str]]:
    """The (node id, reason) pairs that no entry of the list covers."""
    return [
        (node, reason)
        for node, reason in skips
        if not any(
            fnmatch.fnmatchcase(node, entry.test) and fnmatch.fnmatchcase(reason, entry.reason) for entry in listed
        )
    ]


class Skips:
    """Collects what was skipped and how long each file took."""

    def __init__(self) -> None:
        self.listed = allowed(SKIPS)
        self.seen: list[tuple[str, str]] = []
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.computed: defaultdict[str, float] = defaultdict(float)
        self.long: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        self._before = _computed()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        self.seconds[file] += report.duration
        self.computed[file] += getattr(report, COMPUTED, 0.0)
        seconds, computed = self.long[report.nodeid]
        self.long[report.nodeid] = seconds + report.duration, computed + getattr(report, COMPUTED, 0.0)
        self._note(report)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        before, self._before = self._before, _computed()
        # The reports of a worker reach the one that prints the table with all that they hold.
        setattr(report, COMPUTED, self._before - before)
        return report

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        # An expected failure is reported as a skip too; it says so in `wasxfail`.
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            self.seen.append((report.nodeid, str(report.longrepr[2]).removeprefix("Skipped: ")))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if unlisted(self.seen, self.listed) and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        slow = sorted(self.seconds.items(), key=lambda item: -item[1])
        slow = [(name, seconds) for name, seconds in slow if seconds >= SHOWN_SECONDS]
        if slow:
            terminalreporter.section("seconds by file, and what of them was computed by processes that it waited for")
            for name, seconds in slow:
                terminalreporter.line(f"{seconds:8.1f} {self.computed[name]:8.1f}  {name}")
            terminalreporter.line(f"{sum(self.seconds.values()):8.1f} {sum(self.computed.values()):8.1f}  all files")
        if long := [(node, *took) for node, took in self.long.items() if took[0] >= LONG_SECONDS]:
            terminalreporter.section(f"tests of {LONG_SECONDS:.0f} seconds and more, with what they prepared")
            for node, seconds, computed in sorted(long, key=lambda item: -item[2]):
                terminalreporter.line(f"{seconds:8.1f} {computed:8.1f}  {node}")
        for node, reason in unlisted(self.seen, self.listed):
            terminalreporter.line(f"Error: skipped, and not in {SKIPS.name}: {node}: {reason}", red=True)


def _computed() -> float:
    """Seconds of processor time of this process and of the children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@pytest.fixture(autouse=True)
def the_environment_stays_as_it_was() -> Iterator[None]:
    """What a test leaves in it, such as a store of its own, every later test of the same worker would get."""
    before = _environment()
    yield
    after = _environment()
    for name in before.keys() | after.keys():
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    assert after == before


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def seconds() -> dict[str, float]:
    """What is known of the time that files of tests take."""
    return tomllib.loads(SECONDS.read_text("utf-8")) if SECONDS.is_file() else {}


def ordered(files: Mapping[str, bool], known: Mapping[str, float]) -> dict[str, int]:
    """File -> its place in a run (pure). `files`: whether it needs what is built for many.

    The sample first; then the longest group; in a group the longest, but last what needs what is being built meanwhile.
    """
    total: defaultdict[str, float] = defaultdict(float)
    for file in files:
        total[group(file)] += known.get(file, USUAL_SECONDS)

    def key(file: str) -> tuple[bool, float, str, bool, float, str]:
        own = known.get(file, USUAL_SECONDS)
        return file != SAMPLE, -total[group(file)], group(file), files[file], -own, file

    return {file: at for at, file in enumerate(sorted(files, key=key))}


def group(file: str) -> str:
    """Tests of one group are never run at the same time: those of a file, and of files that share the machine."""
    return next((group for group, files in ONE_AT_A_TIME.items() if file in files), file)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known, files = seconds(), defaultdict[str, bool](bool)
    for item in items:
        if item.get_closest_marker("nightly") and not NIGHTLY:
            item.add_marker(pytest.mark.skip(reason="of the session nightly"))
        file, built = _file(item), bool(BUILT & set(getattr(item, "fixturenames", ())))
        files[file] |= built
        if built or known.get(file, 0) >= SLOW_SECONDS:
            item.add_marker("slow")
    places = ordered(files, known)
    items.sort(key=lambda item: places[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


class Groups(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """The scheduler of --dist loadgroup renames tests, which pytest 9 does not let it: it would group nothing."""
    return Groups(config, log)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Skips(), "skips")
