"""The talk between the sandbox in which packages run and the compilers beside it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from py_portable.engines.engine import Bind
from py_portable.engines.native import Native
from py_portable.formats import compilers, nuitka
from py_portable.steps.context import BuildFailed, Context, Environment
from py_portable.store import Store

Write = Callable[[Path, Path], None]


def context(tmp_path: Path) -> Context:
    work = tmp_path / "work"
    work.mkdir()
    env = Environment(Store(tmp_path / "store"), Native(), epoch=0, jobs=1)
    return Context(env, "artifact x", {}, {}, None, work, work / "log")


def run(tmp_path: Path, write: Write, compile_: Callable[[Context, Path], None]) -> Context:
    ctx = context(tmp_path)

    def writer(binds: tuple[Bind, ...]) -> None:
        asked, answered = binds
        assert asked.writable and not answered.writable
        write(asked.source, answered.source)

    compilers.beside(ctx, writer, compile_)
    return ctx


def ask(asked: Path, answered: Path, number: int = 1) -> str | None:
    """What the answer holds; None where there is none to come."""
    (asked / "part").write_text(f"request {number}")
    (asked / "part").rename(asked / f"{number}.tar")
    for _ in range(500):
        if (answered / str(number)).exists():
            return (answered / str(number) / "made").read_text()
        if (answered / f"{number}.failed").exists():
            return None
        time.sleep(0.01)
    raise AssertionError("no answer in 5 s")


def compiled(own: Context, archive: Path) -> None:
    own.log.write_text(f"compiling {archive.read_text()}\n")
    (own.out / "made").write_text(f"made of {archive.read_text()}")


def test_each_request_is_answered_and_its_log_kept(tmp_path: Path) -> None:
    seen: list[str | None] = []
    ctx = run(tmp_path, lambda a, b: seen.extend([ask(a, b), ask(a, b, 2)]), compiled)
    assert seen == ["made of request 1", "made of request 2"]
    assert ctx.log.read_text() == "compiling request 1\ncompiling request 2\n"


def test_a_writer_that_asks_nothing_is_not_waited_for(tmp_path: Path) -> None:
    run(tmp_path, lambda asked, answered: None, compiled)


def test_what_the_compiler_said_is_the_error(tmp_path: Path) -> None:
    def failing(own: Context, archive: Path) -> None:
        own.log.write_text("x.c:1: error\n")
        raise BuildFailed("the compiler failed")

    def write(asked: Path, answered: Path) -> None:
        assert ask(asked, answered) is None
        raise BuildFailed("Nuitka failed, since SCons did")

    with pytest.raises(BuildFailed, match="the compiler failed") as caught:
        run(tmp_path, write, failing)
    assert caught.value.log and caught.value.log.read_text() == "x.c:1: error\n"


def test_a_writer_that_fails_alone_is_the_error(tmp_path: Path) -> None:
    def write(asked: Path, answered: Path) -> None:
        ask(asked, answered)
        raise BuildFailed("Nuitka failed")

    with pytest.raises(BuildFailed, match="Nuitka failed"):
        run(tmp_path, write, compiled)


def test_who_asks_without_end_gets_an_end(tmp_path: Path) -> None:
    seen: list[str | None] = []

    def write(asked: Path, answered: Path) -> None:
        for number in range(1, compilers.MAX_REQUESTS + 2):
            seen.append(ask(asked, answered, number))

    run(tmp_path, write, compiled)
    assert seen[-1] is None and None not in seen[:-1]


def test_a_link_as_a_request_ends_both_sides(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")

    def write(asked: Path, answered: Path) -> None:
        (asked / "1.tar").symlink_to(tmp_path / "secret")
        while not (answered / "1.failed").exists():
            time.sleep(0.01)

    with pytest.raises(BuildFailed, match="is not a file"):
        run(tmp_path, write, compiled)
    assert "secret" not in "".join(
        p.read_text() for p in (tmp_path / "work").rglob("*") if p.is_file() and not p.is_symlink()
    )


def test_an_answer_on_another_file_system_comes_in_one_go(tmp_path: Path) -> None:
    """As in a container whose store is a volume: there the places of a build are on the container's own root."""
    own = tmp_path / "own"
    (own / "objects").mkdir(parents=True)
    (own / "objects/one.o").write_text("x")
    (own / "link").symlink_to("objects")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        assert Path(name).stat().st_dev != tmp_path.stat().st_dev
        compilers.hand_over(own, Path(name, "1"))
        assert Path(name, "1/objects/one.o").read_text() == "x" and Path(name, "1/link").is_symlink()
        assert [path.name for path in Path(name).iterdir()] == ["1"]
    assert not own.exists()


def test_the_compilers_of_two_apps_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes all cores; of the second one the cache has what is the same."""
    running: list[int] = []
    most: list[int] = []

    def sandbox(*_words: object, **_options: object) -> None:
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()

    def at_once(_ctx: object, _write: object, compile_: Callable[[Any, Path], None]) -> None:
        compile_(SimpleNamespace(sandbox=sandbox), Path("/asked.tar"))
        raise BuildFailed("enough")

    monkeypatch.setattr(nuitka.compilers, "beside", at_once)
    spec = {"distribution": "app", "args": [], "lto": True}
    ctx: Any = SimpleNamespace(
        need=lambda _name: SimpleNamespace(path=Path("/x")),
        params={"spec": spec, "env": {}},
        env=SimpleNamespace(pass_env={}),
    )
    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(nuitka.compile_app, ctx) for _ in range(3)]
    assert all(isinstance(one.exception(), BuildFailed) for one in made)
    assert most == [1, 1, 1]
