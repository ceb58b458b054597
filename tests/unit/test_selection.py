"""A run is decided once: what is selected narrows the plan, and nothing asks for the selection again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.config import Config
from py_portable.errors import ConfigError
from py_portable.plan.assemble import Plan, assemble, made_elsewhere
from py_portable.plan.partition import by_image
from py_portable.plan.selection import Selection, known, narrow
from py_portable.plan.shards import Sharding
from py_portable.plan.tiers import PR
from py_portable.steps.identity import NodeId
from tests.unit.test_plan import LOCK, config

IMAGES = ("debian:11", "debian:12", "debian:12-slim", "debian:13")
PROBES = ("read-only", "no-home")
ARTIFACTS = ("wheels", "binary", "folder", "made")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Config:
    room: Path = tmp_path_factory.mktemp("select")
    matrix = {"images": list(IMAGES), "probes": list(PROBES), "controls": ["built-too-new"]}
    return config(room, portability=matrix)


@pytest.fixture(scope="module")
def whole(told: Config) -> Plan:
    return assemble(told, LOCK)


def some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(names), unique=True, min_size=1).map(tuple)


SELECTIONS = st.builds(
    Selection,
    artifacts=some(ARTIFACTS),
    images=some(IMAGES),
    probes=st.just(()) | some(PROBES),
    controls=st.booleans(),
    tier=st.sampled_from([PR, "release"]),
)


@given(selection=SELECTIONS)
def test_a_part_is_a_part_and_narrowing_it_again_changes_nothing(whole: Plan, selection: Selection) -> None:
    part = narrow(whole, selection)
    assert narrow(part, selection) == part
    assert set(part.cells) <= set(whole.cells)
    assert part.nodes.items() <= whole.nodes.items()
    assert part.artifacts.items() <= whole.artifacts.items() and part.images.items() <= whole.images.items()
    assert set(part.controls) <= set(whole.controls)
    # Everything is there or left out with the reason, and what is there can be made.
    assert {one.name for one in part.left_out} == {*whole.artifacts, "built-too-new"} - {*part.artifacts} - {
        control.name for control in part.controls
    }
    assert set(part.targets) <= set(part.nodes)
    assert all(need in part.nodes for node in part.nodes.values() for need in node.all_needs)


@given(selection=SELECTIONS)
def test_cells_are_of_what_is_selected(whole: Plan, selection: Selection) -> None:
    part = narrow(whole, selection)
    own = [cell for cell in part.cells if not cell.control]
    assert {cell.artifact for cell in own} == set(part.artifacts)
    assert {cell.image for cell in own} == set(part.images)
    probes = selection.probes if selection.probes is not None else () if selection.tier == PR else PROBES
    assert {cell.condition for cell in own} == {"plain", *probes}
    assert [cell for cell in whole.cells if cell in set(part.cells)] == sorted(part.cells, key=whole.cells.index)
    assert {cell.control for cell in part.cells if cell.control} == {control.name for control in part.controls}


def test_nothing_selected_is_everything(whole: Plan) -> None:
    part = narrow(whole, Selection())
    assert part.cells == whole.cells and part.whole and part.controls
    assert part.scope == (*(f"artifact {name}" for name in ARTIFACTS), "all probes", "controls")


@pytest.mark.parametrize("image", ["debian:12", "debian:bookworm"])
def test_one_image_prepares_one_image(told: Config, whole: Plan, image: str) -> None:
    part = narrow(whole, known(told, Selection(images=(image,))))
    assert part.images == {"debian:12": NodeId("image", "debian:12")}
    assert [node for node in part.nodes if node.kind == "image"] == [NodeId("image", "debian:12")]
    assert {cell.image for cell in part.cells} == {"debian:12"}
    # A control needs two images of its own.
    assert not part.controls and not part.lost


def test_an_image_with_a_longer_name_is_another_one(told: Config, whole: Plan) -> None:
    part = narrow(whole, known(told, Selection(images=("debian:12-slim",))))
    assert part.images == {"debian:12-slim": NodeId("image", "debian:12-slim")}


def test_a_probe_may_be_named_that_the_config_does_not_have(whole: Plan) -> None:
    part = narrow(whole, Selection(("made",), ("debian:11",), ("no-passwd",)))
    assert [cell.condition for cell in part.cells] == ["plain", "no-passwd"]


@pytest.mark.parametrize(
    ("selection", "why"),
    [
        (Selection(("binry",)), "no artifact is named binry"),
        (Selection(images=("debian:99",)), "no image is named debian:99"),
    ],
)
def test_a_name_that_is_not_there_is_an_error(told: Config, selection: Selection, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        known(told, selection)


def test_shards_share_the_matrix_and_what_they_are_told_is_what_they_do(whole: Plan) -> None:
    sharding = Sharding("c" * 64, "d" * 64, by_image(whole.cells, limit=9))
    parts = [narrow(whole, Selection.of_shard(sharding, shard.name)) for shard in sharding.shards]
    assert sorted(str(cell) for part in parts for cell in part.cells) == sorted(map(str, whole.cells))
    for shard, part in zip(sharding.shards, parts, strict=True):
        assert part.cells == shard.cells and part.scope == (f"shard {shard.name}",) and not part.whole
        assert set(part.images) == set(shard.images) and set(part.artifacts) == set(shard.artifacts)
        assert bool(part.controls) == any(cell.control for cell in shard.cells)


def test_where_nothing_is_built_the_same_is_selected(told: Config, whole: Plan) -> None:
    elsewhere = made_elsewhere(told, LOCK)
    assert elsewhere.cells == whole.cells and elsewhere.controls == whole.controls and not elsewhere.made[1:]
    part = narrow(elsewhere, Selection())
    assert part.cells == whole.cells and [str(node) for node in part.nodes] == [f"image {name}" for name in IMAGES]
    (control,) = elsewhere.controls
    left = elsewhere.without({control: "its file did not come along"})
    assert not left.controls and [one.why for one in left.lost] == ["its file did not come along"]
    assert not any(cell.control for cell in left.cells)
