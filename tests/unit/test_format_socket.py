"""A format is one module: nobody else knows its name or its keys, and what it says of itself is all that is needed."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from py_portable.config import Artifact, Config, ImageSpec
from py_portable.errors import ConfigError
from py_portable.formats import FORMATS, House, Made, Parent, Start, parse_config
from py_portable.formats.format import FOLDER, Format
from py_portable.images import Image
from py_portable.lock.lockfile import Lock
from py_portable.plan.assemble import assemble, houses
from py_portable.plan.baselines import jobs
from py_portable.plan.expected import expects
from py_portable.plan.ground import interpreter_pins
from py_portable.plan.matrix import matrix
from py_portable.plan.selection import Selection, narrow
from py_portable.steps.graph import Step, key, ordered
from tests.integration.toy_formats import Options, Packed, Toy
from tests.unit.test_plan import CONFIG, LOCK
from tests.unit.written import written

KIT = tuple(FORMATS)
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "py_portable"
ORDINARY: dict[str, set[str]] = {
    # A program, kinds of things in folders and archives, schemes of addresses, columns of tables, names of keys.
    "file": {
        *("base/shape.py", "cli/config.py", "cli/publish.py", "cli/report.py", "evidence/typed.py"),
        *("doctor/machine.py", "doctor/needs.py"),
        *(
            "engines/committed.py",
            "engines/engine.py",
            "engines/written.py",
            "images/layers/apply.py",
            "images/layers/tar.py",
        ),
        *("lock/addressed.py", "lock/direct.py"),
        *("lock/index/files.py", "lock/index/git.py", "lock/lockfile.py", "project/session.py", "report/summary.py"),
        *("store/copying.py", "store/manifest.py", "store/restore.py", "store/store.py", "store/walk.py"),
        *("wheels/making.py", "wheels/rows.py"),
    },
    # A kind of source of apt.
    "deb": {"images/debian/apt.py"},
    # The program of that name, and its folders.
    "rpm": set(),
    # The program of that name.
    "apk": {"images/adding/additions.py"},
    # The kit's own, which GitLab's jobs bring along.
    "bundle": {"ci/gitlab/template.py"},
    # The project of that name.
    "wheel": {"lock/declared.py", "lock/resolve.py", "wheels/making.py", "wheels/nodes.py"},
    # What an artifact's cells take beside it, and the kind of its node.
    "wheelhouse": {
        *("project/as_made.py", "project/building.py", "project/handover.py", "prove/frozen.py"),
        *("wheels/making.py", "wheels/rows.py"),
    },
}
"""Names of formats that are words of other things, too, and where those stand."""


def elsewhere() -> Iterator[tuple[str, str]]:
    """All modules but those of formats, and the scripts that run inside images."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(("formats/", "resources/")):
            yield name, path.read_text("utf-8")


def test_no_module_outside_knows_a_format_by_its_name() -> None:
    own = [name for name in KIT if name not in ORDINARY]
    assert len(own) >= 3
    found = [(name, word) for name, text in elsewhere() for word in own if re.search(rf"\b{word}\b", text.lower())]
    assert found == []


def test_words_that_are_formats_too_mean_something_else_where_they_stand() -> None:
    seen: dict[str, set[str]] = {word: set() for word in ORDINARY}
    for name, text in elsewhere():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and node.value in ORDINARY:
                seen[node.value].add(name)
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                of_format = [one for one in sides if isinstance(one, ast.Attribute) and one.attr == "format"]
                assert not (of_format and any(isinstance(one, ast.Constant) for one in sides)), name
    assert seen == ORDINARY


def test_no_module_outside_looks_into_the_options_of_an_artifact() -> None:
    looks = re.compile(r"\b(?:artifact|made|one)\.options[.\[]")
    assert [name for name, text in elsewhere() if looks.search(text)] == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_page(name: str) -> None:
    assert (ROOT / "docs" / "formats" / f"{name}.md").read_text("utf-8").startswith(f"# `{name}`\n")


