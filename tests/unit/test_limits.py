"""Control groups: where one can be made, from what the kernel says of mounts and groups, and that none is left."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.engines import limits, owner
from py_portable.engines.limits import Cgroup, CgroupRoot, NoGroup

HYBRID = """\
21 1 0:20 / /proc rw,nosuid - proc proc rw
30 21 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 21 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
32 21 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def unified(folder: Path, *, root: str = "/") -> str:
    point = str(folder).replace(" ", "\\040")
    return f"40 21 0:30 {root} {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def own(folder: Path, *rest: Any) -> CgroupRoot:
    return CgroupRoot(folder, folder, *rest)


def test_version_1_is_below_the_callers_own_groups() -> None:
    groups = "8:pids:/\n4:memory:/user/a b\n0::/init.scope\n"
    assert list(limits._candidates(HYBRID, groups)) == [
        own(Path("/sys/fs/cgroup/memory/user/a b"), 1, ("memory",)),
        own(Path("/sys/fs/cgroup/pids"), 1, ("processes",)),
    ]


def test_a_container_sees_its_part_of_a_mount() -> None:
    mounts = HYBRID.replace("0:26 /", "0:26 /docker/abc")
    assert [place.folder.name for place in limits._candidates(mounts, "4:memory:/docker/abc/job\n")] == ["job"]
    assert list(limits._candidates(mounts, "4:memory:/elsewhere\n")) == []
    assert list(limits._candidates(mounts, "4:memory:/../../other\n")) == []


def test_version_2_is_in_what_hands_its_controllers_on(tmp_path: Path) -> None:
    top = tmp_path / "c group"
    scope = top / "user.slice" / "app.slice" / "x.scope"
    scope.mkdir(parents=True)
    for folder, handed_on in (
        (scope, ""),
        (scope.parent, "memory pids"),
        (top, "cpu io memory pids"),
        (tmp_path, "pids"),
    ):
        (folder / "cgroup.subtree_control").write_text(handed_on + "\n")
    (top / "user.slice" / "cgroup.subtree_control").write_text("cpu pids\n")
    assert list(limits._candidates(unified(top), "0::/user.slice/app.slice/x.scope\n")) == [
        CgroupRoot(scope, scope.parent, 2, ("memory", "processes")),
        CgroupRoot(scope, top / "user.slice", 2, ("processes",)),
        CgroupRoot(scope, top, 2, ("memory", "processes")),
    ], "nearest first, and not beyond the mount"


@given(st.text(st.sampled_from("0: /-.\\47ab\n,mepids")), st.text(st.sampled_from("0: /.ab\n,memory")))
def test_no_table_of_the_kernel_is_a_traceback(mounts: str, groups: str) -> None:
    list(limits._candidates(mounts, groups))


def test_what_cannot_be_written_gives_no_limit(tmp_path: Path) -> None:
    # An ordinary folder: a file that is no file of a control group starts nothing in one.
    place = CgroupRoot(tmp_path, tmp_path / "none", 2, ("memory",))
    assert limits._works(place) is False


def test_the_words_for_cell_run(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Cgroup(fds=(7, 9), aspects=("memory", "processes"))
    assert limits.bounds(both, False) == (("memory", "processes"), ("--join", "7", "--join", "9"))
    for release, own_ids, aspects in (("6.1.0-9", True, ("processes",)), ("6.1.0-9", False, ()), ("5.10.0", True, ())):
        monkeypatch.setattr(os, "uname", lambda release=release: os.uname_result(("", "", release, "", "")))
        assert limits.bounds(Cgroup(), own_ids) == (aspects, ("--processes", "8192"))
        memory, words = limits.bounds(Cgroup(fds=(7,), aspects=("memory",)), own_ids)
        assert memory == ("memory", *aspects) and words == ("--join", "7", "--processes", "8192")


@pytest.mark.parametrize(
    ("text", "killed"), [("oom 3\noom_kill 0\n", False), ("low 0\noom_kill 12\n", True), ("", False)]
)
def test_whether_the_kernel_ended_something(tmp_path: Path, text: str, killed: bool) -> None:
    (tmp_path / "memory.events").write_text(text)
    assert Cgroup((tmp_path,)).killed() is killed


@pytest.fixture
def real() -> Iterator[tuple[CgroupRoot, ...]]:
    if not limits.places():
        pytest.skip("no control group can be made here")
    yield limits.places()
    assert groups() == []


def groups() -> list[Path]:
    """Of this process."""
    return [
        path
        for place in limits.places()
        for path in place.folder.glob(f"py-portable.*{os.getpid()}:*")
        if path.is_dir()
    ]


def test_a_group_is_limited_and_gone_afterwards(real: tuple[CgroupRoot, ...]) -> None:
    with limits.group() as group:
        assert sorted(groups()) == sorted(group.folders)
        for folder in group.folders:
            for name, value in (("memory.limit_in_bytes", 3 << 30), ("memory.max", 3 << 30), ("pids.max", 4096)):
                if (folder / name).exists():
                    assert (folder / name).read_text() == f"{value}\n"


def test_the_group_of_a_dead_caller_is_removed(real: tuple[CgroupRoot, ...]) -> None:
    for place in real:
        mine = owner.mine().replace("/", "_")
        dead = re.sub(r":\d+:\d+$", ":1:1", mine)  # init did not start in the first hundredth of a second
        left, living = (place.folder / f"py-portable.{who}.00000000" for who in (dead, mine))
        left.mkdir()
        living.mkdir()
        with subprocess.Popen(["sh", "-c", f"echo 0 >'{left}/cgroup.procs' && exec sleep 1000"]) as sleeper:
            while not (left / "cgroup.procs").read_text():
                assert sleeper.poll() is None
            limits._sweep(place.folder)
            assert sleeper.wait(10) == -9
        limits._sweep(place.folder)
        assert not left.exists() and living.exists()
        living.rmdir()


def test_a_machine_that_gives_no_more_groups(real: tuple[CgroupRoot, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    gone = CgroupRoot(Path("/sys/fs/cgroup/none"), Path("/sys/fs/cgroup/none/none"), 1, ("memory",))
    monkeypatch.setattr(limits, "places", lambda: (gone,))
    with pytest.raises(NoGroup, match="no control group can be made"), limits.group():
        raise AssertionError("nothing may start")
    monkeypatch.undo()
