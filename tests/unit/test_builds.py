"""What the canary of builds observed, held against the promises; and which ids a build is given. Nothing is started."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from errno import EACCES, EINVAL, ENOENT, ENOTCONN, EPERM, EROFS
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.capture import Captured
from py_portable.engines import builds, ids, own_ids
from py_portable.engines.bubblewrap import Bubblewrap
from py_portable.engines.chroot import Chroot
from py_portable.engines.engine import Bind, Ended, EngineInfo, Job
from py_portable.engines.own_ids import Choice
from py_portable.engines.static_helpers import lent, stored
from py_portable.errors import MachineError
from py_portable.store import Store

OWN = Choice(Path("/helpers/own-ids"), own_ids.LOWEST)
NOT_OWN = Choice(Path("/helpers/own-ids"), reason="the store lies on a file system without them")
TRIES = (
    *("make_loop", "make_disk", "make_mem", "mount_tmpfs", "mount_proc", "mount_sysfs", "bind_root", "open_tree"),
    *("open_fs", "umount_proc_sys", "umount_proc", "remount_root", "remount_proc_sys", "chroot", "pivot_root"),
    *("open_by_handle", "new_users", "clone_users", "new_mounts", "new_net", "new_pids", "new_cgroup", "setns_of_1"),
    *("load_module", "load_module_file", "remove_module", "load_kernel", "swap", "account", "bpf", "perf"),
    *("io_uring", "page_faults", "vsock", "packets", "raw", "own_keyring", "callers_keyring", "ask_for_key"),
    *("trace_1", "trace_supervisor", "memory_of_1", "memory_of_supervisor", "hidden", "route"),
)
GOOD: dict[str, Any] = {
    "CapInh": "0" * 16, "CapPrm": "00000000800001fb", "CapEff": "00000000800001fb", "CapAmb": "0" * 16,
    "NoNewPrivs": "1", "Seccomp": "2", "uid_map": f"         0 {own_ids.LOWEST}      65536\n",
    "write": {"/proc/sys/kernel/core_pattern": EROFS, "/proc/sysrq-trigger": ENOENT},
    "read": {"/proc/kcore": EACCES}, "list": {"/proc/acpi": ENOENT},
    "open": {"/proc/kmsg": EPERM, "/dev/kmsg": ENOENT, "/dev/mem": ENOENT},
    "disks": 0, "processes": 2, "interfaces": ["lo"], "tries": dict.fromkeys(TRIES, EPERM),
}  # fmt: skip


def broken(change: Callable[[dict[str, Any]], object], **options: Any) -> tuple[str, ...]:
    observed = copy.deepcopy(GOOD)
    change(observed)
    return builds.judge(observed, "bubblewrap", OWN, **{"network": False, **options}).broken


def test_a_build_that_is_held_breaks_nothing() -> None:
    assert builds.judge(GOOD, "bubblewrap", OWN, network=False) == builds.BuildPromises({}, ())


@pytest.mark.parametrize("name", TRIES)
def test_every_try_that_succeeds_breaks_a_promise(name: str) -> None:
    assert broken(lambda o: o["tries"].update({name: 0}))
    assert broken(lambda o: o["tries"].pop(name)), "what was not tried is not kept"


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o["write"].update({"/proc/sys/kernel/core_pattern": 0}),
        lambda o: o["read"].update({"/proc/kcore": 0}),
        lambda o: o["open"].update({"/dev/kmsg": 0}),
        lambda o: o["list"].update({"/proc/acpi": 0}),
        lambda o: o.update(CapEff="00000000802001fb"),
        lambda o: o.update(NoNewPrivs="0"),
        lambda o: o.update(Seccomp="0"),
        lambda o: o.update(disks=1),
        lambda o: o.update(processes=40),
        lambda o: o.update(processes=0),
        lambda o: o.update(interfaces=["lo", "eth0"]),
        lambda o: o.update(uid_map="         0          0 4294967295\n"),
        lambda o: o.update(write={}),
        lambda o: o.update(tries=None),
    ],
)  # fmt: skip
def test_every_other_observation_can_break_one(change: Callable[[dict[str, Any]], object]) -> None:
    assert broken(change)


def test_a_privileged_call_that_fails_for_another_reason_was_not_refused() -> None:
    for name in ("load_module", "load_kernel", "swap", "account", "chroot"):
        assert broken(lambda o, name=name: o["tries"].update({name: EINVAL})), name


def test_with_the_network_only_the_network_is_open() -> None:
    def online(observed: dict[str, Any]) -> None:
        observed["interfaces"] = ["lo", "eth0"]
        observed["tries"]["route"] = 0

    assert broken(online, network=True) == ()
    assert broken(online) == ("there is no network but loopback",)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.none() | st.integers() | st.text() | st.lists(st.none())))
def test_nonsense_keeps_no_promise_and_raises_nothing(nonsense: dict[str, Any]) -> None:
    verdict = builds.judge({**GOOD, **nonsense}, "bubblewrap", OWN, network=False)
    assert isinstance(verdict.broken, tuple)
    assert builds.judge({}, "bubblewrap", OWN, network=False).broken


def test_who_is_excused_from_what_and_why() -> None:
    root = {**GOOD, "uid_map": "         0          0 4294967295\n"}
    assert builds.judge(root, "chroot", OWN, network=False).broken == ("its root is not the machine's root",)
    for engine, own, reason in (
        ("chroot", NOT_OWN, NOT_OWN.reason),
        ("docker", OWN, "the daemon"),
        ("podman", OWN, "the daemon"),
    ):
        verdict = builds.judge(root, engine, own, network=False)
        assert verdict.broken == () and reason in verdict.lacks["own-ids"] and len(verdict.lacks) == 1
    # A daemon in a namespace of its own lacks nothing, and is excused from nothing.
    assert builds.judge(GOOD, "docker", OWN, network=False) == builds.BuildPromises({}, ())
    native = builds.judge({}, "native", NOT_OWN, network=False)
    assert native.broken == () and set(native.lacks) == {p.aspect for p in builds.promises(network=False)}


# --- before a build


class Engine:
    """Prints an observation where the canary is started, and notes what was run."""

    name = "docker"

    def __init__(self, observed: str, status: int = 0) -> None:
        self.observed, self.status = observed, status
        self.ran: list[Job] = []

    def probe(self) -> EngineInfo:
        raise NotImplementedError

    def argv(self, job: Job) -> tuple[str, ...]:
        return job.argv

    def run(self, job: Job, **_: Any) -> Ended:
        self.ran.append(job)
        said = self.observed.encode()
        return Ended(
            job.argv, self.status, False, 0.1, Captured(said, b"", len(said)), Captured(b"last\nword\n", b"", 10)
        )


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "_held", {})
    monkeypatch.setattr(own_ids, "_refused", {})


def build(tmp_path: Path, **more: Any) -> Job:
    (tmp_path / "out").mkdir(exist_ok=True)
    return Job("build", tmp_path, ("make",), binds=(Bind(tmp_path / "out", "/out", True),), helpers=tmp_path, **more)


def test_the_canary_is_started_once_for_each_kind(tmp_path: Path) -> None:
    engine = Engine(json.dumps({"build_canary": 1, **GOOD}))
    (tmp_path / f"{builds._PLACE}{1 << 30}-left").mkdir()  # of a caller that was killed
    for _ in range(3):
        builds.hold(engine, build(tmp_path, env={"TOKEN": "secret"}), None)
    builds.hold(engine, build(tmp_path, network=True), None)
    assert [job.network for job in engine.ran] == [False, True]
    canary = engine.ran[0]
    assert canary.argv[0] == "/run/py-portable/build-canary" and canary.env == {}, "it gets nothing of the job's"
    assert [bind.target for bind in canary.binds] == ["/run/py-portable-canary"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"], "and leaves nothing"
    assert builds.told() == [
        {"engine": "docker", "own_ids": False, "network": network, "lacks": []} for network in (False, True)
    ]
    builds.hold(engine, Job("proof", tmp_path, ("/x",), helpers=tmp_path), None)
    assert len(engine.ran) == 2, "a cell has a canary of its own"


def test_a_build_does_not_start_where_a_promise_is_broken(tmp_path: Path) -> None:
    engine = Engine(json.dumps({"build_canary": 1, **GOOD, "NoNewPrivs": "0"}))
    seen = []
    for _ in range(2):
        with pytest.raises(
            MachineError,
            match=r"so no build is started\. These promises are not kept: a setuid program gives it nothing",
        ):
            try:
                builds.hold(engine, build(tmp_path), None)
            except MachineError as problem:
                seen.append(problem)
                raise
    assert len(engine.ran) == 1 and builds.told() == []
    assert seen[0] is not seen[1], "the log that one step's error names is not another step's"


@pytest.mark.parametrize("said", ["", "{", "[]", '{"build_canary": 2}'])
def test_nor_where_the_canary_says_nothing_of_sense(said: str, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="the canary of builds did not start: word"):
        builds.hold(Engine(said), build(tmp_path), None)


def test_nor_without_the_helpers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the compiled helpers"):
        builds.hold(Engine(""), Job("build", tmp_path, ("make",)), None)


# --- ids


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "detect", lambda: ids.Ids("real"))
    monkeypatch.setattr(own_ids, "_answers", {})


def test_root_gives_a_build_ids_that_nobody_has(real: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own_ids, "_asked", lambda *_: "")
    monkeypatch.setattr(own_ids, "_outside", lambda *_: "")
    chosen = own_ids.choose(build(tmp_path), "bubblewrap", Path("/helpers"))
    assert chosen.first is not None and chosen.first >= own_ids.LOWEST
    assert chosen.start("-", "/")[:4] == ("/helpers/own-ids", "start", str(chosen.first), "65536")
    assert own_ids.choose(build(tmp_path), "docker", Path("/helpers")).first is None
    assert own_ids.choose(Job("proof", tmp_path, ("/x",)), "bubblewrap", Path("/helpers")).first is None
    monkeypatch.setattr(ids, "detect", lambda: ids.Ids("range"))
    assert own_ids.choose(build(tmp_path), "bubblewrap", Path("/helpers")).reason == own_ids.ORDINARY


def test_what_is_in_the_way_is_said(real: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own_ids, "_asked", lambda _program, path, _first: f"{path} cannot")
    monkeypatch.setattr(own_ids, "_outside", lambda *_: "")
    assert own_ids.choose(build(tmp_path), "chroot", Path("/helpers")).reason == f"{tmp_path} cannot"
    own_ids.refuse("chroot", Path("/helpers"), "it failed")
    assert own_ids.choose(build(tmp_path), "chroot", Path("/helpers")).reason == "it failed"
    assert own_ids.choose(build(tmp_path), "chroot", Path("/helpers")).told == ("0", "0")


def test_the_range_lies_above_everything_that_the_machine_gives_away() -> None:
    assert own_ids.LOWEST > 1879048191, "what systemd gives to containers ends there"
    whole = "         0          0 4294967295\n"
    assert own_ids._outside(whole, own_ids.LOWEST) == ""
    for mapped in ("         0     100000      65536\n", "", "0 0 1000\n"):
        assert "not available here" in own_ids._outside(mapped, own_ids.LOWEST)
    assert "not available here" in own_ids._outside(whole, 0xFFFF_FFF0)


def test_an_errno_that_is_none_counts_as_refused_only_where_it_is_one() -> None:
    assert broken(lambda o: o["tries"].update({"vsock": ENOTCONN})) == ()
    assert broken(lambda o: o["tries"].update({"bpf": "13"})) != ()


def test_a_helper_of_another_machine_is_never_started_outside(
    real: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A dist folder that is handed on brings its own; what is started here as root must not come from there."""

    def started(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(own_ids, "_asked", started)
    monkeypatch.setattr(lent, "_lent", set())
    monkeypatch.setattr(stored, "helpers", lambda _: (_ for _ in ()).throw(MachineError("no compiler")))
    folder = stored.Helpers(Store(tmp_path / "store"), tmp_path)()
    assert own_ids.choose(build(tmp_path), "bubblewrap", folder).reason == "its helper was compiled on another machine"
    with pytest.raises(MachineError, match="compiled here: they are started outside of it"):
        Chroot(folder).argv(build(tmp_path))
    words = Bubblewrap(folder).argv(build(tmp_path))
    assert "start" not in words
