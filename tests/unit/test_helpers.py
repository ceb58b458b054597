"""The static helpers come compiled: what lies in the package is what its table says, and is of today's sources."""

from __future__ import annotations

import io
import lzma
import platform
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from py_portable.engines import static_helpers
from py_portable.engines.static_helpers.stored import helpers
from py_portable.errors import MachineError
from py_portable.inspect import elf
from py_portable.store import Store

HERE = Path(__file__).parents[2]
MACHINES = ("aarch64", "x86_64")
needs_them = pytest.mark.skipif(platform.machine() not in MACHINES, reason="no helpers for this machine")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of helpers of another kit, which a test may change."""
    folder = tmp_path / "kit"
    shutil.copytree(static_helpers.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(static_helpers, "FOLDER", folder)
    return folder


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def edit(package: Path) -> None:
    with (package / "own-ids.c").open("a") as stream:
        stream.write("/* edited */\n")


def changed(archive: Path, name: str, body: bytes | None) -> None:
    """The archive with another `name` in it, or without it (None)."""
    with tarfile.open(archive) as old:
        held = {member.name: old.extractfile(member).read() for member in old}  # type: ignore[union-attr]
    held[name] = body or b""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as new:
        for one, data in held.items():
            member = tarfile.TarInfo(one)
            member.size = len(data)
            if one != name or body is not None:
                new.addfile(member, io.BytesIO(data))
    archive.write_bytes(lzma.compress(plain.getvalue()))


def test_they_were_made_of_todays_sources_by_the_pinned_compiler() -> None:
    """Where this fails: scripts/make-helpers."""
    told = static_helpers.table()
    assert told["sources"] == static_helpers.sources_digest()
    (pin,) = re.findall(r"^ziglang==\S+", (HERE / "requirements" / "helpers.txt").read_text(), re.MULTILINE)
    assert told["compiler"] == pin
    assert set(told["sha256"]) == set(MACHINES)  # type: ignore[call-overload]


@pytest.mark.parametrize("machine", MACHINES)
def test_they_are_static_programs_for_their_machine(machine: str, tmp_path: Path) -> None:
    ready = static_helpers.compiled(machine)
    assert ready and set(ready.sha256) == set(static_helpers.NAMES)
    ready.unpack(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(static_helpers.NAMES)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o7777 == 0o755
        found = elf.read(path.read_bytes())
        assert (found.arch, found.type, found.interpreter, found.needed) == (machine, "static", None, ())


def test_the_archives_are_binary_for_git() -> None:
    if not (HERE / ".git").exists():
        pytest.skip("not a git work tree")
    words = ["git", "check-attr", "text", "diff", "--", "src/py_portable/engines/static_helpers/x86_64.tar.xz"]
    told = subprocess.run(words, cwd=HERE, check=True, capture_output=True, text=True).stdout
    assert [line.rpartition(" ")[2] for line in told.splitlines()] == ["unset", "unset"]


@needs_them
def test_no_compiler_is_looked_for(tmp_path: Path, no_compiler: None, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "store")
    folder = helpers(store)
    assert tmp_path / "store" in folder.parents and helpers(store) == folder and not caplog.text
    subprocess.run([folder / "canary"], check=True, capture_output=True)
    # Nobody else's store entry is taken for them: their name is of their bytes.
    ready = static_helpers.compiled()
    assert ready and static_helpers.key() == f"native-{platform.machine()}-{ready.digest}"


def test_an_edited_source_is_said_and_compiled(
    package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = static_helpers.key()
    edit(package)
    assert static_helpers.stale() and static_helpers.compiled() is None and static_helpers.key() != before
    static_helpers.put(tmp_path / "out")
    assert "the compiled helpers do not belong to the C sources" in caplog.text
    subprocess.run([tmp_path / "out" / "canary"], check=True, capture_output=True)
    # Other flags are as good as another source.
    key = static_helpers.key()
    monkeypatch.setattr(static_helpers, "FLAGS", (*static_helpers.FLAGS, "-O0"))
    assert static_helpers.key() != key


def test_an_edited_source_without_a_compiler_is_an_error_with_its_cure(
    package: Path, tmp_path: Path, no_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(package)
    with pytest.raises(MachineError) as caught:
        static_helpers.put(tmp_path / "out")
    told = caught.value.render()
    assert "do not belong to the C sources" in told and "no compiler" in told
    assert "apt-get install musl-tools" in told and "scripts/make-helpers" in told
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert static_helpers.compiler()[1:5] == ("-m", "ziglang", "cc", "-target")


def test_a_machine_that_the_kit_has_none_for_takes_a_compiler(
    tmp_path: Path, no_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert static_helpers.compiled() is None
    with pytest.raises(MachineError, match="py-portable has no compiled helpers for riscv64, and there is no compiler"):
        static_helpers.put(tmp_path / "out")


@needs_them
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5000]), "damaged"),
        (lambda path: path.write_bytes(b"no archive"), "damaged"),
        (lambda path: changed(path, "canary", None), "damaged"),
        (lambda path: changed(path, "canary", b"\x7fELF of somebody else"), "canary has a different sha256"),
    ],
)
def test_damaged_ones_are_never_used(package: Path, tmp_path: Path, damage: object, said: str) -> None:
    damage(package / f"{platform.machine()}.tar.xz")  # type: ignore[operator]
    store = Store(tmp_path / "store")
    with pytest.raises(MachineError, match=said) as caught:
        helpers(store)
    assert "install py-portable again" in caught.value.render()
    assert not list((tmp_path / "store").rglob("canary"))
