"""The pure parts of the engines: command lines, ids, paths inside an image, causes and cures."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.engines import ids, own_ids, stage, trial
from py_portable.engines.bubblewrap import Bubblewrap
from py_portable.engines.chroot import Chroot
from py_portable.engines.diagnose import Facts, cure
from py_portable.engines.engine import Bind, Engine, EngineInfo, Job, isolation
from py_portable.engines.native import Native
from py_portable.engines.select import AUTO, ENGINES, every, reproduce, select
from py_portable.errors import ConfigError, MachineError
from py_portable.prove.conditions import PLAIN, READ_ONLY
from py_portable.prove.start import job, start

RANGE = ids.Ids("range")
SINGLE = ids.Ids("single", "no range", "make one")


@pytest.fixture
def proof(tmp_path: Path) -> Job:
    return job(tmp_path, PLAIN, ["/app/x", "a b"], [Bind(Path("/made here"), "/app")], Path("/helpers"), account=())


@pytest.fixture
def who(monkeypatch: pytest.MonkeyPatch) -> list[ids.Ids]:
    """Whom the engines believe to be called by."""
    current = [ids.Ids("real")]
    monkeypatch.setattr(ids, "detect", lambda: current[0])
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    # What other tests of this worker found out about the file systems of this machine, with real helpers.
    monkeypatch.setattr(own_ids, "_answers", {})
    return current


def has(words: tuple[str, ...], *part: str) -> bool:
    return any(words[i : i + len(part)] == part for i in range(len(words)))


def test_bubblewrap_as_root_makes_no_user_namespace(proof: Job, who: list[ids.Ids]) -> None:
    words = Bubblewrap().argv(proof)
    assert words[:4] == ("/usr/bin/setpriv", "--pdeathsig", "KILL", "--")
    assert "--user" not in words and "--unshare-user" not in words
    for flag in ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--clearenv"):
        assert flag in words
    kept = {words[i + 1] for i, word in enumerate(words) if word == "--cap-add"}
    assert has(words, "--cap-drop", "ALL")
    assert kept == {"CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL"}
    assert has(words, "--dir", "/run", "--ro-bind", "/helpers", "/run/py-portable")
    assert has(words, "--ro-bind", "/made here", "/app")
    cell_run = ("/run/py-portable/cell-run", "--confine", "proof", "--uid", "10001", "--gid", "10001")
    assert words[-11:] == ("--", *cell_run, "--", "/app/x", "a b")
    assert str(proof.root) in words and not has(words, "--bind", str(proof.root))


def test_bubblewrap_with_a_range_and_with_one_id(proof: Job, who: list[ids.Ids]) -> None:
    who[0] = RANGE
    words = Bubblewrap().argv(proof)
    assert has(words, "--user", "--map-root-user", "--map-users=auto", "--map-groups=auto", "--mount")
    assert "--unshare-user" not in words
    who[0] = SINGLE
    words = Bubblewrap().argv(proof)
    assert has(words, "--unshare-user", "--uid", "10001", "--gid", "10001")
    assert "--cap-add" not in words


def test_a_read_only_root_is_closed_after_the_mount_points_are_made(who: list[ids.Ids], tmp_path: Path) -> None:
    words = Bubblewrap().argv(job(tmp_path, READ_ONLY, ["/x"], [], Path("/helpers"), account=()))
    assert words.index("--remount-ro") > words.index("--ro-bind") > words.index("--proc")
    assert has(words, "--perms", "1777", "--size", str(64 << 20), "--tmpfs", "/tmp")


def test_a_build_has_the_network_and_a_tmp_only_when_asked(who: list[ids.Ids], tmp_path: Path) -> None:
    build = Job("build", tmp_path, ("make",), env={"A": "b"}, helpers=Path("/helpers"))
    words = Bubblewrap().argv(build)
    assert "--unshare-net" in words and has(words, "--perms", "1777", "--tmpfs", "/tmp")
    assert has(words, "--setenv", "A", "b")
    words = Bubblewrap().argv(replace(build, network=True, binds=(Bind(tmp_path, "/tmp", True),)))
    assert "--unshare-net" not in words and not has(words, "--tmpfs", "/tmp")
    assert has(words, "--bind", str(tmp_path), "/tmp")
    if Path("/etc/resolv.conf").exists():
        assert has(words, "--ro-bind", str(Path("/etc/resolv.conf").resolve()), "/etc/resolv.conf")
    kept = {words[i + 1] for i, word in enumerate(words) if word == "--cap-add"}
    assert "CAP_CHOWN" in kept
    assert not kept & {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_CHROOT", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"}


def test_chroot_hands_everything_over_as_arguments(proof: Job, who: list[ids.Ids]) -> None:
    words = Chroot().argv(proof)
    assert has(words, "--pid", "--fork", "--kill-child=KILL", "--ipc", "--uts", "--net")
    assert has(words, "cell", "own", "", "rw", "/helpers/own-ids", "ro", "sys")
    assert has(words, "--", "/made here", "/app", "ro")
    assert has(words, "/usr/bin/env", "-i", f"PATH={PLAIN.env['PATH']}", "HOME=/home/cell")
    # The machine's root is left, not only hidden.
    assert has(words, "HOME=/home/cell", "/helpers/own-ids", "start", "0", "0", "/sys/merged", "/")


def test_native_names_things_where_they_are(proof: Job) -> None:
    words = Native().argv(replace(proof, root=Path("/")))
    assert words[:4] == ("env", "-i", "-C", "/")
    assert "/helpers/cell-run" in words and "/made here/x" in words
    with pytest.raises(MachineError, match="native cannot run a command in"):
        Native().run(proof, timeout=1)


@pytest.mark.parametrize("name", ENGINES)
def test_the_line_to_reproduce_is_one_line(name: str, proof: Job, who: list[ids.Ids]) -> None:
    engine: Engine = ENGINES[name](None)
    line = reproduce(engine, replace(proof, env={"A": "two words; rm -rf $HOME"}))
    assert "\n" not in line
    assert tuple(shlex.split(line)) == engine.argv(replace(proof, env={"A": "two words; rm -rf $HOME"}))


def test_the_app_is_named_by_an_absolute_path(tmp_path: Path) -> None:
    for argv in ([], ["x"], [""]):
        with pytest.raises(ValueError, match="not an absolute path inside the image"):
            job(tmp_path, PLAIN, argv, [], tmp_path, account=())


def test_the_registry() -> None:
    assert [engine.name for engine in every()] == list(ENGINES)
    assert AUTO == ("bubblewrap", "docker", "podman", "chroot"), "native isolates nothing and has to be asked for"
    with pytest.raises(ConfigError, match="there is no engine named warp") as caught:
        select("warp")
    assert caught.value.hint == "one of: auto, bubblewrap, docker, podman, chroot, native"


@dataclass(frozen=True)
class Candidate:
    """An engine as far as it is asked what it is."""

    name: str
    lacks: tuple[str, ...] | None

    def probe(self) -> EngineInfo:
        if self.lacks is None:
            raise MachineError(f"{self.name} is not installed")
        return EngineInfo(self.name, "1", isolation(self.lacks), self.lacks)


@pytest.mark.parametrize(
    ("found", "taken", "why"),
    [
        ({"bubblewrap": (), "docker": ()}, "bubblewrap", ""),
        ({"docker": ()}, "docker", "; not used: bubblewrap is not installed"),
        ({"bubblewrap": ("ids",), "docker": ()}, "docker", "; not used: bubblewrap: it cannot isolate ids"),
        ({"bubblewrap": ("memory",), "docker": ()}, "bubblewrap", ""),
        ({"bubblewrap": ("ids",), "chroot": ("ids",)}, "bubblewrap", None),
    ],
)
def test_auto_takes_the_first_that_isolates_fully(
    found: dict[str, tuple[str, ...]], taken: str, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in AUTO:
        monkeypatch.setitem(ENGINES, name, lambda helpers, name=name: Candidate(name, found.get(name)))
    _, info, reason = select()
    assert info.name == taken
    assert why is None or reason == f"{taken} is the first one whose canary passed{why}"


@pytest.mark.parametrize(
    ("target", "real"),
    [
        ("/plain/file", "/plain/file"),
        ("/bin/sh", "/usr/bin/sh"),
        ("/out/x", "/etc/x"),
        ("/up/x", "/etc/x"),
        ("/chain/x", "/usr/bin/x"),
        ("/a/../../../b", "/b"),
        ("/tmp/x", "/tmp/x"),
        ("/home/cell/x", "/home/cell/x"),
    ],
)
def test_no_path_leaves_the_image(tmp_path: Path, target: str, real: str) -> None:
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    for name, link in {
        "bin": "usr/bin", "out": "/etc", "up": "../../../../etc", "chain": "bin", "tmp": "/etc", "home": "/etc",
        "loop": "loop",
    }.items():  # fmt: skip
        (tmp_path / name).symlink_to(link)
    assert stage.inside(tmp_path, target, "/home/cell") == real
    with pytest.raises(MachineError, match="too many levels"):
        stage.inside(tmp_path, "/loop/x")


@pytest.mark.parametrize("engine", [Bubblewrap, Chroot])
def test_an_image_that_leads_in_a_circle_costs_its_own_cells_only(tmp_path: Path, engine: type[Any]) -> None:
    (tmp_path / "opt").symlink_to("opt")
    bind = Bind(tmp_path, "/opt/app")
    started = start(engine(tmp_path), tmp_path, PLAIN, ("/opt/app/x",), (bind,), tmp_path, 5, account=())
    assert started.record is None
    said = "too many levels of symbolic links at /opt/app in the image"
    assert started.trouble == f"cell-run wrote no record; {engine(tmp_path).name} said: {said}"
    # The install stage asks the engine itself.
    build = Job("build", tmp_path, ("/bin/true",), binds=(Bind(tmp_path, "/opt/app"),), helpers=tmp_path)
    ended = engine(tmp_path).run(build, timeout=5)
    assert (ended.status, ended.stderr.text.strip()) == (125, said)


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "/", "etc"]), max_size=8))
def test_resolved_paths_are_clean(parts: list[str]) -> None:
    found = stage.inside(Path("/nonexistent"), "/" + "/".join(parts))
    assert found == os.path.normpath(found).replace("//", "/") and ".." not in found.split("/")


def test_ranges_of_ids() -> None:
    text = "# comment\nann:100000:65536\nbob:200000:1000\nbob:300000:70000\n1234:5:9\nbroken:x:y\nann:1:\n"
    assert ids.subid_ranges(text, "ann", 1) == 65536
    assert ids.subid_ranges(text, "bob", 1) == 70000
    assert ids.subid_ranges(text, "carl", 1234) == 9
    assert ids.subid_ranges(text, "dora", 7) == ids.subid_ranges("", "ann", 1) == 0
    assert ids.free_range(text, "eve:365536:65536") == 431072
    assert ids.free_range("") == 100000
    assert ids.mapped("         0       1000          1\n         1     100000      65535\n") == 65536


def test_ids_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, prefix, full in (
        (ids.Ids("real"), (), True),
        (RANGE, ("unshare", *ids.RANGE_FLAGS, "--"), True),
        (SINGLE, (), False),
        (ids.Ids("none"), (), False),
    ):
        monkeypatch.setattr(ids, "detect", lambda found=found: found)
        assert ids.prefix() == prefix
        assert ids.available() is full


USER = Facts(
    root=False, admin=False, userns_clone=None, max_userns=9999, apparmor_userns=None, tools=(),
    container=False, kernel=(6, 1), ids=RANGE,
)  # fmt: skip
NO_IDS = ids.Ids("none", "newuidmap is not installed", "apt-get install uidmap")


@pytest.mark.parametrize(
    ("facts", "said", "cause", "mend"),
    [
        (replace(USER, tools=("setpriv", "unshare")), "", "setpriv and unshare not found", "util-linux"),
        (replace(USER, root=True), "", "root without CAP_SYS_ADMIN", "--cap-add SYS_ADMIN"),
        (replace(USER, userns_clone=0), "", "switched off", "kernel.unprivileged_userns_clone=1"),
        (replace(USER, max_userns=0), "", "no user namespace is allowed", "user.max_user_namespaces="),
        (replace(USER, apparmor_userns=1, ids=NO_IDS), "", "AppArmor", "apparmor_restrict_unprivileged_userns=0"),
        (replace(USER, container=True, ids=NO_IDS), "", "unprivileged container", "seccomp=unconfined"),
        (replace(USER, kernel=(5, 10)), "", "Linux 5.10 has no overlay mounts", "run as root"),
        (replace(USER, ids=NO_IDS), "", "newuidmap is not installed", "apt-get install uidmap"),
        (replace(USER, ids=SINGLE), "cell-run: setgroups: x", "no range", "make one"),
        (USER, "bwrap: Can't mount proc on /newroot/proc", "/proc cannot be mounted", "systempaths=unconfined"),
        (USER, "mount: merged: unknown filesystem type 'overlay'", "an overlay cannot", "modprobe overlay"),
        (USER, "first\nlast words\n", "the canary did not start: last words", "py-portable doctor"),
        (USER, "", "the canary did not start: no message was printed", "py-portable doctor"),
    ],
)  # fmt: skip
def test_cause_and_cure(facts: Facts, said: str, cause: str, mend: str) -> None:
    found = cure(facts, said)
    assert cause in found[0]
    assert mend in found[1] and "\n" not in found[1]


def test_this_machine_can_be_described() -> None:
    facts = Facts.gather()
    assert facts.kernel > (2, 6)
    assert facts.root == (os.geteuid() == 0)


def test_an_engine_that_says_nonsense_is_not_believed() -> None:
    assert trial._parse(b"{") is None
    assert trial._parse(b"[]") is None
    assert trial._parse(b'{"canary": 2}') is None
    assert trial._parse(b'{"canary": 1}') == {"canary": 1}
