"""What each condition promises, against made-up observations."""

from __future__ import annotations

import copy
from errno import EAFNOSUPPORT, EFAULT, ENETUNREACH, ENOKEY, ENOSYS, EPERM, EROFS
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.engines import trial
from py_portable.engines.engine import isolation
from py_portable.prove.conditions import CONDITIONS, FILTERED, NO_HOME, NO_PASSWD, PATH, PLAIN, READ_ONLY

NONE = "0" * 16
UID = PLAIN.uid
HOME = str(PLAIN.home)


def place(**changes: Any) -> dict[str, Any]:
    base = {"exists": True, "mode": 0o755, "owner": 0, "group": 0, "create": 13, "type": "overlay"}
    return {**base, "read_only": False, "noexec": False, "bytes": 1, **changes}


def observed(name: str) -> dict[str, Any]:
    """What a canary sees where everything is as it has to be."""
    refused = ("mount", "mknod", "chroot", "remount_root", "setuid_0", "ptrace_1", "nested_remount_root")
    seen: dict[str, Any] = {
        "canary": 1, "fds": [0, 1, 2], "stdin_null": True, "terminal": False, "umask": 0o22,
        "env": ["HOME", "PATH", "PWD"], "env_HOME": "/home/cell", "env_PATH": PATH, "env_LANG": None,
        "cwd": "/", "core_limit": 0, "open_files": 1024,
        "account": {"name": "cell", "home": "/home/cell", "group": "cell"}, "uid": UID, "euid": UID, "gid": UID, "egid": UID, "groups": [],
        "CapInh": NONE, "CapPrm": NONE, "CapEff": NONE, "CapBnd": NONE, "CapAmb": NONE, "NoNewPrivs": "1",
        "Seccomp": "2", "keys": 0, "limits": ["memory", "processes"],
        "uid_map": "0 0 4294967295\n", "shadow_readable": 13, "hostname": "cell", "interfaces": ["lo"],
        "route": ENETUNREACH, "loopback": 0, "processes": 3,
        "root": place(), "usr": place(), "etc": place(),
        "tmp": place(mode=0o1777, create=0), "shm": place(mode=0o1777, create=0),
        "home": place(mode=0o700, owner=UID, create=0),
        "tries": {
            **dict.fromkeys(refused, EPERM), "fds_of_1": 13, "fds_of_parent": 13,
            "kill_parent": EPERM, **dict.fromkeys(FILTERED, EPERM), "clone3_userns": ENOSYS,
            "vsock": EAFNOSUPPORT,
        },
    }  # fmt: skip
    if name == "read-only":
        for folder in ("root", "usr", "etc", "home"):
            seen[folder] |= {"create": EROFS, "read_only": True}
        seen["tmp"] |= {"type": "tmpfs", "bytes": 64 << 20}
    if name == "no-home":
        seen["env_HOME"] = seen["account"]["home"] = "/nonexistent"
        seen["home"] = place(exists=False, mode=-1, owner=-1, create=2, type=None)
    if name == "no-passwd":
        seen["account"] = dict.fromkeys(("name", "home", "group"))
    return seen


@pytest.mark.parametrize("name", CONDITIONS)
def test_kept(name: str) -> None:
    assert CONDITIONS[name].violations(observed(name)) == ()
    assert CONDITIONS[name].name == name
    for other in set(CONDITIONS) - {name}:
        assert CONDITIONS[other].violations(observed(name)) != (), f"{name} would pass for {other}"


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_empty_observation_keeps_nothing(name: str) -> None:
    assert len(CONDITIONS[name].violations({})) == len(CONDITIONS[name].promises)


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_promise_depends_on_what_was_observed(name: str) -> None:
    # Take each thing away in turn: every promise has to notice the loss of something.
    noticed: set[str] = set()
    whole = observed(name)
    for key in whole:
        without = {k: v for k, v in whole.items() if k != key}
        noticed |= set(CONDITIONS[name].violations(without))
    assert noticed == {promise.text for promise in CONDITIONS[name].promises}


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("gid", 0, f"the app runs as uid and gid {UID}, in no other group"),
        ("groups", [0], f"the app runs as uid and gid {UID}, in no other group"),
        ("uid_map", "10001 0 1\n", "the ids of a whole system are mapped"),
        ("shadow_readable", 0, "/etc/shadow cannot be read"),
        ("CapEff", "0" * 15 + "1", "there are no capabilities"),
        ("NoNewPrivs", "0", "no new privileges can be obtained"),
        ("Seccomp", "0", "a filter of system calls is in force"),
        ("keys", 1, "no key of anybody else is seen"),
        ("keys", False, "no key of anybody else is seen"),
        ("limits", ["processes"], "the memory of a cell is limited for itself"),
        ("limits", ["memory"], "the processes of a cell are counted for themselves"),
        ("fds", [0, 1, 2, 7], "only the file descriptors 0, 1 and 2 are open"),
        ("stdin_null", False, "stdin is /dev/null"),
        ("terminal", True, "there is no terminal"),
        ("umask", 0o77, "the umask is 022"),
        ("core_limit", -1, "no core is written"),
        ("open_files", 524288, "no more than 1024 files can be open"),
        ("open_files", -1, "no more than 1024 files can be open"),
        ("account", {"name": None, "home": HOME, "group": "cell"}, "the app's uid has a name in /etc/passwd"),
        ("account", {"name": "root", "home": HOME, "group": "cell"}, "the app's uid has a name in /etc/passwd"),
        ("account", {"name": "cell", "home": "/", "group": "cell"}, "its entry there names HOME"),
        ("account", {"name": "cell", "home": HOME, "group": None}, "the app's gid has a name in /etc/group"),
        ("cwd", "/tmp", "the working folder is /"),
        ("hostname", "laptop", "the host name is cell"),
        ("interfaces", ["lo", "eth0"], "there is no network but loopback"),
        ("route", 0, "there is no network but loopback"),
        ("loopback", ENETUNREACH, "loopback is up"),
        ("processes", 200, "no processes of the machine are seen"),
        ("env", ["HOME", "PATH", "SECRET"], "the environment is HOME and PATH"),
        ("env_LANG", "C.UTF-8", "LANG is unset and PATH is a container's"),
        ("root", place(read_only=True), "the root is mounted writable"),
        ("etc", place(create=0), "/, /usr and /etc cannot be written by the app"),
        ("tmp", place(mode=0o755, create=13), "/tmp has mode 1777 and can be written"),
        ("tmp", place(mode=0o1777, create=0, noexec=True), "programs can be started from /tmp"),
        ("shm", place(), "/dev/shm can be written"),
        ("home", place(mode=0o700, owner=0, create=0), "HOME is /home/cell, mode 0700, the app's own"),
        ("home", place(mode=0o700, owner=UID, create=EROFS), "HOME can be written"),
    ],
)  # fmt: skip
def test_broken(key: str, value: object, text: str) -> None:
    assert PLAIN.violations({**observed("plain"), key: value}) == (text,)


