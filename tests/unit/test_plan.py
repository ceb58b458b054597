"""Plans: what keys depend on, and which nodes a config comes to. Nothing runs here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable import resources
from py_portable.config import Artifact, Config
from py_portable.errors import ConfigError
from py_portable.formats import FORMATS, House, Parent, parse_config
from py_portable.formats.nuitka import MODULES, NuitkaStandalone
from py_portable.lock.lockfile import Lock, LockedFile, LockedHouse, LockedPackage, dumps, loads
from py_portable.plan.assemble import LeftOut, Plan, assemble, houses
from py_portable.plan.ground import interpreter_pins, target
from py_portable.plan.selection import Selection, known, narrow
from py_portable.steps.graph import ImageNode, Step, key, ordered
from tests.unit.written import written


def action(ctx: object) -> None:
    raise AssertionError("plans run nothing")


def other_action(ctx: object) -> None:
    raise AssertionError("plans run nothing")


STEP = Step("compile", action, {"a": 1, "b": [1, 2]}, ("in",), ("build/wheel.sh",), image="base")
DIGESTS = {"in": "sha256:in", "base": "sha256:base"}


def keyed(step: Step, digests: Mapping[str, str] = DIGESTS, epoch: int = 0) -> str:
    return key(step, digests, epoch=epoch)


@pytest.mark.parametrize(
    "other",
    [
        replace(STEP, params={"a": 2, "b": [1, 2]}),
        replace(STEP, params={"a": 1, "b": [2, 1]}),
        replace(STEP, params={}),
        replace(STEP, scripts=("build/tools.sh",)),
        replace(STEP, scripts=()),
        replace(STEP, action=other_action),
        replace(STEP, image=None),
    ],
)
def test_a_key_changes_with_what_decides_the_result(other: Step) -> None:
    assert keyed(other) != keyed(STEP)


@pytest.mark.parametrize("name", ["in", "base"])
def test_a_key_changes_with_every_input(name: str) -> None:
    assert keyed(STEP, DIGESTS | {name: "sha256:other"}) != keyed(STEP)


def test_a_key_changes_with_what_is_observed_of_the_machine() -> None:
    observing = replace(STEP, observes=lambda env: "never asked here")
    digests = {"in": "sha256:in", "base": "sha256:base"}
    one, other = (key(observing, digests, epoch=0, observed=told) for told in ("rustc 1.81", "rustc 1.95"))
    assert len({one, other, keyed(STEP)}) == 3


def test_a_key_changes_with_the_epoch() -> None:
    assert keyed(STEP, epoch=1) != keyed(STEP)


@pytest.mark.parametrize(
    "other",
    [
        replace(STEP, name="other name"),
        replace(STEP, params={"b": (1, 2), "a": 1}),
        replace(STEP, locals={"source": Path("/somewhere")}),
        replace(STEP, lane="io"),
    ],
)
def test_a_key_does_not_change_with_names_places_or_lanes(other: Step) -> None:
    assert keyed(other) == keyed(STEP)


def test_renaming_an_input_changes_no_key() -> None:
    renamed = replace(STEP, needs=("renamed",))
    assert keyed(renamed, {"renamed": "sha256:in", "base": "sha256:base"}) == keyed(STEP)


@pytest.mark.parametrize("name", ["https_proxy", "PY_PORTABLE_STORE", "HOME", "LANG"])
def test_a_key_does_not_change_with_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = keyed(STEP)
    monkeypatch.setenv(name, "http://user:secret@proxy")
    assert keyed(STEP) == before


def test_a_key_is_a_digest() -> None:
    assert len(keyed(STEP)) == 64
    assert not set(keyed(STEP)) - set("0123456789abcdef")


def node(name: str, *needs: str) -> Step:
    return Step(name, action, needs=needs)


def test_nodes_come_after_what_they_need_and_nothing_else_comes() -> None:
    nodes = {n.name: n for n in (node("c", "a", "b"), node("b", "a"), node("a"), node("unwanted"))}
    assert [n.name for n in ordered(nodes, ["c", "a"])] == ["a", "b", "c"]


def test_an_image_comes_before_the_step_that_runs_in_it() -> None:
    nodes = {"s": replace(node("s"), image="i"), "i": ImageNode("i", "debian:11")}
    assert [n.name for n in ordered(nodes, ["s"])] == ["i", "s"]


# ---------------------------------------------------------------------------------------------- assemble

CONFIG: dict[str, Any] = {
    "version": 1,
    "app": {"source": "app", "script": "myapp"},
    "python": "3.13",
    "baselines": {"default": {"image": "debian:11", "packages": ["libpq-dev"]}},
    "artifacts": {
        "wheels": {"format": "wheelhouse"},
        "binary": {"format": "nuitka-onefile"},
        "folder": {"format": "nuitka-standalone"},
        "made": {"format": "file", "path": "made"},
    },
    "portability": {"images": ["debian:11", "debian:13"], "controls": ["built-too-new"]},
}


def config(base: Path, **changes: Any) -> Config:
    (base / "app").mkdir(exist_ok=True)
    (base / "app" / "pyproject.toml").write_text('[project]\nname = "My.App"\nversion = "1"\n')
    return parse_config(json.dumps(CONFIG | changes).encode(), "portable.yaml", base)


def locked(name: str) -> LockedPackage:
    return LockedPackage(LockedFile(name.partition("-")[0], "1.0", name, "0" * 64, 1))


LOCK = Lock(
    images={
        "image debian:11": "sha256:eleven",
        "baseline default": "sha256:base",
        "baseline default without packages": "sha256:bare",
    },
    houses={"default/3.13": LockedHouse("x", (locked("a-1.0-py3-none-any.whl"), locked("b-1.0.tar.gz")))},
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return written(assemble(config(tmp_path), LOCK))


def test_every_artifact_has_its_node_and_what_is_made_elsewhere_has_none(plan: Plan) -> None:
    assert plan.artifacts == {
        "wheels": "artifact wheels",
        "binary": "artifact binary",
        "folder": "artifact folder",
        "made": None,
    }
    assert plan.images == {"debian:11": "image debian:11", "debian:13": "image debian:13"}


def test_every_need_is_a_node_and_every_script_is_there(plan: Plan) -> None:
    for one in plan.nodes.values():
        assert not [need for need in one.all_needs if need not in plan.nodes]
        if isinstance(one, Step):
            assert not [name for name in one.scripts if not resources.path(name).is_file()]
            json.dumps(one.params)
    assert len(ordered(plan.nodes, plan.nodes)) == len(plan.nodes)


def test_one_wheelhouse_and_one_interpreter_serve_all_artifacts(plan: Plan) -> None:
    kinds = [name.split(" ")[0] for name in plan.nodes]
    assert (kinds.count("interpreter"), kinds.count("wheelhouse"), kinds.count("baseline")) == (1, 1, 2)


def test_sdists_and_the_app_are_compiled_in_the_baseline_and_wheels_are_not(plan: Plan) -> None:
    compiled = [n for n in plan.nodes.values() if n.name.startswith("wheel ") and isinstance(n, Step)]
    assert [(n.name, n.image) for n in compiled] == [
        ("wheel b-1.0 3.13 (default)", "baseline default"),
        ("wheel of the app 3.13 (default)", "baseline default"),
    ]


def test_locked_identities_reach_the_images(plan: Plan) -> None:
    locks = {n.name: n.locked for n in plan.nodes.values() if isinstance(n, ImageNode)}
    assert locks == {
        "image debian:11": "sha256:eleven",
        "image debian:13": None,
        "baseline default": "sha256:base",
        "baseline default without packages": "sha256:bare",
        "control baseline debian:13": None,
    }


def test_apps_with_other_packages_share_what_is_compiled_for_the_kit(tmp_path: Path) -> None:
    made = []
    for packages in ([], ["libpq-dev"], ["libxml2-dev", "libxslt1-dev"]):
        baseline = {"image": "debian:11", "packages": packages, "libraries": ["openssl"], "before": "true"}
        plan = written(assemble(config(tmp_path, baselines={"default": baseline}), LOCK))
        nodes = {
            name: plan.nodes[name] for name in plan.nodes if name.startswith(("interpreter", "library", "toolbox"))
        }
        assert len(nodes) == 3
        images = {node.image for node in nodes.values() if isinstance(node, Step)}
        (image,) = (plan.nodes[name] for name in images if name)
        assert isinstance(image, ImageNode)
        made.append((image.image, image.packages, image.before, image.needs))
    assert made == [("debian:11", (), "true", made[0][3])] * 3


class OfTwoSteps(NuitkaStandalone):
    """Its first step runs in the image that the control changes, too."""

    def steps(self, artifact: Artifact, house: House | None, parent: Parent | None = None) -> tuple[Step, ...]:
        assert house is not None
        known, last = super().steps(artifact, house, parent)
        return replace(known, image=house.image), last


def test_a_control_has_steps_of_its_own_where_its_image_reaches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "nuitka-standalone", OfTwoSteps())
    plan = written(assemble(config(tmp_path), LOCK))
    steps = {name: node for name, node in plan.nodes.items() if isinstance(node, Step)}
    (control,) = plan.controls
    first = f"{MODULES} 3.13 (default)"
    assert steps[first].image == "baseline default"
    assert first in steps["artifact folder"].needs
    own = f"{first} for {control.node}"
    assert steps[own].image == "control baseline debian:13"
    assert own in steps[control.node].needs and first not in steps[control.node].needs


def test_only_the_images_that_are_asked_for_are_made(tmp_path: Path) -> None:
    images = ["debian:12", "debian:12-slim", "debian:11"]
    plan = written(assemble(config(tmp_path, portability={"images": images, "controls": ["built-too-new"]}), LOCK))
    assert set(plan.images.values()) < set(plan.targets) and plan.controls[0].node in plan.made
    part = narrow(plan, Selection(images=("debian:12",)))
    assert part.images == {"debian:12": "image debian:12"} and part.controls == ()
    assert part.targets == (*(node for node in plan.artifacts.values() if node), "image debian:12")
    assert {n.name for n in part.nodes.values() if isinstance(n, ImageNode)} == {
        *("image debian:12", "baseline default", "baseline default without packages")
    }
    assert {cell.image for cell in part.cells} == {"debian:12"}


def test_an_image_with_packages_is_an_image_of_its_own(tmp_path: Path) -> None:
    own = {"image": "debian:13", "packages": ["python3", "libpq5"]}
    images = {"images": ["debian:11", own, "debian:13"], "controls": ["built-too-new"]}
    name, node = "debian:13+libpq5+python3", "image debian:13+libpq5+python3"
    artifacts = {"wheels": {"format": "wheelhouse", "expect": {"debian:trixie+libpq5+python3": "fail:exit"}}}
    told = config(tmp_path, portability=images, artifacts={**CONFIG["artifacts"], **artifacts})
    lock = LOCK.with_images({node: "sha256:more"}, {"debian:13": "sha256:origin"})
    plan = written(assemble(told, lock))
    made = plan.nodes[node]
    assert isinstance(made, ImageNode) and plan.images[name] == node
    assert (made.image, made.packages) == ("debian:13", ("libpq5", "python3"))
    assert (made.locked, made.origin, made.built_in) == ("sha256:more", "sha256:origin", False)
    there = {(cell.artifact, cell.expect, cell.image_glibc) for cell in plan.cells if cell.image == name}
    assert ("wheels", "fail:exit", "2.41") in there and ("binary", "pass", "2.41") in there
    # A control is built on an image as its distribution made it.
    assert plan.controls[0].passes_on == "debian:13"
    part = narrow(plan, known(told, Selection(images=("debian:trixie+libpq5+python3",))))
    assert set(part.images) == {name}


def test_a_control_shares_what_its_image_does_not_reach(plan: Plan) -> None:
    (control,) = plan.controls
    artifact, wrong = plan.nodes["artifact folder"], plan.nodes[control.node]
    assert isinstance(artifact, Step) and isinstance(wrong, Step)
    assert wrong.needs == artifact.needs and wrong.image != artifact.image


def test_a_package_that_the_interpreter_is_compiled_with_stays_where_it_is_made(tmp_path: Path) -> None:
    baseline = {"image": "debian:11", "packages": ["libpq-dev", "tk-dev"]}
    plan = written(assemble(config(tmp_path, baselines={"default": baseline}), LOCK))
    packages = {n.name: n.packages for n in plan.nodes.values() if isinstance(n, ImageNode) and "baseline d" in n.name}
    assert packages["baseline default"] == ("libpq-dev", "tk-dev")
    assert packages["baseline default without packages"] == ("tk-dev",)
    whole = written(assemble(config(tmp_path, baselines={"default": baseline | {"packages": ["tk-dev"]}}), LOCK))
    assert "baseline default without packages" not in whole.nodes


def test_where_the_source_lies_is_in_no_key(tmp_path: Path) -> None:
    plans = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        plans.append(written(assemble(config(tmp_path / name), LOCK)))
    one, two = (plan.nodes["wheel of the app 3.13 (default)"] for plan in plans)
    assert isinstance(one, Step)
    assert isinstance(two, Step)
    assert one.locals != two.locals
    assert one.params == two.params
    assert str(tmp_path) not in json.dumps([n.params for n in plans[0].nodes.values() if isinstance(n, Step)])


def test_the_control_is_the_same_artifact_with_its_compilers_image_alone_changed(plan: Plan) -> None:
    (control,) = plan.controls
    assert (control.artifact, control.fails_on, control.passes_on, control.reason) == (
        "folder",
        "debian:11",
        "debian:13",
        "glibc",
    )
    wrong, right = plan.nodes[control.node], plan.nodes["artifact folder"]
    assert isinstance(wrong, Step)
    assert isinstance(right, Step)
    assert wrong.image == "control baseline debian:13"
    assert replace(wrong, name=right.name, image=right.image) == right
    assert control.node not in plan.artifacts.values()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"portability": {"images": ["debian:11"], "controls": ["built-too-new"]}},
            "needs an older and a newer image in portability.images that are not optional",
        ),
        ({"artifacts": ["wheelhouse"]}, "no artifact has a format that can be built too new"),
    ],
)
def test_a_control_that_cannot_be_is_left_out_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    made = written(assemble(config(tmp_path, **changes), LOCK))
    assert made.controls == ()
    assert [(str(one), one.why) for one in made.left_out] == [("control built-too-new", why)]
    assert made.lost == made.left_out
    # A part of the matrix may do without.
    assert narrow(made, Selection(artifacts=tuple(made.artifacts))).lost == ()


def test_only_the_named_artifacts_are_planned(tmp_path: Path) -> None:
    made = written(narrow(assemble(config(tmp_path), LOCK), Selection(("made",))))
    assert made.artifacts == {"made": None}
    assert [name for name in made.nodes if not name.startswith("image ")] == []
    assert LeftOut("binary", "not asked for") in made.left_out
    why = "it is a variant of folder, which is not asked for"
    assert LeftOut("built-too-new", why, control=True) in made.left_out and made.lost == ()


def test_houses_are_asked_for_once(tmp_path: Path) -> None:
    assert houses(config(tmp_path)) == [("default", "3.13")]
    assert houses(config(tmp_path, artifacts={"made": {"format": "file", "path": "x"}})) == []


def test_a_baseline_whose_glibc_nobody_knows_is_a_config_error(tmp_path: Path) -> None:
    unknown = config(tmp_path, baselines={"default": {"image": "mine:1"}}, wheels={"max-glibc": "2.28"})
    assert target(unknown, "default", "3.13")["max_glibc"] == "2.28"
    bare = replace(unknown, wheels=replace(unknown.wheels, max_glibc=None))
    with pytest.raises(ConfigError, match="it is not known which glibc is in mine:1"):
        target(bare, "default", "3.13")


# ----------------------------------------------------------------------------------- interpreters and their houses


def needs_of(plan: Plan, name: str) -> tuple[str, ...]:
    node = plan.nodes[name]
    assert isinstance(node, (Step, ImageNode))
    return node.needs


def test_from_source_one_interpreter_does_for_wheels_and_for_linking(plan: Plan) -> None:
    assert "interpreter 3.13 (default)" in needs_of(plan, "artifact binary")
    assert needs_of(plan, "baseline default") == ("compilers", "cpython")


@pytest.mark.parametrize(("provider", "more"), [("manylinux", ()), ("system", ("system-python",))])
def test_where_the_provider_has_no_libpython_one_from_source_is_linked(
    tmp_path: Path, provider: str, more: tuple[str, ...]
) -> None:
    made = written(assemble(config(tmp_path, interpreter={"provider": provider}), LOCK))
    linked = "interpreter 3.13 from source (default)"
    for name in ("artifact binary", "artifact folder"):
        assert linked in needs_of(made, name)
        assert "interpreter 3.13 (default)" not in needs_of(made, name)
    for name in ("toolbox 3.13 (default)", "wheel b-1.0 3.13 (default)", "wheelhouse 3.13 (default)"):
        assert "interpreter 3.13 (default)" in needs_of(made, name)
        assert linked not in needs_of(made, name)
    step = made.nodes[linked]
    assert isinstance(step, Step)
    assert step.image == ("baseline default" if provider == "system" else "baseline default without packages")
    assert needs_of(made, "baseline default") == ("compilers", *more, "cpython")
    assert interpreter_pins(config(tmp_path, interpreter={"provider": provider})).keys() == {"cpython 3.13"}


def test_what_is_not_linked_takes_no_interpreter_from_source(tmp_path: Path) -> None:
    changes = {"interpreter": {"provider": "manylinux"}, "artifacts": ["wheelhouse"]}
    made = written(assemble(config(tmp_path, **changes), LOCK))
    assert not [name for name in made.nodes if "source" in name]
    assert needs_of(made, "baseline default") == ("compilers",)
    assert interpreter_pins(config(tmp_path, **changes)) == {}


def test_a_baseline_is_the_same_image_whichever_artifacts_are_asked_for(tmp_path: Path) -> None:
    told = config(tmp_path, interpreter={"provider": "manylinux"})
    whole, part = written(assemble(told, LOCK)), written(narrow(assemble(told, LOCK), Selection(("wheels",))))
    assert part.nodes["baseline default"] == whole.nodes["baseline default"]
    assert "interpreter 3.13 from source (default)" not in part.nodes


def test_an_archive_is_known_by_its_digest_and_not_by_where_it_lies(tmp_path: Path) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    (archives / "a.tar.gz").write_bytes(b"one")
    told = config(
        tmp_path,
        artifacts=["wheelhouse"],
        interpreter={"provider": "standalone", "archives": {"3.13": {"path": "archives/a.tar.gz"}}},
    )
    made = written(assemble(told, LOCK))
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert interpreter_pins(told) == {"standalone 3.13": f"sha256:{digest}"}
    assert str(archives) not in json.dumps([n.params for n in made.nodes.values() if isinstance(n, Step)])
    archive = made.nodes["archive 3.13"]
    assert isinstance(archive, Step)
    assert archive.params == {"sha256": digest}
    (archives / "a.tar.gz").write_bytes(b"two")
    assert interpreter_pins(told) != {"standalone 3.13": f"sha256:{digest}"}


def test_from_source_a_python_without_a_pin_is_a_config_error(tmp_path: Path) -> None:
    for provider, artifacts in (("source", ["wheelhouse"]), ("manylinux", ["nuitka-onefile"])):
        told = config(tmp_path, python="3.9", artifacts=artifacts, interpreter={"provider": provider})
        with pytest.raises(ConfigError, match=r"no CPython 3\.9 is pinned"):
            interpreter_pins(told)


PAIRS = {
    "a": {"format": "wheelhouse", "baseline": "old", "python": "3.13"},
    "b": {"format": "wheelhouse", "baseline": "old", "python": "3.11"},
    "c": {"format": "nuitka-onefile", "baseline": "new", "python": "3.13"},
    "d": {"format": "wheelhouse", "baseline": "new", "python": "3.11"},
    "e": {"format": "nuitka-standalone", "baseline": "new", "python": "3.13"},
}


def pairs(tmp_path: Path, **changes: Any) -> Config:
    baselines = {"old": {"image": "debian:11"}, "new": {"image": "debian:12"}}
    return config(tmp_path, baselines=baselines, artifacts=PAIRS, **changes)


def several() -> Lock:
    return Lock(
        images={"baseline old": "sha256:old", "baseline new": "sha256:new"},
        houses={f"{b}/{p}": replace(HOUSE, inputs=f"{b}{p}") for b in ("old", "new") for p in ("3.13", "3.11")},
    )


HOUSE = LOCK.houses["default/3.13"]


def test_each_pair_of_baseline_and_python_has_one_house_and_shares_what_is_the_same(tmp_path: Path) -> None:
    told = pairs(tmp_path)
    assert sorted(houses(told)) == [("new", "3.11"), ("new", "3.13"), ("old", "3.11"), ("old", "3.13")]
    made = written(assemble(told, several()))
    places = [f"{python} ({baseline})" for baseline in ("old", "new") for python in ("3.13", "3.11")]
    for kind in (
        "tools",
        "toolbox",
        "interpreter",
        "wheels",
        "wheelhouse",
        "wheel b-1.0",
        "wheel of the app",
    ):
        assert sorted(n for n in made.nodes if n.startswith(f"{kind} ") and n.removeprefix(f"{kind} ") in places) == (
            sorted(f"{kind} {place}" for place in places)
        )
    assert sorted(n for n in made.nodes if n.startswith("source ")) == [
        "source cpython-3.11.2",
        "source cpython-3.13.5",
    ]
    locked = {n.name: n.locked for n in made.nodes.values() if isinstance(n, ImageNode) and "baseline" in n.name}
    assert {name: lock for name, lock in locked.items() if lock} == {
        "baseline old": "sha256:old",
        "baseline new": "sha256:new",
    }


def test_pyoxidizer_has_a_python_of_its_own_beside_another_one(tmp_path: Path) -> None:
    artifacts = {
        "folder": {"format": "nuitka-standalone"},
        "oxide": {"format": "pyoxidizer", "python": "3.11"},
        "more": {"format": "pyoxidizer", "python": "3.11"},
    }
    told = config(tmp_path, artifacts=artifacts, portability={})
    assert houses(told) == [("default", "3.13"), ("default", "3.11")]
    lock = Lock(
        images={"baseline default": "sha256:base"},
        houses={f"default/{python}": HOUSE for python in ("3.13", "3.11")},
        pins=interpreter_pins(told),
    )
    assert sorted(lock.pins) == ["cpython 3.11", "cpython 3.13", "crates of pyoxidizer", "driver pyoxidizer"]
    assert re.fullmatch(r"0\.24\.0 sha256:[0-9a-f]{64}", lock.pins["driver pyoxidizer"])
    made = written(assemble(told, loads(dumps(lock), "portable.lock")))
    own = {name: {n.name for n in ordered(made.nodes, [f"artifact {name}"])} for name in artifacts}
    assert not [name for name in own["oxide"] if "3.13" in name]
    assert not [name for name in own["folder"] if "3.11" in name or "crates" in name]
    # Two artifacts by it share all but the last step.
    assert own["oxide"] ^ own["more"] == {"artifact oxide", "artifact more"}
    assert "compiled crates 3.11 (default)" in own["oxide"]
    crates = made.nodes["compiled crates 3.11 (default)"]
    assert isinstance(crates, Step)
    assert crates.observes and not crates.params
    assert not [need for need in crates.needs if "wheel" in need], "nothing of the app is there"


def test_each_artifact_is_made_of_its_own_pair_and_of_nothing_of_another(tmp_path: Path) -> None:
    made = written(assemble(pairs(tmp_path), several()))
    for name, artifact in PAIRS.items():
        place = f"{artifact['python']} ({artifact['baseline']})"
        node = made.artifacts[name]
        assert node
        needed = [each.name for each in ordered(made.nodes, [node])]
        assert f"wheelhouse {place}" in needed
        others = [n for n in needed if "(" in n and not n.endswith(place)]
        assert others == []
        assert [n for n in needed if n.startswith("baseline ")] == [f"baseline {artifact['baseline']}"]


def test_steps_of_two_pairs_have_two_keys(tmp_path: Path) -> None:
    made = written(assemble(pairs(tmp_path), several()))
    digests = {name: name for name in made.nodes}
    compiled = [n for n in made.nodes.values() if isinstance(n, Step) and n.name.startswith("wheel of the app")]
    assert len({key(step, digests, epoch=0) for step in compiled}) == 4


def test_one_lock_holds_a_house_for_each_pair_and_one_pin_for_each_python(tmp_path: Path) -> None:
    lock = replace(several(), pins=interpreter_pins(pairs(tmp_path)))
    again = loads(dumps(lock), "portable.lock")
    assert again == lock
    assert sorted(again.houses) == ["new/3.11", "new/3.13", "old/3.11", "old/3.13"]
    assert sorted(again.pins) == ["cpython 3.11", "cpython 3.13"]
    assert written(assemble(pairs(tmp_path), again)).nodes == written(assemble(pairs(tmp_path), lock)).nodes
