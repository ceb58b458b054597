"""The entries of a cell's user: what becomes of any file, as the C library of this machine reads it."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.engines.native import Native
from py_portable.prove import user_entries
from py_portable.prove.accounts import GROUP, MOST_BYTES, PASSWD, Accounts, UnknownAccounts, text_of
from py_portable.prove.conditions import CONDITIONS, NO_HOME, NO_PASSWD, PLAIN
from py_portable.store import Store

UID = PLAIN.uid
HOME = str(PLAIN.home)
ROOT = b"root:x:0:0:root:/root:/bin/bash\n"
LINE = b"cell:x:10001:10001::/home/cell:/bin/sh\n"


class _User(ctypes.Structure):
    """struct passwd, and of struct group the first three fields."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("password", ctypes.c_char_p),
        ("id", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("gecos", ctypes.c_char_p),
        ("home", ctypes.c_char_p),
        ("shell", ctypes.c_char_p),
    )


def read(call: str, text: bytes, wanted: int) -> tuple[bytes, bytes | None] | None:
    """Name and home (of users) of the first entry that fgetpwent(3) or fgetgrent(3) finds for this id."""
    libc = ctypes.CDLL(None)
    for name in ("fopen", "fdopen"):
        getattr(libc, name).restype = ctypes.c_void_p
    step = getattr(libc, call)
    step.restype = ctypes.POINTER(_User)
    step.argtypes = libc.fclose.argtypes = [ctypes.c_void_p]
    with tempfile.TemporaryFile() as file:
        file.write(text)
        file.seek(0)
        stream = libc.fdopen(os.dup(file.fileno()), b"r")
        try:
            while found := step(stream):
                if found.contents.id == wanted:
                    return found.contents.name, found.contents.home if call == "fgetpwent" else None
        finally:
            libc.fclose(stream)
    return None


FIELD = st.sampled_from(
    [b"", b"x", b"cell", b"cell1", b"0", b"10001", b"010001", b" 10001", b"-1", b"+", b"#", b"\xff"]
)
ROW = st.lists(FIELD, max_size=8).map(b":".join) | st.just(ROOT.strip()) | st.just(LINE.strip()) | st.binary(max_size=9)
TEXT = st.lists(ROW, max_size=6).map(b"\n".join)


@given(TEXT)
def test_the_user_has_an_entry_whatever_the_file_holds(text: bytes) -> None:
    shown = user_entries.with_user(text, UID, HOME)
    lines = shown.split(b"\n")
    own = [line.split(b":") for line in lines if user_entries._is_entry(line, 7, b"10001")]
    assert own and {fields[5] for fields in own} == {HOME.encode()}
    assert user_entries.with_user(shown, UID, HOME) == shown, "once is enough"
    if len(own) == 1 and user_entries.without_user(text, UID) == text:
        assert shown.startswith(text or ROOT[:4]), "all that was there stays, byte for byte"
        assert not any(line.split(b":")[0] == own[0][0] for line in text.split(b"\n"))
    gone = user_entries.without_user(shown, UID)
    assert not user_entries._ids(gone, 7, b"10001")
    assert user_entries.without_user(gone, UID) == gone


@given(TEXT)
def test_the_group_has_an_entry_whatever_the_file_holds(text: bytes) -> None:
    shown = user_entries.with_group(text, UID)
    assert user_entries._ids(shown, 4, b"10001") and user_entries.with_group(shown, UID) == shown
    assert not user_entries._ids(user_entries.without_group(shown, UID), 4, b"10001")
    if user_entries._ids(text, 4, b"10001"):
        assert shown == text


NAMES = st.text("abcdefgh", min_size=1, max_size=5)
USERS = st.lists(st.tuples(NAMES, st.integers(0, 70000)), max_size=6)


@given(USERS, st.booleans())
def test_the_c_library_finds_the_user_and_everybody_else_as_before(users: list[tuple[str, int]], ended: bool) -> None:
    users = [("cell", 7), *users]
    for call, rest in (("fgetpwent", ":1::/home/of:/bin/sh"), ("fgetgrent", ":")):
        text = "\n".join(f"{name}:x:{number}{rest}" for name, number in users).encode() + b"\n" * ended
        made = user_entries.with_user(text, UID, HOME) if call == "fgetpwent" else user_entries.with_group(text, UID)
        for _, number in users:
            if number != UID:
                assert read(call, made, number) == read(call, text, number) is not None
        name = {number: name for name, number in reversed(users)}.get(UID, "cell1")
        assert read(call, made, UID) == (name.encode(), HOME.encode() if call == "fgetpwent" else None)
        gone = user_entries.without_user(made, UID) if call == "fgetpwent" else user_entries.without_group(made, UID)
        assert read(call, gone, UID) is None


