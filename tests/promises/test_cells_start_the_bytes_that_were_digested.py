"""A verdict is of bytes, not of a path: what is started is what the digest in the evidence is of, whatever happens to
the path meanwhile, and a remembered PASS is of the very bytes that were started.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.base.talk import Talk
from py_portable.benchmark.subjects import Workshop, pairings
from py_portable.commands import portability as portability_command
from py_portable.commands.prove import ForeignApp, prove_foreign
from py_portable.config import Smoke
from py_portable.errors import UnmetError
from py_portable.evidence.typed import CellResult
from py_portable.formats import Made
from py_portable.plan.selection import Selection
from py_portable.project.building import Built
from py_portable.project.session import open_session
from py_portable.prove import cell_runs
from py_portable.prove.frozen import Freezer
from py_portable.store import Store, digest, file_mode
from tests.promises import tiny

Change = Callable[[], object]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    tiny.image(folder / "image.tar", {"etc/passwd": b"root:x:0:0::/:/none\n"})
    for name in ("good", "evil"):
        tiny.sayer(folder / name, f"it is {name}")
    return folder


@pytest.fixture(autouse=True)
def store(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PY_PORTABLE_STORE", str(tmp_path / "store"))
    return tiny.store(tmp_path_factory, tmp_path / "store")


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Do something after an artifact was digested, and before it is started: when the canaries are."""
    observe = cell_runs.observe

    def set_up(change: Change) -> None:
        def observed(*words: Any, **more: Any) -> Any:
            change()
            return observe(*words, **more)

        monkeypatch.setattr(cell_runs, "observe", observed)

    return set_up


def swap(path: Path, other: Path) -> None:
    """Another program under the same name, as long, and with the same times. Conditions are observed side by side."""
    before = path.stat()
    fresh = path.with_name(f"fresh-{uuid.uuid4().hex}")
    fresh.write_bytes(other.read_bytes())
    fresh.chmod(0o755)
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.replace(path)


def tool(places: Path, folder: Path) -> Path:
    """The good program as an artifact of the user's own."""
    path = folder / "tool"
    path.write_bytes((places / "good").read_bytes())
    path.chmod(0o755)
    return path


def prove(places: Path, path: Path, says: str) -> CellResult:
    asked = ForeignApp(path, (f"docker-archive:{places / 'image.tar'}",), ("plain",), Smoke(stdout=(says,)), "pass")
    (cell,) = prove_foreign(asked, "auto", lambda cell: None, Talk(quiet=True))
    return cell


@pytest.mark.integration
def test_a_file_that_is_swapped_between_digest_and_start_proves_nothing(
    places: Path, tmp_path: Path, between: Callable[[Change], None]
) -> None:
    path = tool(places, tmp_path)
    good = digest(path)
    between(lambda: swap(path, places / "evil"))
    cell = prove(places, path, "it is evil")
    assert (cell.verdict, cell.reason, cell.sha256) == ("UNPROVEN", "artifact", good)
    assert "tool was changed during this run: its digest is sha256:" in str(cell.detail)
    # And nothing is remembered of it, for either of them.
    between(lambda: None)
    cell = prove(places, tool(places, tmp_path), "it is evil")
    assert (cell.verdict, cell.cached) == ("FAIL", False)
    cell = prove(places, path, "it is good")
    assert (cell.verdict, cell.cached) == ("PASS", False)


