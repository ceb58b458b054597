"""What the store gives out is what was put there. What was damaged is found before it is used and before anything or
anybody else is blamed; it is moved aside for a person to look at, and made again in the same run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from py_portable.base.talk import Talk
from py_portable.commands.prove import ForeignApp, prove_foreign
from py_portable.config import Smoke
from py_portable.engines.native import Native
from py_portable.errors import StepError
from py_portable.images.failures import ImageUnavailable
from py_portable.images.registry import saved
from py_portable.steps.context import Context, Environment
from py_portable.steps.graph import ImageNode, Step
from py_portable.steps.runner import Report, Runner
from py_portable.store import Entry, Store, seal
from py_portable.store.whole import SEAL
from tests.integration.conftest import Ran, portable
from tests.promises import tiny


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image, two programs that want its library, and a store that has neither yet but the helpers."""
    folder = tmp_path_factory.mktemp("places")
    tiny.with_library(folder / "image.tar")
    for name in ("one", "two"):
        tiny.reader(folder / name, f"it is {name}")
    return folder


@pytest.fixture
def store(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    return tiny.store(tmp_path_factory, tmp_path / "store")


def prove(places: Path, name: str, *words: str) -> tuple[Ran, dict[str, Any]]:
    ran = portable(
        "prove", places / name, "--image", f"docker-archive:{places / 'image.tar'}",
        "--stdout", f"it is {name}", "--json", *words,
    )  # fmt: skip
    (cell,) = json.loads(ran.stdout)
    return ran, cell


def root(store: Store) -> Path:
    (found,) = (store.root / "objects").glob("*/*/out/root")
    return found


def zero(path: Path) -> None:
    """What the review did: as long as before, with the times put back as far as a program can."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def hide(entry_folder: Path) -> None:
    """Let the damage look as if the disk had done it by itself: no time tells of it."""
    digest = json.loads((entry_folder / "entry.json").read_text())["digest"]
    state = seal.look(entry_folder / "out")
    seal.settle(state)
    (entry_folder / SEAL).write_text(seal.text(digest, state))


def quarantined(store: Store) -> list[Path]:
    return sorted((store.root / "quarantine").iterdir())


@pytest.mark.integration
@pytest.mark.parametrize("how", ["by a program", "by the disk"])
def test_a_zeroed_library_of_an_image_blames_no_artifact(places: Path, store: Store, how: str) -> None:
    assert prove(places, "one")[1]["verdict"] == "PASS"
    library = root(store) / tiny.LIBRARY
    good = library.read_bytes()
    zero(library)
    if how == "by the disk":
        hide(root(store).parents[1])
    ran, cell = prove(places, "two")
    assert (ran.status, cell["verdict"], cell["detail"]) == (0, "PASS", None), ran.stdout
    assert f"is damaged: root/{tiny.LIBRARY}: other contents" in ran.stderr
    assert "it is made again now" in ran.stderr and "Traceback" not in ran.stderr
    (aside,) = quarantined(store)
    assert (aside / "out" / "root" / tiny.LIBRARY).read_bytes() == bytes(len(good))
    assert str(aside) in ran.stderr
    assert (root(store) / tiny.LIBRARY).read_bytes() == good
    again, cell = prove(places, "two")
    assert (again.stderr, cell["cached"]) == ("", True)


@pytest.mark.integration
def test_nothing_is_remembered_of_an_image_that_is_not_what_it_was(places: Path, store: Store) -> None:
    """A remembered PASS starts nothing: the image is looked at all the same, and is whole before it counts."""
    assert prove(places, "one")[1]["verdict"] == "PASS"
    zero(root(store) / tiny.LIBRARY)
    ran, cell = prove(places, "one")
    assert "is damaged" in ran.stderr
    assert (cell["verdict"], cell["cached"]) == ("PASS", True)
    assert (root(store) / tiny.LIBRARY).read_bytes().startswith(b"\x7fELF")


@pytest.mark.integration
def test_an_image_that_cannot_be_made_again_proves_nothing(
    places: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prove(places, "one")[1]["verdict"] == "PASS"
    zero(root(store) / tiny.LIBRARY)

    def gone(*_: object, **__: object) -> None:
        raise ImageUnavailable("the archive is gone")

    monkeypatch.setattr(saved, "read", gone)
    asked = ForeignApp(
        places / "one",
        (f"docker-archive:{places / 'image.tar'}",),
        ("plain",),
        Smoke(stdout=("it is one",)),
        "pass",
    )
    (cell,) = prove_foreign(asked, "auto", lambda cell: None, Talk(quiet=True))
    assert (cell.verdict, cell.reason, cell.detail) == ("UNPROVEN", "image", "the archive is gone")


@pytest.mark.integration
def test_a_pass_that_was_seen_on_what_turns_out_to_be_damaged_is_forgotten(
    places: Path, store: Store, tmp_path: Path
) -> None:
    """Two cells of one run: the one that does not read the library passes, the other finds out."""
    tiny.sayer(tmp_path / "careless", "fine")
    config = tmp_path / "portable.yaml"
    config.write_text(
        "version: 1\npython: '3.13'\napp: {requirement: 'none==1', script: none, smoke: [{args: []}]}\n"
        "artifacts:\n"
        f"  careless: {{format: file, path: {tmp_path / 'careless'}}}\n"
        f"  careful: {{format: file, path: {places / 'one'}}}\n"
        f"portability: {{images: ['docker-archive:{places / 'image.tar'}']}}\n"
    )

    def run() -> tuple[Ran, dict[str, dict[str, Any]]]:
        ran = portable("portability", "--json", "--config", config)
        told = json.loads(ran.stdout) if ran.stdout else {"cells": []}
        return ran, {cell["artifact"]: cell for cell in told["cells"]}

    ran, cells = run()
    assert {name: cell["verdict"] for name, cell in cells.items()} == dict.fromkeys(("careless", "careful"), "PASS"), (
        ran.stderr
    )
    for file in (store.root / "cache" / "passes").iterdir():
        file.unlink()
    zero(root(store) / tiny.LIBRARY)
    hide(root(store).parents[1])
    ran, cells = run()
    assert "is damaged" in ran.stderr
    assert {name: (cell["verdict"], cell["cached"]) for name, cell in cells.items()} == dict.fromkeys(
        ("careless", "careful"), ("PASS", False)
    ), ran.stderr
    remembered = list((store.root / "cache" / "passes").iterdir())
    whens = {json.loads(file.read_text())["when"] for file in remembered}
    assert len(remembered) == 2 and whens == {cell["when"] for cell in cells.values()}


def wheel(ctx: Context) -> None:
    (ctx.out / "app.whl").write_bytes(b"a wheel")


def install(ctx: Context) -> Mapping[str, Any]:
    found = (ctx.inputs["wheel"].path / "app.whl").read_bytes()
    if found != b"a wheel":
        raise StepError("pip: zipfile.BadZipFile: Bad magic number for file header")
    (ctx.out / "app").write_bytes(b"installed " + found)
    return {}


def crash(ctx: Context) -> None:
    """A step that shows damage as whatever it meets, and not as an error of the kit."""
    json.loads((ctx.inputs["wheel"].path / "app.whl").read_bytes().replace(b"a wheel", b"1"))
    (ctx.out / "app").touch()


def build(store: Store, kind: Any, version: int = 1) -> Report:
    """A run: `version` is part of the app, so that another one is built anew."""
    env = Environment(store=store, engine=Native(), epoch=0, jobs=1)
    nodes = {
        "wheel": Step("wheel", wheel, lane="io"),
        "app": Step("app", kind, {"version": version}, ("wheel",), lane="io"),
    }
    report = Runner(env, lambda *_: None).run(nodes, ["app"])
    assert not report.failures, [problem.render() for problem in report.failures.values()]
    return report


@pytest.mark.parametrize("kind", [install, crash])
@pytest.mark.parametrize("how", ["by a program", "by the disk"])
def test_a_flipped_byte_of_a_stored_wheel_does_not_fail_the_next_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: Any, how: str
) -> None:
    made = build(Store(tmp_path / "store"), kind).results["wheel"]
    (made.path / "app.whl").write_bytes(b"a whee1")
    if how == "by the disk":
        hide(made.path.parent)
    report = build(Store(tmp_path / "store"), kind, 2)
    assert (report.results["wheel"].path / "app.whl").read_bytes() == b"a wheel"
    assert "the stored result of wheel is damaged: app.whl: other contents" in caplog.text
    assert len(quarantined(Store(tmp_path / "store"))) == 1
    caplog.clear()
    build(Store(tmp_path / "store"), kind, 3)
    assert caplog.text == ""


def test_a_step_that_fails_of_itself_is_done_once_and_blamed(tmp_path: Path) -> None:
    times = []

    def fail(ctx: Context) -> None:
        times.append(1)
        raise StepError("its own fault")

    env = Environment(store=Store(tmp_path / "store"), engine=Native(), epoch=0, jobs=1)
    nodes = {"wheel": Step("wheel", wheel), "app": Step("app", fail, needs=("wheel",))}
    report = Runner(env, lambda *_: None).run(nodes, ["app"])
    assert [problem.what for problem in report.failures.values()] == ["its own fault"]
    assert times == [1]
    assert quarantined(env.store) == []


@pytest.mark.integration
def test_an_image_is_checked_before_a_step_runs_in_it(
    places: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """An image whose steps are all in the store is not used, so its files are not looked at."""
    ran = []

    def read(ctx: Context) -> None:
        assert ctx.image
        ran.append((ctx.image.root / tiny.LIBRARY).read_bytes()[:4])

    def run(version: int) -> None:
        env = Environment(store=Store(store.root), engine=Native(), epoch=0, jobs=1)
        image = ImageNode("image", f"docker-archive:{places / 'image.tar'}")
        steps = {name: Step(name, read, {"version": version, "of": name}, image="image") for name in ("one", "two")}
        report = Runner(env, lambda *_: None).run({"image": image, **steps}, list(steps))
        assert not report.failures and report.images["image"].root == root(store)

    run(1)
    zero(root(store) / tiny.LIBRARY)
    run(1)
    assert (caplog.text, quarantined(store)) == ("", [])
    run(2)
    assert ran == [b"\x7fELF"] * 4
    assert f"is damaged: root/{tiny.LIBRARY}: other contents" in caplog.text
    assert len(quarantined(store)) == 1


MAKE = """
import hashlib, json, sys
from pathlib import Path
from py_portable.store import Store

store = Store(Path(sys.argv[1]))
def build(work):
    with Path(sys.argv[2]).open("a") as diary:
        diary.write("made\\n")
    (work / "out" / "library").write_text("whole")
    return {}
entry = store.make("0123456789abcdef", build, title="the library")
assert (entry.path / "library").read_text() == "whole"
store.restore(entry, "library", Path(sys.argv[3]))
print(entry.digest)
"""


def words(folder: Path, number: int = 0) -> list[str]:
    """A program that uses one object of a store, and makes it where it must."""
    return [sys.executable, "-c", MAKE, *(str(folder / n) for n in ("store", "diary", f"restored-{number}"))]


def damaged(folder: Path) -> Entry:
    """The store in `folder` with the object of `words`, which is damaged."""

    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "library").write_text("whole")
        return {}

    entry = Store(folder / "store").make("0123456789abcdef", build, title="the library")
    (entry.path / "library").write_text("whale")
    return entry


CALLS = ("rename", "renameat2", "fsync", "syncfs", "mkdir", "unlink")


@pytest.mark.integration
def test_a_kill_at_any_moment_between_finding_damage_and_having_it_made_again(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")

    def trial(name: str, *inject: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
        folder = tmp_path / name
        folder.mkdir()
        damaged(folder)
        return folder, subprocess.run(
            [strace, "-f", "-qq", "-o", str(folder / "trace"), *inject, *words(folder)],
            capture_output=True,
            text=True,
            timeout=60,
        )

    folder, done = trial("count", "-e", f"trace={','.join(CALLS)}")
    assert done.returncode == 0, done.stderr
    trace = (folder / "trace").read_text().splitlines()
    calls = [line.split(maxsplit=1)[1].partition("(")[0] for line in trace if "(" in line]
    (aside,) = (n for n, line in enumerate(trace) if "rename(" in line and "/quarantine/" in line)
    (there,) = (n for n, line in enumerate(trace) if "rename(" in line and "/objects/" in line.partition(", ")[2])
    assert aside < there
    points = [(calls[n], calls[: n + 1].count(calls[n])) for n in range(aside, min(there + 2, len(calls)))]
    assert len(points) > 8, trace

    def kill(point: tuple[str, int]) -> None:
        call, number = point
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        folder, done = trial(f"{call}-{number}", *inject)
        assert done.returncode in (-9, 137), (point, done)
        again = subprocess.run(words(folder), capture_output=True, text=True, timeout=60)
        assert again.returncode == 0 and "Traceback" not in again.stderr, (point, again.stderr)
        assert (folder / "restored-0").read_text() == "whole"
        # It was moved aside once: before the kill, or after it.
        assert len(quarantined(Store(folder / "store"))) == 1, point
        with Store(folder / "store").scratch("sweep"):
            pass
        assert list((folder / "store" / "tmp").iterdir()) == []

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(kill, points))


@pytest.mark.integration
def test_runs_side_by_side_find_it_once_and_make_it_once(tmp_path: Path) -> None:
    damaged(tmp_path)
    children = [
        subprocess.Popen(words(tmp_path, n), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    told = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 4, told
    assert len({out for out, _ in told}) == 1
    assert (tmp_path / "diary").read_text() == "made\n"
    assert len(quarantined(Store(tmp_path / "store"))) == 1
    assert sum("is damaged" in err for _, err in told) == 1


def doctor(*more: str) -> Ran:
    return portable("doctor", "--store", *more)


def test_the_doctor_reads_the_whole_store_and_says_what_was_damaged_and_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    entry = damaged(tmp_path)
    hide(entry.path.parent)
    Store(tmp_path / "store").make("f" * 64, lambda work: {}, title="something whole")
    ran = doctor()
    (aside,) = quarantined(Store(tmp_path / "store"))
    assert (ran.status, ran.stdout.splitlines()) == (
        1,
        [
            "Checked 2 stored results (0 MB are as they were stored).",
            "Damaged: the library: library: other contents",
            f"  It was moved to {aside}.",
            "1 result will be made again by the next run that needs it. You need not do anything. If this happens"
            " again, check the disk: look at smartctl and at the kernel's log.",
            f"1 damaged result can be looked at in {tmp_path}/store/quarantine; `py-portable gc` removes what has been"
            " there for 30 days.",
        ],
    )
    assert ran.stderr == f"Reading 2 stored results in {tmp_path}/store, byte by byte.\n"
    ran = doctor()
    assert (ran.status, ran.stdout.splitlines()[:2]) == (
        0,
        ["Checked 1 stored result (0 MB are as they were stored).", "Nothing is damaged."],
    )
    ran = doctor("--quiet")
    assert (ran.status, ran.stdout, ran.stderr) == (0, "", "")


def test_the_doctor_leaves_alone_what_another_run_works_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from py_portable.store.locks import lock

    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    entry = damaged(tmp_path)
    held = lock(tmp_path / "store" / "locks" / f"{entry.key}.lock", "it")
    try:
        ran = doctor()
    finally:
        held.release()
    assert ran.status == 0 and entry.path.is_dir()
    assert "1 result could not be checked: other runs are working on them now." in ran.stdout


@pytest.mark.parametrize("state", ["no store", "an empty store"])
def test_the_doctor_has_nothing_to_say_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    if state == "an empty store":
        Store(tmp_path / "store").cache("anything")
    ran = doctor()
    assert (ran.status, ran.stdout.splitlines()[1:]) == (0, ["Nothing is damaged."])
    assert doctor("--fix").status == 2


def test_what_is_copied_out_shares_nothing_with_the_store(tmp_path: Path) -> None:
    """Who writes into dist/ must not damage what later runs use."""
    store = Store(tmp_path / "store")

    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "app").write_text("whole")
        return {}

    entry = store.make("0" * 64, build)
    store.restore(entry, "app", tmp_path / "dist" / "app")
    (tmp_path / "dist" / "app").write_text("changed")
    (tmp_path / "dist" / "app").chmod(0o600)
    Store(tmp_path / "store").verify(entry)
    assert (entry.path / "app").read_text() == "whole"