# ----------------------------------------------------------------------------------------- formats of somebody else


@dataclass
class Asked:
    artifact: str
    house: House | None
    parent: Parent | None


class Planned(Format):
    def start(self, made: Made, image: Image | None = None) -> Start:
        raise AssertionError("plans start nothing")


class Wrapped(Planned):
    """Made from any folder, with a static program that is compiled in the baseline."""

    name = "wrapped"
    summary = "A folder with something around it."
    made_from = (FOLDER,)
    interpreter = "none"

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def steps(self, artifact: Any, house: House | None, parent: Parent | None = None) -> tuple[Step, ...]:
        assert parent is not None and house is not None
        self.asked.append(Asked(artifact.name, house, parent))
        return (Step(f"artifact {artifact.name}", wrap, needs=(parent.node,), image=house.bare),)


class OfSystem(Planned):
    name = "of-system"
    summary = "With the Python of its distribution."
    interpreter = "system"

    def steps(self, artifact: Any, house: House | None, parent: Parent | None = None) -> tuple[Step, ...]:
        assert house is not None
        return (Step(f"artifact {artifact.name}", wrap, needs=(house.interpreter,), image=house.image),)


def wrap(ctx: object) -> None:
    raise AssertionError("plans run nothing")


@pytest.fixture(autouse=True)
def more(monkeypatch: pytest.MonkeyPatch) -> Wrapped:
    wrapped = Wrapped()
    for one in (Toy(), Packed(), wrapped, OfSystem()):
        monkeypatch.setitem(FORMATS, one.name, one)
    return wrapped


def config(base: Path, artifacts: Any, **changes: Any) -> Config:
    (base / "app").mkdir(exist_ok=True)
    (base / "app" / "pyproject.toml").write_text('[project]\nname = "My.App"\nversion = "1"\n')
    told = CONFIG | {"artifacts": artifacts} | changes
    return parse_config(json.dumps(told, indent=1).encode(), "portable.yaml", base)