def test_one_line_is_added_and_a_file_that_is_not_there_gets_root() -> None:
    assert user_entries.with_user(ROOT, UID, "/nonexistent") == ROOT + LINE.replace(b"/home/cell", b"/nonexistent")
    assert user_entries.with_user(b"", UID, HOME) == b"root:x:0:0:root:/root:/bin/sh\n" + LINE
    assert user_entries.with_group(b"", UID) == b"root:x:0:\ncell:x:10001:\n"
    own = b"app:x:10001:7:an app:/srv/app:/bin/false\n"
    assert user_entries.with_user(ROOT + own, UID, HOME) == ROOT + own.replace(b"/srv/app", HOME.encode())


def image(folder: Path, passwd: bytes | None = ROOT, group: bytes | None = b"root:x:0:\n") -> Path:
    (folder / "etc").mkdir(parents=True)
    for name, text in (("passwd", passwd), ("group", group)):
        if text is not None:
            (folder / "etc" / name).write_bytes(text)
    return folder


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(Store(tmp_path / "store"), Native(), tmp_path)


def test_what_a_condition_shows_is_kept_and_the_same_for_every_start(tmp_path: Path, accounts: Accounts) -> None:
    root = image(tmp_path / "root")
    shown = {name: accounts.of(condition, root) for name, condition in CONDITIONS.items()}
    assert [bind.target for bind in shown["plain"]] == [PASSWD, GROUP]
    assert not any(bind.writable for bind in shown["plain"])
    assert shown["plain"][0].source.read_bytes() == ROOT + LINE
    assert shown["plain"][1].source.read_bytes() == b"root:x:0:\ncell:x:10001:\n"
    assert {bind.source.stat().st_mode & 0o777 for bind in shown["plain"]} == {0o644}
    assert shown["plain"] == shown["read-only"] and shown["no-passwd"] == ()
    assert b":/nonexistent:" in shown["no-home"][0].source.read_bytes()
    later = Accounts(accounts.store, Native(), tmp_path)
    assert later.of(PLAIN, root) == shown["plain"], "a later run finds the same files"
    assert Accounts(accounts.store, Native(), tmp_path, able=False).of(PLAIN, root) == ()


def test_an_image_with_an_entry_of_its_own(tmp_path: Path, accounts: Accounts) -> None:
    root = image(tmp_path / "root", ROOT + b"app:x:10001:10001::/home/cell:/bin/sh\n", b"app:x:10001:\n")
    assert accounts.of(PLAIN, root) == ()
    (bind, _) = accounts.of(NO_PASSWD, root)
    assert bind.source.read_bytes() == ROOT
    (bind,) = accounts.of(NO_HOME, root)
    assert bind.source.read_bytes() == ROOT + b"app:x:10001:10001::/nonexistent:/bin/sh\n"


def test_nothing_outside_of_an_image_is_read(tmp_path: Path, accounts: Accounts) -> None:
    root = image(tmp_path / "root", None, None)
    assert text_of(root, PASSWD) == b""
    (tmp_path / "secret").write_text("secret")
    for leads, text in (
        (tmp_path / "secret", None), ("../../secret", None), ("/dev/null", None), ("passwd", None),
        ("/usr/lib/passwd", ROOT), ("../../../usr/lib/passwd", ROOT),
    ):  # fmt: skip
        (root / "usr" / "lib").mkdir(parents=True, exist_ok=True)
        (root / "usr" / "lib" / "passwd").write_bytes(ROOT)
        (root / "etc" / "passwd").unlink(missing_ok=True)
        (root / "etc" / "passwd").symlink_to(leads)
        assert text_of(root, PASSWD) == text, leads
    (root / "etc" / "passwd").unlink()
    os.mkfifo(root / "etc" / "passwd")
    assert text_of(root, PASSWD) is None
    (root / "etc" / "group").mkdir()
    assert text_of(root, GROUP) is None
    assert accounts.of(PLAIN, root) == (), "the canary will say what is missing"
    (root / "etc" / "passwd").unlink()
    (root / "etc" / "passwd").write_bytes(b"x" * (MOST_BYTES + 1))
    assert text_of(root, PASSWD) is None


def test_what_the_engine_does_not_tell_of_an_installation_is_not_remembered(tmp_path: Path) -> None:
    """Native can have no layers, so it raises."""
    (tmp_path / "layer").mkdir()
    unable = Accounts(Store(tmp_path / "store"), Native(), tmp_path)
    for _ in range(2):
        with pytest.raises(UnknownAccounts, match="could not be read: the engine native"):
            unable.of(PLAIN, Path("/"), (tmp_path / "layer",))