@pytest.mark.parametrize("name", ["mount", "mknod", "chroot", "remount_root", "setuid_0"])
@pytest.mark.parametrize("result", [0, None])
def test_a_try_that_succeeded_or_was_not_made(name: str, result: int | None) -> None:
    seen = observed("plain")
    seen["tries"][name] = result
    assert PLAIN.violations(seen) == ("mounts, device nodes, another root and uid 0 are refused",)


@pytest.mark.parametrize("name", FILTERED)
@pytest.mark.parametrize("result", [0, None, False, ENOKEY, EFAULT, -1])
def test_a_call_that_the_kernel_got_to_see(name: str, result: int | None) -> None:
    seen = observed("plain")
    seen["tries"][name] = result
    (broken,) = PLAIN.violations(seen)
    assert "refused" in broken or "made" in broken
    assert PLAIN.violations(seen, ["seccomp"]) == ()


def test_where_keys_are_hidden_none_is_seen() -> None:
    assert PLAIN.violations({**observed("plain"), "keys": None}) == ()


def test_a_read_only_root_that_a_nested_namespace_can_open() -> None:
    seen = observed("read-only")
    seen["tries"]["nested_remount_root"] = 0
    assert READ_ONLY.violations(seen) == ("a nested user namespace cannot make it writable",)


def test_what_an_engine_lacks_is_excused_unless_it_makes_the_condition() -> None:
    seen = {**observed("plain"), "hostname": "laptop", "interfaces": ["lo", "eth0"]}
    assert PLAIN.violations(seen, ["network"]) == ("the host name is cell",)
    assert PLAIN.violations(seen, ["network", "hostname"]) == ()
    assert "the root is mounted read-only" in READ_ONLY.violations(observed("plain"), ["root", "tmp", "home"])
    assert NO_HOME.violations(observed("plain"), ["home", "no-home"]) != ()
    assert PLAIN.violations(observed("no-passwd"), ["account"]) == ()
    assert NO_PASSWD.violations(observed("plain"), ["account", "no-passwd"]) != ()


def test_a_probe_changes_one_thing() -> None:
    assert (PLAIN.root_access, PLAIN.tmp_bytes, PLAIN.home) == ("throw-away", None, "/home/cell")
    assert (READ_ONLY.root_access, READ_ONLY.tmp_bytes) == ("read-only", 64 << 20)
    assert (READ_ONLY.env, READ_ONLY.home, READ_ONLY.uid) == (PLAIN.env, PLAIN.home, PLAIN.uid)
    assert (NO_HOME.root_access, NO_HOME.tmp_bytes, NO_HOME.home) == ("throw-away", None, None)
    assert {**NO_HOME.env, "HOME": PLAIN.env["HOME"]} == dict(PLAIN.env)
    assert (NO_PASSWD.root_access, NO_PASSWD.tmp_bytes, NO_PASSWD.home) == ("throw-away", None, PLAIN.home)
    assert (NO_PASSWD.env, NO_PASSWD.uid) == (PLAIN.env, PLAIN.uid)
    assert [c.account for c in (PLAIN, READ_ONLY, NO_HOME, NO_PASSWD)] == [True, True, True, False]


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)


@given(st.sampled_from(sorted(CONDITIONS)), st.sampled_from(sorted(observed("plain"))), values)
def test_nothing_observed_can_do_more_than_break_a_promise(name: str, key: str, value: object) -> None:
    seen = copy.deepcopy(observed(name))
    seen[key] = value
    texts = {promise.text for promise in CONDITIONS[name].promises}
    assert set(CONDITIONS[name].violations(seen)) <= texts


def test_a_trial_that_saw_no_account_says_what_the_engine_lacks() -> None:
    seen = observed("plain")
    whole = set(trial.lacks(seen))
    for account in (observed("no-passwd")["account"], {**seen["account"], "home": "/root"}):
        assert set(trial.lacks({**seen, "account": account})) - whole == {"account"}
    assert "account" not in whole and isolation(["account"]) == "partial"