def said(base: Path, artifacts: Any, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(base, artifacts, **changes)
    return caught.value.render()


def line(base: Path, text: str, artifacts: Any) -> int:
    """Where a text stands in the file that `config` writes."""
    lines = json.dumps(CONFIG | {"artifacts": artifacts}, indent=1).splitlines()
    (found,) = (number for number, one in enumerate(lines, 1) if text in one)
    return found


def test_keys_of_a_format_are_typed_and_have_their_defaults(tmp_path: Path) -> None:
    made = config(tmp_path, {"a": {"format": "toy", "word": "x"}, "b": {"format": "toy"}}).artifacts
    assert (made["a"].options, made["b"].options) == (Options("x"), Options("hello", ()))
    assert (made["a"].baseline, made["a"].python) == (None, None)
    assert config(tmp_path, ["toy"]).artifacts["toy"].options == Options()


def test_what_is_wrong_with_a_key_of_a_format_is_told_where_it_stands(tmp_path: Path) -> None:
    artifacts = {"a": {"format": "toy", "wrod": "x"}, "b": {"format": "toy", "word": 7}}
    told = said(tmp_path, artifacts)
    assert (
        f'portable.yaml:{line(tmp_path, "wrod", artifacts)}:4: artifacts.a.wrod: unknown key; did you mean "word"?'
        in told
    )
    assert "artifacts.b.word: expected text" in told
    artifacts = {"a": {"format": "toy", "word": "bad"}}
    told = said(tmp_path, artifacts)
    assert f"portable.yaml:{line(tmp_path, 'bad', artifacts)}:12: artifacts.a.word: is no word for a toy" in told


@pytest.mark.parametrize(
    ("artifacts", "message"),
    [
        ({"a": {"format": "wrapped"}}, 'artifacts.a: the key "from" is missing'),
        (["wrapped"], 'the format "wrapped" needs "from", so it cannot be in a list of plain names'),
        (
            {"folder": {"format": "toy"}, "a": {"format": "wrapped", "from": "foldr"}},
            'artifacts.a.from: there is no artifact "foldr"; did you mean "folder"?',
        ),
        (
            {"wheels": {"format": "wheelhouse"}, "a": {"format": "wrapped", "from": "wheels"}},
            "artifacts.a.from: wrapped is made from nuitka-standalone, bundle, pyoxidizer, file, toy, but \"wheels\" is wheelhouse",
        ),
        (
            {"a": {"format": "wrapped", "from": "b"}, "b": {"format": "wrapped", "from": "a"}},
            "artifacts.a.from: the artifact is made from itself: a from b from a",
        ),
    ],
)  # fmt: skip
def test_what_an_artifact_is_made_from_has_to_be_there_and_to_fit(tmp_path: Path, artifacts: Any, message: str) -> None:
    assert message in said(tmp_path, artifacts)


def test_an_artifact_that_is_made_from_another_gets_its_node_and_nothing_is_planned_twice(
    tmp_path: Path, more: Wrapped
) -> None:
    artifacts = {"box": {"format": "wrapped", "from": "folder"}, "folder": {"format": "nuitka-standalone"}}
    told = config(tmp_path, artifacts)
    assert (told.artifacts["box"].baseline, told.artifacts["box"].python) == ("default", "3.13")
    # The one is made where the other is.
    assert [job.artifacts for job in jobs(told)] == [("folder", "box")]
    plan = written(assemble(told, LOCK))
    (asked,) = more.asked
    assert asked.parent and (asked.parent.artifact.name, str(asked.parent.node)) == ("folder", "artifact folder")
    assert asked.house and str(asked.house.bare) == "baseline default without packages"
    assert [one.name for one in ordered(plan.nodes, ["artifact box"])].count("artifact folder") == 1
    alone = written(narrow(assemble(told, LOCK), Selection(("box",))))
    assert (
        alone.artifacts == {"box": "artifact box"} and alone.nodes["artifact folder"] == plan.nodes["artifact folder"]
    )
    # The folder is the one that a control is made of, though another is made from it.
    assert [(control.artifact, control.format) for control in plan.controls] == [("folder", "nuitka-standalone")]


def test_one_artifact_stands_for_several_and_each_has_images_and_expectations_of_its_own(tmp_path: Path) -> None:
    artifacts = {"all": {"format": "toy", "releases": ["debian:11", "debian:13"]}}
    told = config(tmp_path, artifacts)
    assert list(told.artifacts) == ["all-1", "all-2"]
    assert told.where(("artifacts", "all-2", "word")).split(":")[1] == str(line(tmp_path, '"all"', artifacts))
    cells = written(narrow(assemble(told, LOCK), Selection(probes=(), controls=False))).cells
    assert {(cell.artifact, cell.image): cell.expect for cell in cells} == {
        ("all-1", "debian:11"): "pass",
        ("all-1", "debian:13"): "fail:loader",
        ("all-2", "debian:11"): "fail:loader",
        ("all-2", "debian:13"): "pass",
    }


class OfImages(Toy):
    def fan_out(self, name: str, mapping: Any) -> Any:
        return {f"{name}-{one}": {**mapping, "images": [one]} for one in mapping["releases"]}


def test_a_fanned_out_artifact_may_be_started_on_some_images_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "toy", OfImages())
    told = config(tmp_path, {"all": {"format": "toy", "releases": ["debian:11", "debian:13"]}})
    cells = written(narrow(assemble(told, LOCK), Selection(probes=(), controls=False))).cells
    assert [(cell.artifact, cell.image) for cell in cells] == [
        ("all-debian:11", "debian:11"),
        ("all-debian:13", "debian:13"),
    ]


def test_a_name_that_two_artifacts_come_to_is_told(tmp_path: Path) -> None:
    artifacts = {"all-1": {"format": "toy"}, "all": {"format": "toy", "releases": ["debian:11"]}}
    told = said(tmp_path, artifacts)
    assert "artifacts.all-1: this name is reserved: artifacts.all makes an artifact with this name" in told


