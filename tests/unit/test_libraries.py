"""Libraries of a baseline's own: their pins, and what a config that names them comes to. Nothing runs here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable import resources
from py_portable.base.fetch import Url
from py_portable.config import Config
from py_portable.config.schema import Schema
from py_portable.errors import ConfigError
from py_portable.formats import FORMATS, parse_config
from py_portable.images.debian.pool import DebianPool
from py_portable.images.packages import system_packages
from py_portable.interpreters import libraries
from py_portable.lock.lockfile import Lock, LockedFile, LockedHouse, LockedPackage
from py_portable.plan.assemble import Plan, assemble
from py_portable.plan.ground import interpreter_pins
from py_portable.steps.graph import Step, key
from tests.unit.written import written

NAME = "library openssl (default)"
ARTIFACTS = {
    "new": {"format": "wheelhouse"},
    "old": {"format": "wheelhouse", "python": "3.11"},
    "binary": {"format": "nuitka-onefile"},
}
SDIST = LockedPackage(LockedFile("b", "1.0", "b-1.0.tar.gz", "0" * 64, 1))
LOCK = Lock(houses={f"{b}/{p}": LockedHouse("x", (SDIST,)) for b in ("default", "new") for p in ("3.11", "3.13")})


def config(base: Path, **changes: Any) -> Config:
    (base / "app").mkdir(exist_ok=True)
    (base / "app" / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    told = {
        "version": 1,
        "app": {"source": "app"},
        "python": "3.13",
        "baselines": {"default": {"image": "debian:11", "libraries": ["openssl"]}},
        "artifacts": ARTIFACTS,
        **changes,
    }
    return parse_config(json.dumps(told).encode(), "portable.yaml", base)


def plain(base: Path) -> Config:
    return config(base, baselines={"default": {"image": "debian:11"}})


def step(plan: Plan, name: str) -> Step:
    found = plan.nodes[name]
    assert isinstance(found, Step)
    return found


def test_pins_are_whole() -> None:
    for name, library in libraries.known().items():
        pin = library.pin
        assert pin.version in pin.file_name
        assert len(pin.sha256) == 64 and pin.max_bytes > 1 << 20
        assert [type(source) for source in pin.sources] == [Url, DebianPool]
        assert library.name == name
        assert library.licence and library.configure
        assert set(library.after) <= set(libraries.known())
        for manager in ("apt", "dnf", "zypper", "apk"):
            assert system_packages(manager, library.needs)


def test_the_schema_knows_what_is_pinned_and_nothing_else() -> None:
    named = Schema(FORMATS).data["$defs"]["baseline"]["properties"]["libraries"]["items"]["enum"]
    assert sorted(named) == sorted(libraries.known())


def test_the_documentation_tells_the_versions() -> None:
    page = Path(__file__).parents[2] / "docs" / "libraries.md"
    for name, library in libraries.known().items():
        (row,) = (line for line in page.read_text().splitlines() if line.startswith(f"| `{name}` |"))
        assert f" {library.pin.version} " in row and f" {library.licence} " in row


def test_one_library_serves_all_houses_of_its_baseline(tmp_path: Path) -> None:
    plan = written(assemble(config(tmp_path), LOCK))
    made = [name for name in plan.nodes if name.startswith(("library ", "source openssl"))]
    assert sorted(made) == [NAME, f"source openssl-{libraries.known()['openssl'].pin.version}"]
    takers = {name for name, node in plan.nodes.items() if NAME in node.all_needs}
    assert takers == {
        f"{what} {python} (default)"
        for what in ("interpreter", "wheel b-1.0", "wheel of the app", "wheelhouse")
        for python in ("3.13", "3.11")
    }
    assert step(plan, NAME).image == "baseline default"
    assert step(plan, NAME).lane == "cores"
    assert step(plan, step(plan, NAME).needs[0]).lane == "io"
    assert not [name for name in step(plan, NAME).scripts if not resources.path(name).is_file()]


def test_each_baseline_has_its_own_and_those_that_name_none_have_none(tmp_path: Path) -> None:
    two = {"default": {"image": "debian:11"}, "new": {"image": "debian:12", "libraries": ["openssl"]}}
    artifacts = {"a": {"format": "wheelhouse"}, "b": {"format": "wheelhouse", "baseline": "new"}}
    plan = written(assemble(config(tmp_path, baselines=two, artifacts=artifacts), LOCK))
    assert [name for name in plan.nodes if name.startswith("library ")] == ["library openssl (new)"]
    assert "library openssl (new)" in step(plan, "interpreter 3.13 (new)").needs
    old = step(plan, "interpreter 3.13 (default)")
    assert not [need for need in old.needs if need.startswith("library ")]


def test_without_the_key_nothing_is_compiled_and_nothing_is_locked(tmp_path: Path) -> None:
    told = plain(tmp_path)
    assert not [name for name in written(assemble(told, LOCK)).nodes if "openssl" in name]
    assert not [name for name in interpreter_pins(told) if name.startswith("library")]


def test_the_key_makes_another_interpreter(tmp_path: Path) -> None:
    name = "interpreter 3.13 (default)"
    with_it, without = (step(written(assemble(told, LOCK)), name) for told in (config(tmp_path), plain(tmp_path)))
    digests = {need: need for need in with_it.all_needs}
    assert key(with_it, digests, epoch=0) != key(without, digests, epoch=0)


@pytest.mark.parametrize("changed", ["version", "configure", "make", "install", "licence"])
def test_what_the_table_says_decides_what_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    def keyed() -> str:
        made = step(written(assemble(config(tmp_path), LOCK)), NAME)
        return key(made, dict.fromkeys(made.all_needs, "same"), epoch=0)

    before, old = keyed(), libraries.known()["openssl"]
    other: dict[str, Any] = {"pin": replace(old.pin, version="9")} if changed == "version" else {}
    if changed == "licence":
        other = {"licence": "MIT"}
    new = replace(old, **(other or {changed: ("./other",)}))
    monkeypatch.setattr(libraries, "known", lambda: {"openssl": new})
    assert keyed() != before


def test_the_lock_pins_the_release(tmp_path: Path) -> None:
    pin = libraries.known()["openssl"].pin
    assert interpreter_pins(config(tmp_path))["library openssl"] == f"{pin.version} sha256:{pin.sha256}"


def test_a_library_comes_after_those_that_it_is_built_against(monkeypatch: pytest.MonkeyPatch) -> None:
    openssl = libraries.known()["openssl"]
    curl = replace(openssl, name="curl", after=("openssl",), needs=("compilers",))
    monkeypatch.setattr(libraries, "known", lambda: {"curl": curl, "openssl": openssl})
    assert [one.name for one in libraries.chosen(["curl"])] == ["openssl", "curl"]
    assert [one.name for one in libraries.chosen(["openssl", "curl"])] == ["openssl", "curl"]
    made = {str(one.name): one for one in libraries.steps(["curl"], baseline="old", image="image")}
    assert "library openssl (old)" in map(str, made["library curl (old)"].needs)
    assert tuple(map(str, libraries.nodes(["curl"], "old"))) == ("library openssl (old)", "library curl (old)")
    assert libraries.needs(["curl"]) == ("library-openssl", "compilers")


def said(base: Path, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(base, **changes)
    return caught.value.render()


def test_an_unknown_library_is_told_the_nearest(tmp_path: Path) -> None:
    shown = said(tmp_path, baselines={"default": {"image": "debian:11", "libraries": ["openss"]}})
    assert 'unknown: "openss"; did you mean "openssl"? known: ' in shown


def test_an_interpreter_made_elsewhere_takes_none(tmp_path: Path) -> None:
    shown = said(tmp_path, interpreter={"provider": "system"})
    assert "only an interpreter that is compiled here can use them, but the provider is system" in shown


def test_an_empty_list_is_no_library(tmp_path: Path) -> None:
    told = config(
        tmp_path,
        baselines={"default": {"image": "debian:11", "libraries": []}},
        interpreter={"provider": "system"},
        artifacts=["wheelhouse"],
    )
    assert told.baselines["default"].libraries == ()
