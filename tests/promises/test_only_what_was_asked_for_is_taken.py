"""Promise: of what other jobs and caches hand on, only what was asked for is taken, each entry only where its files
have the digest that it says, and nothing of the machine moves, is written through a link, or is started because of it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from py_portable.ci import travel
from py_portable.ci.github import handing
from py_portable.ci.job_config import Project
from py_portable.errors import ConfigError, MachineError, PortableError
from py_portable.images.names import Names
from py_portable.store import Store
from py_portable.store.entry import read_header, write_header

ONE, TWO, EVIL = ("a" * 64, "b" * 64, "e" * 64)
ASKED = {"image one": {"sha256:1"}}


def make(store: Store, key: str, identity: str, **meta: object) -> Path:
    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "root").mkdir()
        (work / "out" / "root" / "su").write_text(identity)
        (work / "out" / "root" / "su").chmod(0o4755)
        return {"identity": identity, **meta}

    return store.make(key, build).path.parent


@pytest.fixture
def handed(tmp_path: Path) -> Path:
    """What an honest plan job hands on: one image, asked for by its identity."""
    store = Store(tmp_path / "plan")
    make(store, ONE, "sha256:1")
    Names(store.cache("derived")).set("one", ONE)
    assert handing.pack(store.root, {"image one": "sha256:1"}, tmp_path / "handed") == 1
    return tmp_path / "handed"


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(tmp_path / "there")


def forged(handed: Path, change: Callable[[Path], None]) -> None:
    """The archive again, after something was done to what is in it."""
    room, archive = handed / "room", handed / "image-001.tar"
    with tarfile.open(archive) as tar:
        tar.extractall(room, filter="fully_trusted")
    change(room)
    archive.unlink()
    with tarfile.open(archive, "w") as tar:
        for path in sorted(room.iterdir()):
            tar.add(path, path.name)
    shutil.rmtree(room)


def nothing(store: Store) -> bool:
    return not [path for path in store.root.rglob("*") if path.parent.parent.name == "objects"]


def test_what_is_asked_for_arrives_with_its_setuid_files_in_the_store_only(handed: Path, there: Store) -> None:
    assert handing.unpack(handed, there, ASKED) == 1
    entry = there.get(ONE)
    assert entry and (entry.path / "root/su").stat().st_mode & 0o7777 == 0o4755
    there.verify(entry)
    assert Names(there.cache("derived")).get("one") == ONE
    with pytest.raises(PortableError, match="setuid"):
        there.restore(entry, "root", handed / "restored")


@pytest.mark.parametrize("wanted", [{"image one": {"sha256:9"}}, {"image two": {"sha256:1"}}, {}])
def test_what_was_not_asked_for_is_not_taken(handed: Path, there: Store, wanted: Mapping[str, set[str]]) -> None:
    if "image one" in wanted:
        with pytest.raises(ConfigError, match="did not ask for"):
            handing.unpack(handed, there, wanted)
    else:
        assert handing.unpack(handed, there, wanted) == 0
    assert nothing(there)


def test_a_key_beside_the_one_that_was_asked_for_is_not_taken(handed: Path, there: Store) -> None:
    def change(room: Path) -> None:
        shutil.copytree(room / "objects/aa" / ONE, room / "objects/ee" / EVIL)
        (room / "cache/passes").mkdir(parents=True)
        (room / "cache/passes" / EVIL).write_text("{}")
        (room / "cache/derived" / EVIL).write_text(EVIL)
        (room / "cache/derived" / TWO).write_text(ONE)

    forged(handed, change)
    handing.unpack(handed, there, ASKED)
    assert there.get(ONE) and there.get(EVIL) is None
    found = {path.name for path in (there.root / "cache").rglob("*") if path.is_file()}
    assert not found & {EVIL, TWO} and len(found) == 1


def other_bytes(room: Path) -> None:
    (room / "objects/aa" / ONE / "out" / "root" / "su").write_text("evil")


def other_mode(room: Path) -> None:
    (room / "objects/aa" / ONE / "out" / "root" / "su").chmod(0o755)


def another_file(room: Path) -> None:
    (room / "objects/aa" / ONE / "out" / "root" / "more").touch()


def another_key(room: Path) -> None:
    rewritten(room, key=TWO)


def another_identity(room: Path) -> None:
    rewritten(room, meta={"identity": "sha256:2"})


def no_manifest(room: Path) -> None:
    (room / "objects/aa" / ONE / "manifest").unlink()


def a_pipe_for_entry(room: Path) -> None:
    path = room / "objects/aa" / ONE / "entry.json"
    path.unlink()
    os.mkfifo(path)


def a_link_for_entry(room: Path) -> None:
    path = room / "objects/aa" / ONE / "entry.json"
    path.unlink()
    path.symlink_to("/etc/passwd")


def a_link_for_out(room: Path) -> None:
    path = room / "objects/aa" / ONE / "out"
    shutil.rmtree(path)
    path.symlink_to("/etc")


def rewritten(room: Path, **changes: object) -> None:
    path = room / "objects/aa" / ONE / "entry.json"
    path.write_bytes(write_header(replace(read_header(path.read_bytes()), **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        other_bytes,
        other_mode,
        another_file,
        another_key,
        another_identity,
        no_manifest,
        a_pipe_for_entry,
        a_link_for_entry,
        a_link_for_out,
    ],
)
def test_what_is_not_what_it_says_is_refused(handed: Path, there: Store, change: Callable[[Path], None]) -> None:
    forged(handed, change)
    with pytest.raises(ConfigError, match=r"not the one that the plan's job made|did not ask for"):
        handing.unpack(handed, there, ASKED)
    assert nothing(there)


@pytest.mark.parametrize("shelf", ["objects/aa", "objects", "cache/derived", "cache"])
def test_a_link_in_an_archive_moves_nothing_of_the_machine(
    handed: Path, there: Store, tmp_path: Path, shelf: str
) -> None:
    """On `objects/aa` a link led `unpack` to a folder of the host, which it moved into the store."""
    victim = tmp_path / "victim"
    make(Store(victim), ONE, "sha256:1")
    Names(Store(victim).cache("derived")).set("one", ONE)
    before = sorted(str(path) for path in victim.rglob("*"))

    def change(room: Path) -> None:
        shutil.rmtree(room / shelf)
        (room / shelf).symlink_to(victim / shelf)

    forged(handed, change)
    if shelf.startswith("objects"):
        with pytest.raises(ConfigError):
            handing.unpack(handed, there, ASKED)
        assert nothing(there)
    else:
        handing.unpack(handed, there, ASKED)
        assert Names(there.cache("derived")).get("one") is None
    assert sorted(str(path) for path in victim.rglob("*")) == before


def test_the_words_that_an_entry_brings_are_never_started(handed: Path, there: Store, tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    forged(handed, lambda room: rewritten(room, prefix=("sh", "-c", f"touch {mark}; exit 1", "x")))
    handing.unpack(handed, there, ASKED)
    entry = there.get(ONE)
    assert entry
    there.verify(entry)
    there.gc(keep_days=-1)
    assert not mark.exists()


def test_the_cache_of_a_store_is_held_against_its_digests(tmp_path: Path) -> None:
    store, mark = Store(tmp_path / "store"), tmp_path / "pwned"
    good = make(store, ONE, "sha256:1")
    bad = make(store, TWO, "sha256:2")
    (bad / "out" / "root" / "su").write_text("evil")
    started = make(store, EVIL, "sha256:3")
    header = read_header((started / "entry.json").read_bytes())
    (started / "entry.json").write_bytes(write_header(replace(header, prefix=("sh", "-c", f"touch {mark}", "x"))))
    (store.root / "objects/cc").symlink_to(tmp_path)
    (store.root / "objects/dd").mkdir()
    (store.root / "objects/dd/evil").symlink_to("/etc")
    (store.cache("tool") / "file").write_text("kept")
    os.mkfifo(store.cache("tool") / "pipe")
    (store.root / "cache/out").symlink_to(tmp_path)
    assert travel.pack_store(store.root, tmp_path / "cache")
    assert travel.unpack_store(tmp_path / "cache", tmp_path / "fresh")
    fresh = Store(tmp_path / "fresh")
    entry = fresh.get(ONE)
    assert entry and good.name == entry.key
    fresh.verify(entry)
    assert fresh.get(TWO) is None
    found = fresh.get(EVIL)
    assert found
    fresh.verify(found)
    assert not mark.exists()
    assert sorted(path.name for path in (fresh.root / "objects").iterdir()) == ["aa", "bb", "dd", "ee"]
    assert [path.name for path in fresh.cache("tool").iterdir()] == ["file"]
    assert not (fresh.root / "cache/out").is_symlink()


def test_a_verdict_does_not_come_along_in_a_cache(tmp_path: Path) -> None:
    """Whoever wrote the cache could write a PASS of what was never started."""
    store = Store(tmp_path / "store")
    (store.cache("passes") / "key.json").write_text('{"verdict": "PASS"}')
    (tmp_path / "cache").mkdir()
    words = ["tar", "--create", "--file", tmp_path / "cache" / travel.STORE, "--directory", store.root, "--", "cache"]
    subprocess.run([*words, "objects", "CACHEDIR.TAG"], check=True)
    assert travel.unpack_store(tmp_path / "cache", tmp_path / "fresh")
    assert not (tmp_path / "fresh" / "cache" / "passes").exists()
    assert travel.pack_store(store.root, tmp_path / "own")
    told = subprocess.run(["tar", "--list", "--file", tmp_path / "own" / travel.STORE], capture_output=True, check=True)
    assert b"passes" not in told.stdout


def archive_of(folder: Path, *members: tuple[str, bytes, str]) -> Path:
    """dist.tar of (name, type, where it links to)."""
    folder.mkdir()
    with tarfile.open(folder / travel.DIST, "w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, target, 0o644
            member.size = 1 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"x"))
    return folder / travel.DIST


@pytest.mark.parametrize(
    "members",
    [
        [("dist/evidence", tarfile.SYMTYPE, "..")],
        [("dist/evidence/parts", tarfile.SYMTYPE, "../..")],
        [("dist/logs", tarfile.SYMTYPE, "/etc")],
        [("dist/tree", tarfile.SYMTYPE, "../src")],
        [("dist", tarfile.SYMTYPE, "src")],
        [("portable.lock", tarfile.SYMTYPE, "src/app.py")],
        [("portable.lock", tarfile.DIRTYPE, "")],
        [("dist", tarfile.REGTYPE, "")],
        [("src/app.py", tarfile.REGTYPE, "")],
        [(".github/workflows/x.yml", tarfile.REGTYPE, "")],
        [("dist/tree/pipe", tarfile.FIFOTYPE, "")],
        [("dist/tree/lib", tarfile.SYMTYPE, "../../src"), ("dist/tree/lib/app.py", tarfile.REGTYPE, "")],
    ],
)
def test_a_dist_of_another_job_changes_nothing_but_dist(members: list[tuple[str, bytes, str]], tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "src").mkdir(parents=True)
    (here / "src/app.py").write_text("mine")
    archive = archive_of(tmp_path / "job", *members)
    with pytest.raises(ConfigError):
        travel.unpack_dist([archive], here, [Project("portable.yaml", here / "dist")])
    assert [str(path.relative_to(here)) for path in sorted(here.rglob("*"))] == ["src", "src/app.py"]
    assert (here / "src/app.py").read_text() == "mine"


def test_a_link_inside_an_artifact_is_part_of_it(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    archive = archive_of(
        tmp_path / "job",
        ("dist/tree/cli/lib.so.1", tarfile.REGTYPE, ""),
        ("dist/tree/cli/lib.so", tarfile.SYMTYPE, "lib.so.1"),
        ("dist/.carried/digest/cacert.pem", tarfile.SYMTYPE, "/etc/ssl/certs/ca-certificates.crt"),
    )
    travel.unpack_dist([archive], here, [Project("portable.yaml", here / "dist")])
    assert str((here / "dist/tree/cli/lib.so").readlink()) == "lib.so.1"
    assert (here / "dist/.carried/digest/cacert.pem").is_symlink()


def test_a_link_in_the_workspace_is_not_followed(tmp_path: Path) -> None:
    here, outside = tmp_path / "here", tmp_path / "outside"
    here.mkdir()
    outside.mkdir()
    archive = archive_of(tmp_path / "job", ("dist/tree/cli", tarfile.REGTYPE, ""))
    (here / "dist").symlink_to(outside)
    with pytest.raises(ConfigError, match="link"):
        travel.unpack_dist([archive], here, [Project("portable.yaml", here / "dist")])
    (here / "dist").unlink()
    (here / "dist").mkdir()
    (here / "dist/tree").symlink_to(outside)
    with pytest.raises(ConfigError, match="link"):
        travel.unpack_dist([archive], here, [Project("portable.yaml", here / "dist")])
    assert list(outside.iterdir()) == []


def test_an_index_of_images_is_a_small_regular_file(handed: Path, there: Store) -> None:
    (handed / handing.INDEX).unlink()
    os.mkfifo(handed / handing.INDEX)
    with pytest.raises(ConfigError, match="not a list of images"):
        handing.unpack(handed, there, ASKED)
    (handed / handing.INDEX).unlink()
    (handed / handing.INDEX).write_text(json.dumps({"image one": {"image-001.tar": []}}))
    with pytest.raises(ConfigError, match="under its key"):
        handing.unpack(handed, there, ASKED)


def test_a_dist_outside_of_the_workspace_takes_nothing_and_moves_nothing_of_it(tmp_path: Path) -> None:
    """Its place beside the workspace has the same path as one in it, seen from where archives are unpacked."""
    here = tmp_path / "here"
    (here / "out").mkdir(parents=True)
    (here / "out" / "mine").write_text("a file of the workspace")
    archive = tmp_path / "build" / "dist.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w"):
        pass
    with pytest.raises(MachineError, match="only files inside the repository"):
        travel.unpack_dist([archive], here, [Project("portable.yaml", here / ".." / "out")])
    assert (here / "out" / "mine").read_text() == "a file of the workspace"
    assert not (tmp_path / "out").exists()


def test_a_plan_that_is_no_file_is_refused(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    archives = []
    for name in ("one", "two"):
        source = tmp_path / name / "dist" / "plan.json"
        source.mkdir(parents=True)
        (source / "x").write_text(name)
        archives.append(tmp_path / name / "plan" / "dist.tar")
        archives[-1].parent.mkdir()
        with tarfile.open(archives[-1], "w") as tar:
            tar.add(source.parent, "dist")
    with pytest.raises(ConfigError):
        travel.unpack_dist(archives, here, [Project("portable.yaml", here / "dist")])