# -------------------------------------------------------------------------------------------------- expectations


def test_what_an_artifact_says_it_expects_goes_before_its_format_and_that_before_the_image(tmp_path: Path) -> None:
    toy: dict[str, Any] = {"format": "toy", "releases": ["debian:11"]}
    images = {"portability": {"images": ["debian:11", {"image": "debian:bullseye-slim", "expect": "fail:musl"}]}}
    image = ImageSpec("debian:11"), ImageSpec("debian:bullseye-slim", expect="fail:musl")

    def expected(**changes: Any) -> list[str]:
        made = config(tmp_path, {"all": toy | changes}, **images).artifacts["all-1"]
        return [expects(made, spec) for spec in image]

    assert expected() == ["pass", "fail:loader"]
    assert expected(expect={"debian:bullseye": "fail:exit"}) == ["fail:exit", "fail:loader"]
    plain = config(tmp_path, ["toy"], **images).artifacts["toy"]
    assert [expects(plain, spec) for spec in image] == ["pass", "fail:musl"]


def test_what_is_expected_under_a_probe_counts_where_the_artifact_starts(tmp_path: Path) -> None:
    images = ["debian:11", {"image": "debian:12", "expect": "fail:glibc"}]
    portability = {"images": images, "probes": ["read-only", "no-home"]}
    told = {"a": {"format": "bundle", "expect": {"read-only": "fail:room"}}}
    made = config(tmp_path, told, portability=portability)
    expected = {(cell.image, cell.condition): cell.expect for cell in matrix(made, ())}
    assert expected == {
        ("debian:11", "plain"): "pass",
        ("debian:11", "read-only"): "fail:room",
        ("debian:11", "no-home"): "pass",
        **{("debian:12", condition): "fail:glibc" for condition in ("plain", "read-only", "no-home")},
    }
    # Whether the probe comes from the config or from the command line.
    part = narrow(assemble(made, LOCK), Selection(probes=("read-only",)))
    assert {(cell.image, cell.condition): cell.expect for cell in part.cells} == {
        key: value for key, value in expected.items() if key[1] != "no-home"
    }
    assert 'there is no image "read-onyl"' in said(
        tmp_path, {"a": {"format": "bundle", "expect": {"read-onyl": "pass"}}}
    )


def test_what_is_expected_is_a_reason_on_an_image_of_the_matrix(tmp_path: Path) -> None:
    told = said(tmp_path, {"a": {"format": "bundle", "expect": {"debian:12": "pass"}}})
    assert 'artifacts.a.expect."debian:12": there is no image "debian:12"' in told
    told = said(tmp_path, {"a": {"format": "bundle", "expect": {"debian:11": "fail:glbc"}}})
    assert 'did you mean "fail:glibc"?' in told


# -------------------------------------------------------------------------------------------- whose interpreter

ASKED: list[Asked] = []


def test_an_artifact_may_have_an_interpreter_of_another_provider(tmp_path: Path) -> None:
    artifacts = {"one": {"format": "bundle"}, "two": {"format": "bundle", "interpreter": {"provider": "system"}}}
    told = config(tmp_path, artifacts)
    assert houses(told) == [("default", "3.13")]
    plan = written(assemble(told, LOCK))
    made = {name: {one.name for one in ordered(plan.nodes, [f"artifact {name}"])} for name in artifacts}
    assert "interpreter 3.13 (default)" in made["one"] and "wheelhouse 3.13 (default)" in made["one"]
    assert "interpreter 3.13 (default, system)" in made["two"]
    assert "wheelhouse 3.13 (default, system)" in made["two"]
    assert not [name for name in made["two"] if name.endswith("(default)") and not name.startswith("tools")]
    assert plan.nodes["baseline default"].needs == ("compilers", "cpython", "system-python")  # type: ignore[union-attr]
    # What the other artifact is made of is the same as without it.
    alone = written(assemble(config(tmp_path, {"one": artifacts["one"]}), LOCK))
    digests = {name: name for name in plan.nodes}
    for name in made["one"]:
        step, same = plan.nodes[name], alone.nodes[name]
        if isinstance(step, Step) and isinstance(same, Step):
            assert key(step, digests, epoch=0) == key(same, digests, epoch=0), name


