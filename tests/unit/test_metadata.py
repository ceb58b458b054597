"""build/metadata.py: what is installed is held against what its metadata asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.formats import app_entry
from tests.unit.build_scripts import script as load

metadata = load("metadata")
Installed = metadata.Installed
ENVIRONMENT = {"python_version": "3.13", "python_full_version": "3.13.5", "sys_platform": "linux"}


def unmet(*there: object, extras: tuple[str, ...] = ()) -> dict[str, list[str]]:
    found: dict[str, list[str]] = metadata.unmet(there, {"app": extras}, ENVIRONMENT)
    return found


def app(*requires: str, python: str | None = None) -> object:
    return Installed("app", "1.0", requires, python)


SIX = Installed("six", "1.16.0")


def test_all_that_is_asked_for_is_there() -> None:
    assert unmet(app("six>=1.10", "SIX", "six[extra-that-nobody-has] ~= 1.16"), SIX) == {}


def test_what_is_missing_and_what_conflicts_is_named() -> None:
    assert unmet(app("six<1", "attrs>=2 ; python_version >= '3'"), SIX) == {
        "six": ["app 1.0 asks for six<1, but six 1.16.0 is installed"],
        "attrs": ["app 1.0 asks for attrs>=2, which is not installed"],
    }


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("python_full_version >= '3.13.1'", True),
        ("python_full_version >= '3.13.6'", False),
        ("sys_platform == 'win32'", False),
        ("sys_platform == 'linux' and extra == 'no'", False),
        ("sys_platform == 'linux' or extra == 'no'", True),
        ("extra == 'no'", False),
    ],
)
def test_a_marker_is_read_with_the_interpreter_that_is_carried(marker: str, holds: bool) -> None:
    assert bool(unmet(app(f"gone ; {marker}"))) is holds


def test_extras_are_followed_through_the_whole_graph() -> None:
    mine = app("palette[colour] ; extra == 'all'")
    palette = Installed("palette", "2", ("colorama==0.4.6 ; extra == 'colour'", "palette[other] ; extra == 'colour'"))
    assert unmet(mine, palette) == {}
    assert unmet(mine, palette, extras=("all",)) == {
        "colorama": ["palette[colour] 2 asks for colorama==0.4.6, which is not installed"]
    }
    assert unmet(mine, palette, Installed("colorama", "0.4.6"), extras=("all",)) == {}
    assert "colorama" in unmet(mine, palette, Installed("colorama", "0.4.5"), extras=("All",))


@pytest.mark.parametrize("asked", ["my-extra", "my_extra", "My.Extra"])
@pytest.mark.parametrize("written", ["my-extra", "my_extra"])
def test_an_extra_has_one_name_however_it_is_written(asked: str, written: str) -> None:
    assert unmet(app(f"gone ; extra == '{written}'"), extras=(asked,)) != {}


def test_what_nothing_leads_to_is_looked_at_too() -> None:
    assert unmet(app(), Installed("plugin", "1", ("gone",))) == {
        "gone": ["plugin 1 asks for gone, which is not installed"]
    }


def test_the_python_of_each_distribution() -> None:
    assert unmet(app(python=">=3.13.6"))["python"] == ["app 1.0 is for Python >=3.13.6, and this is 3.13.5"]
    assert unmet(app(python=">=3.13.5")) == unmet(app(python="anything")) == {}


def test_prereleases_local_versions_and_addresses_fit() -> None:
    assert unmet(app("a>=1"), Installed("a", "2.0.dev1")) == {}
    assert unmet(app("a==2.0"), Installed("a", "2.0+local")) == {}
    assert unmet(app("a @ https://example.invalid/a-1.zip"), Installed("a", "1")) == {}
    assert "a" in unmet(app("a @ git+https://example.invalid/a"))


def test_what_nobody_can_read_is_passed_over() -> None:
    assert unmet(app("six (>=1.10)", "???", "six>dev", ""), SIX) == {}
    assert unmet(app("old>=1"), Installed("old", "2004d-final!")) == {}
    assert unmet(app("x ; platform_version ~= '1'", "x ; os_name ~= 'a' and extra == 'more'")) == {}


@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=9), st.text(max_size=9))
def test_metadata_is_foreign_and_never_a_traceback(requires: list[str], version: str, extra: str) -> None:
    metadata.unmet([Installed("app", version, tuple(requires), version)], {"app": [extra]})


def info(site: Path, name: str, *lines: str) -> None:
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    text = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines])
    (folder / "METADATA").write_text(text)


def test_an_installation_ends_with_all_that_does_not_fit_in_one_line(tmp_path: Path) -> None:
    info(
        tmp_path,
        "my_app",
        "Requires-Dist: one",
        "Requires-Dist: two>1 ; extra == 'x'",
        "Requires-Dist: three",
    )
    info(tmp_path, "three", "Requires-Dist: my-app>=2")
    with pytest.raises(SystemExit) as ended:
        metadata.check(tmp_path, {"My.App": ["x"]})
    assert str(ended.value) == (
        f"{metadata.MARK}: three 1.0 asks for my-app>=2, but my_app 1.0 is installed; "
        "my_app 1.0 asks for one, which is not installed; my_app[x] 1.0 asks for two>1, which is not installed"
    )
    hint = app_entry.hint(str(ended.value))
    assert hint.endswith("wheels: {unmet: [my-app, one, two]}")
    metadata.check(tmp_path, {"my-app": ["x"]}, ["one", "TWO", "my_app"])


def test_another_failure_has_no_such_hint() -> None:
    assert app_entry.hint("gcc: asks for nothing") == ""
