"""Which code enters the key of a step: what its action imports, and no more."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.steps import closure
from py_portable.steps.graph import code, decides

EVERY = {"steps.context", "steps.graph", "steps.identity", "steps.output", "base.file_modes"}
ELF = {
    "inspect.elf",
    "inspect.elf.floor",
    "inspect.elf.members",
    "inspect.elf.reader",
    "inspect.elf.symbols",
    "inspect.elf.view",
}
READS_ELF = ELF - {"inspect.elf"}
FORMAT = {"formats.app_entry"}
PACKAGES = {
    *(f"formats.system_packages.{name}" for name in ("about", "documents", "gz", "nfpm", "packing")),
    *(f"formats.system_packages.{name}" for name in ("package_options", "package_rules", "wheel_metadata")),
    *(f"formats.system_packages.{name}" for name in ("asking", "completions", "help_text", "man_page", "pages")),
    *("base.zips", "base.tarball"),
    *("formats.onefile", "formats.runtime", "formats.runtime.packer", "wheels.tools"),
}
LINTS = {"formats.system_packages.lint_tools"}
DEBS = LINTS | ELF | {"formats.deb_file", "formats.deb_install", "formats.foreign_package", "base.tarball"}
ASKS = {
    *("formats.system_packages.completions", "formats.system_packages.help_text"),
    *("formats.onefile", "formats.runtime", "formats.runtime.packer"),
}
PROVIDER = {"interpreters.provider"}
UNPACKS = {"base.tarball", "base.untar"}
WHEELS = {"wheels.given", "wheels.app_source", "wheels.tracked", "base.zips", "base.tarball"}
CHECKS = {"inspect.wheel_check", "inspect.wheel", "inspect.wheel_tags"}
PUBLISHES = {
    "wheels.cibuildwheel",
    "wheels.cibuildwheel_engine",
    "wheels.published",
    "wheels.sdist",
    "wheels.twine",
    "base.untar",
}
# A wider set here makes more be built again, for everybody, when that code changes: is it meant?
ACTIONS = {
    "formats.appimage": {
        *("formats.appdir", "formats.onefile", "formats.runtime.squashfs"),
        *("formats.runtime", "formats.runtime.packer", "formats.runtime.squash_packer"),
        *("formats.public_runtime", "wheels.tools"),
    },
    "formats.bundle": FORMAT | ELF | UNPACKS | {"formats.folder_archive"},
    "formats.apk": PACKAGES | ELF | {f"formats.system_packages.{name}" for name in ("apk_archive", "apk_rules")},
    "formats.dh_virtualenv": FORMAT | PACKAGES | DEBS | {"formats.system_packages.debian_source"},
    "formats.rpm": PACKAGES | LINTS | {"formats.system_packages.rpm_header", "formats.system_packages.rpm_manager"},
    "formats.deb": PACKAGES | DEBS | {"formats.system_packages.deb_archive", "formats.system_packages.xz"},
    "formats.system_packages.asking": ASKS,
    "formats.file": ELF
    | {"base.tarball", "formats.deb_file", "formats.rpm_file", "formats.foreign_package"}
    | {"formats.package_install", "formats.system_packages.rpm_header", "formats.system_packages.rpm_manager"},
    "formats.nuitka": FORMAT | ELF | {"formats.compilers"},
    "formats.onefile": {"formats.runtime", "formats.runtime.packer"},
    "formats.pex": FORMAT | {"wheels.tools"},
    "formats.pyoxidizer": FORMAT | ELF | {"formats.rust", "wheels.tools"},
    "formats.wheel": FORMAT | READS_ELF | WHEELS | CHECKS | PUBLISHES | {"formats.installed", "wheels.nodes"},
    "formats.wheelhouse": FORMAT | WHEELS | {"formats.installed"},
    "interpreters.manylinux": PROVIDER | ELF | {"interpreters.settle"},
    "interpreters.source": PROVIDER | {"interpreters.libraries", "interpreters.pins"},
    "interpreters.standalone": PROVIDER | ELF | UNPACKS | {"interpreters.settle", "interpreters.archives"},
    "interpreters.system": PROVIDER | ELF | {"interpreters.settle"},
    "interpreters.libraries": {"interpreters.pins"},
    "wheels.published": READS_ELF | WHEELS | CHECKS | PUBLISHES | {"wheels.nodes"},
    "wheels.making": READS_ELF
    | WHEELS
    | CHECKS
    | {"interpreters.libraries", "interpreters.pins", "wheels.lacking", "wheels.nodes"},
    "wheels.tools": set[str](),
}


def module(name: str) -> str:
    return f"py_portable.{name}"


def with_actions() -> set[str]:
    """The modules that make steps."""
    sources = {path: path.read_text() for path in closure.PACKAGE.rglob("*.py")}
    found = (path for path, text in sources.items() if re.search(r"\bStep\(\s", text) and "action=" in text)
    return {path.relative_to(closure.PACKAGE).as_posix().removesuffix(".py").replace("/", ".") for path in found}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package, to be changed."""
    place = tmp_path / "py_portable"
    shutil.copytree(closure.PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))
    with monkeypatch.context() as patch:
        patch.setattr(closure, "PACKAGE", place)
        yield place
    closure.forget()


def codes() -> dict[str, str]:
    closure.forget()
    return {name: closure.sha256(module(name), counts=decides) for name in ACTIONS}


def test_the_code_of_every_action_is_known() -> None:
    assert with_actions() == set(ACTIONS)


@pytest.mark.parametrize("name", ACTIONS)
def test_what_enters_the_keys_of_a_module_is_seen_here(name: str) -> None:
    found = {one.removeprefix("py_portable.") for one in closure.modules(module(name), decides)}
    assert found == EVERY | ACTIONS[name] | {name}


@pytest.mark.parametrize(
    ("changed", "made_again"),
    [
        ("formats/bundle.py", {"formats.bundle"}),
        ("formats/folder_archive.py", {"formats.bundle"}),
        ("formats/compilers.py", {"formats.nuitka"}),
        ("formats/__init__.py", set()),
        ("formats/format.py", set()),
        ("interpreters/__init__.py", set()),
        ("interpreters/standalone.py", {"interpreters.standalone"}),
        ("wheels/lacking.py", {"wheels.making"}),
        ("interpreters/libraries.py", {"interpreters.libraries", "interpreters.source", "wheels.making"}),
        ("steps/context.py", set(ACTIONS)),
        ("base/file_modes.py", set(ACTIONS)),
        ("store/store.py", set()),
        ("engines/bubblewrap.py", set()),
        ("images/find.py", set()),
        ("report/text.py", set()),
    ],
)
def test_a_change_makes_again_what_it_can_be_seen_in(copy: Path, changed: str, made_again: set[str]) -> None:
    before = codes()
    with (copy / changed).open("a") as file:
        file.write("# changed\n")
    after = codes()
    assert {name for name in ACTIONS if after[name] != before[name]} == made_again


def test_an_action_of_the_kit_has_the_digest_of_its_closure() -> None:
    from py_portable.interpreters.source import compile_source

    assert code(compile_source) == closure.sha256("py_portable.interpreters.source", counts=decides)
    assert code(lambda ctx: None) not in ("", code(compile_source))