def test_a_format_may_take_the_interpreter_of_the_distribution_and_no_other(tmp_path: Path) -> None:
    told = config(tmp_path, {"one": {"format": "of-system"}})
    assert told.artifacts["one"].interpreter.provider == "system"
    assert interpreter_pins(told) == {} and "interpreter 3.13 (default)" in written(assemble(told, LOCK)).nodes
    assert "unknown key" in said(tmp_path, {"one": {"format": "of-system", "interpreter": {"provider": "source"}}})


def test_what_is_said_of_an_interpreter_has_to_fit(tmp_path: Path) -> None:
    optimized = {"provider": "system", "optimize": True}
    assert "artifacts.a.interpreter.optimize: only an interpreter that is compiled here can be optimized" in said(
        tmp_path, {"a": {"format": "bundle", "interpreter": optimized}}
    )
    told = said(tmp_path, {"a": {"format": "bundle", "interpreter": {"provider": "standalone"}}})
    assert "an artifact asks for Python 3.13, but no archive is named for it" in told
    assert (
        'artifacts.a.interpreter: this artifact has the interpreter of "w", from which it is made: set it there'
        in said(
            tmp_path,
            {
                "w": {"format": "wheelhouse"},
                "a": {"format": "bundle", "from": "w", "interpreter": {"provider": "system"}},
            },
        )
    )
    libraries = {"default": {"image": "debian:11", "libraries": ["openssl"]}}
    assert "artifacts.a.interpreter: the baseline default has libraries" in said(
        tmp_path, {"a": {"format": "bundle", "interpreter": {"provider": "system"}}}, baselines=libraries
    )


class Both(Toy):
    """Built for a further Python."""

    name = "both"
    interpreter = "any"

    def pythons(self, artifact: Artifact) -> tuple[str, ...]:
        return ("3.11",)

    def steps(self, artifact: Artifact, house: House | None, parent: Parent | None = None) -> tuple[Step, ...]:
        ASKED.append(Asked(artifact.name, house, parent))
        return super().steps(artifact, house, parent)


def test_a_format_may_be_built_for_several_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "both", Both())
    told = config(tmp_path, {"one": {"format": "both"}, "two": {"format": "bundle", "python": "3.11"}})
    assert houses(told) == [("default", "3.13"), ("default", "3.11")]
    assert {"cpython 3.11", "cpython 3.13"} <= set(interpreter_pins(told))
    lock = LOCK.with_house("default/3.11", LOCK.houses["default/3.13"])
    ASKED.clear()
    plan = written(assemble(told, lock))
    house = ASKED[0].house
    assert house is not None
    assert [str(one.wheelhouse) for one in (house, *house.others)] == [
        *("wheelhouse 3.13 (default)", "wheelhouse 3.11 (default)")
    ]
    assert [one.place.python for one in house.others] == ["3.11"]
    # What an artifact of that Python is made of is there once.
    assert [str(name) for name in plan.nodes].count("wheelhouse 3.11 (default)") == 1
    assert "wheelhouse 3.11 (default)" in {str(one.name) for one in ordered(plan.nodes, ["artifact two"])}


def test_pins_of_a_format_are_in_the_lock_of_who_has_it_and_of_nobody_else(tmp_path: Path) -> None:
    assert interpreter_pins(config(tmp_path, ["toy"])) == {"toy maker": "1.0 sha256:0"}
    assert "toy maker" not in interpreter_pins(config(tmp_path, ["wheelhouse"]))
    assert written(assemble(config(tmp_path, ["toy"]), Lock())).artifacts == {"toy": "artifact toy"}