@pytest.mark.integration
def test_a_swap_after_the_copy_was_made_is_not_started(
    places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last moment: the file is another one when the engine is called, and back again afterwards."""
    path = tool(places, tmp_path)
    start = cell_runs.start

    def late(*words: Any, **more: Any) -> Any:
        swap(path, places / "evil")
        try:
            return start(*words, **more)
        finally:
            swap(path, places / "good")

    with monkeypatch.context() as patch:
        patch.setattr(cell_runs, "start", late)
        cell = prove(places, path, "it is good")
    assert (cell.verdict, cell.sha256) == ("PASS", digest(path))
    # What the user is given to repeat names what the user knows.
    cell = prove(places, path, "something else")
    assert str(path) in str(cell.reproduce) and "/frozen-" not in str(cell.reproduce)


CONFIG = """version: 1
python: "3.13"
app: {{requirement: "tool==1", script: tool, smoke: [{{args: [], stdout: ["it is good"]}}]}}
artifacts:
  tool: {{format: file, path: tool}}
portability: {{images: ["docker-archive:{image}"], probes: [no-home]}}
"""


@pytest.mark.integration
@pytest.mark.parametrize("as_made", [False, True])
def test_the_artifact_of_a_config_is_held_too(
    places: Path, tmp_path: Path, between: Callable[[Change], None], as_made: bool
) -> None:
    path = tool(places, tmp_path)
    (tmp_path / "portable.yaml").write_text(CONFIG.format(image=places / "image.tar"))
    session = open_session(tmp_path / "portable.yaml", talk=Talk(quiet=True))
    portability_command.building.build(session, Selection(controls=False))
    between(lambda: swap(path, places / "evil"))
    proved = portability_command.prove(session, Selection(), lambda cell: None, as_made=as_made)
    assert {(cell.verdict, cell.reason) for cell in proved.cells} == {("UNPROVEN", "artifact")}
    assert len(proved.cells) == 2 and proved.conclusions.problems


def made(name: str, path: Path, **more: Any) -> Made:
    return Made(name, "file", path, {}, sha256=digest(path), mode=file_mode(path), **more)


@pytest.fixture
def freezer(store: Store) -> Any:
    with ExitStack() as stack:
        yield Freezer(store, stack)


def test_one_copy_serves_all_cells_and_is_gone_with_the_run(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    one = made("tool", tmp_path / "tool")
    with ExitStack() as stack:
        freezer = Freezer(store, stack)
        first, second = freezer.freeze(one), freezer.freeze(replace(one, name="again"))
        assert first.path == second.path != one.path
        assert first.path.name == "tool" and first.path.read_text() == "#!/bin/sh\n"
        assert first.path.is_relative_to(store.root / "tmp") and store.root.stat().st_mode & 0o777 == 0o700
        # Whoever can write to the original cannot write to the copy through it.
        (tmp_path / "tool").write_text("other")
        assert first.path.read_text() == "#!/bin/sh\n"
    assert not first.path.exists()


def test_what_lies_in_the_store_is_started_from_there_without_a_copy(
    store: Store, freezer: Freezer, tmp_path: Path
) -> None:
    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "app").write_text("built")
        return {}

    entry = store.make("0" * 64, build)
    store.restore(entry, "app", tmp_path / "dist" / "app")
    part = store.part(entry, "app")
    one = replace(made("app", tmp_path / "dist" / "app"), stored=part.path)
    (tmp_path / "dist" / "app").write_text("swapped")
    assert freezer.freeze(one).path == entry.path / "app"
    assert part.digest == "sha256:" + hashlib.sha256(b"built").hexdigest()


def test_what_an_ordinary_user_starts_by_its_path_is_copied_to_where_it_can_be_reached(
    store: Store, tmp_path: Path
) -> None:
    """The engine `native` under root: the store is closed to the user that cells run as."""

    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "app").write_text("built")
        (work / "out" / "app").chmod(0o755)
        return {}

    stored = store.make("0" * 64, build).path / "app"
    one = Made("app", "file", tmp_path / "nowhere", {}, stored=stored, sha256=digest(stored), mode=0o755)
    with ExitStack() as stack:
        frozen = Freezer(store, stack, reachable=True).freeze(one)
        assert frozen.path.read_text() == "built" and not frozen.path.is_relative_to(store.root)
        inside = frozen.path.parents[1]
        assert [path.stat().st_mode & 0o777 for path in (frozen.path, frozen.path.parent, inside)] == [0o755] * 3
    assert not inside.exists()


@pytest.mark.parametrize(
    "change",
    [
        "a byte",
        "a mode",
        "a file more",
        "a file less",
        "a link for a file",
        "another target",
        "a mode of a folder",
    ],
)
def test_any_change_of_a_folder_is_seen(freezer: Freezer, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "tool"
    (folder / "lib").mkdir(parents=True)
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "lib" / "x.so").write_text("library")
    (folder / "lib" / "x").symlink_to("x.so")
    one = made("tool", folder)
    match change:
        case "a byte":
            (folder / "lib" / "x.so").write_text("librarz")
        case "a mode":
            (folder / "tool").chmod(0o600)
        case "a file more":
            (folder / "lib" / "y.so").touch()
        case "a file less":
            (folder / "lib" / "x.so").unlink()
        case "a link for a file":
            (folder / "lib" / "x.so").unlink()
            (folder / "lib" / "x.so").symlink_to("/etc/passwd")
        case "another target":
            (folder / "lib" / "x").unlink()
            (folder / "lib" / "x").symlink_to("/etc/passwd")
        case _:
            (folder / "lib").chmod(0o700)
    with pytest.raises(UnmetError, match="tool was changed during this run"):
        freezer.freeze(one)


def test_a_device_or_pipe_in_a_folder_is_not_opened(freezer: Freezer, tmp_path: Path) -> None:
    folder = tmp_path / "tool"
    folder.mkdir()
    (folder / "tool").write_text("#!/bin/sh\n")
    one = made("tool", folder)
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnmetError, match="pipe: is neither a file, a folder nor a link"):
        freezer.freeze(one)


def test_a_copy_has_no_set_user_id_bit(freezer: Freezer, tmp_path: Path) -> None:
    """It would be a program of whoever runs the kit."""
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o6755)
    assert file_mode(freezer.freeze(made("tool", path)).path) == 0o755


def installed(tmp_path: Path) -> Made:
    """A wheelhouse that another machine built, with the interpreter that installs it."""
    for name in ("wheels", "python/bin", "python/lib/python3.13/site-packages"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "wheels" / "app.whl").write_text("a wheel")
    (tmp_path / "python" / "bin" / "python3").write_text("an interpreter")
    return Made(
        "house",
        "wheelhouse",
        tmp_path / "wheels",
        {"distribution": "app", "script": "app", "entry_point": None},
        tmp_path / "python",
        digest(tmp_path / "python"),
        tmp_path / "wheels",
        digest(tmp_path / "wheels"),
        sha256=digest(tmp_path / "wheels"),
    )


@pytest.mark.parametrize(
    ("file", "what"), [("wheels/app.whl", "house"), ("python/bin/python3", "the interpreter of house")]
)
def test_what_an_install_takes_is_held_too(freezer: Freezer, tmp_path: Path, file: str, what: str) -> None:
    one = installed(tmp_path)
    (tmp_path / file).write_text("something else")
    with pytest.raises(UnmetError, match=f"^Error: {what} was changed during"):
        freezer.freeze(one)


def test_an_install_is_made_from_copies(freezer: Freezer, tmp_path: Path) -> None:
    one = installed(tmp_path)
    frozen = freezer.freeze(one)
    assert frozen.interpreter != one.interpreter and frozen.path != one.path
    assert frozen.interpreter and (frozen.interpreter / "bin" / "python3").read_text() == "an interpreter"


@pytest.mark.parametrize("file", ["wheels/app.whl", "python/bin/python3"])
def test_what_a_benchmark_compares_is_held_too(freezer: Freezer, tmp_path: Path, file: str) -> None:
    one = installed(tmp_path)
    (tmp_path / file).write_text("something else")
    shop = Workshop(None, None, None, tmp_path, freezer)  # type: ignore[arg-type]
    built = Built(None, None, None, {"house": one}, (), {})  # type: ignore[arg-type]
    with pytest.raises(UnmetError, match="was changed during this run"):
        pairings(shop, built, ("--help",))
