"""Shards: every cell in one, none too dear, and texts that each CI service takes."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable.ci.github import job_matrix
from py_portable.ci.gitlab import jobs as gitlab_jobs
from py_portable.ci.gitlab import pipeline
from py_portable.errors import ConfigError
from py_portable.plan.cell import PlannedCell
from py_portable.plan.costing import DEFAULT_MS, STEP_MS, costs
from py_portable.plan.partition import NAME, TARGET_MS, Shard, by_image, image_shard, partition


def cell(artifact: str = "a", image: str = "debian:11", condition: str = "plain", *argv: str) -> PlannedCell:
    return PlannedCell(artifact, "file", image, condition, argv or ("run",), "pass")


def cells_of(artifacts: int, images: Sequence[str], conditions: Sequence[str] = ("plain",)) -> list[PlannedCell]:
    names = [f"app{n}" for n in range(artifacts)]
    return [cell(*of) for of in itertools.product(names, images, conditions)]


def uneven(cells: Sequence[PlannedCell]) -> dict[str, int]:
    """Artifacts that cost from a quarter of a second to 3 s a cell."""
    steps = {name: 1 + 5 * n % 12 for n, name in enumerate(dict.fromkeys(c.artifact for c in cells))}
    return {c.id: steps[c.artifact] * STEP_MS for c in cells}


def place(shards: Sequence[Shard]) -> dict[str, str]:
    return {c.id: shard.name for shard in shards for c in shard.cells}


def assert_whole(shards: Sequence[Shard], cells: Sequence[PlannedCell]) -> None:
    """Each cell in exactly one shard, in the matrix's order, and no shard without any."""
    keys = [c.id for shard in shards for c in shard.cells]
    assert sorted(keys) == sorted(c.id for c in cells)
    order = {c.id: n for n, c in enumerate(cells)}
    for shard in shards:
        assert shard.cells
        numbers = [order[c.id] for c in shard.cells]
        assert numbers == sorted(numbers)


def assert_balanced(shards: Sequence[Shard], known: Mapping[str, int], number: int) -> None:
    """The bound that the module states; a piece is all of an artifact on an image, or a control with its twin."""
    pieces: dict[tuple[str, str], int] = {}
    total = 0
    for shard in shards:
        for c in shard.cells:
            piece = (c.artifact, c.condition if c.control else c.image)
            pieces[piece] = pieces.get(piece, 0) + known[c.id]
            total += known[c.id]
    most = Fraction(total, number) + max(pieces.values())
    assert max(shard.cost(known) for shard in shards) <= most


# ------------------------------------------------------------------------------------ 30 artifacts x 400 images

IMAGES = [f"registry.example/distribution-{n % 40}:{n // 40}" for n in range(400)]


@functools.cache
def big(limit: int) -> tuple[list[PlannedCell], dict[str, int], tuple[Shard, ...]]:
    cells = cells_of(30, IMAGES)
    known = uneven(cells)
    return cells, known, partition(cells, known, limit=limit)


@pytest.mark.parametrize("limit", [job_matrix.SHARDS, pipeline.SHARDS])
def test_a_big_matrix_is_whole_balanced_within_the_limit_and_local(limit: int) -> None:
    cells, known, shards = big(limit)
    assert 0.9 * limit < len(shards) <= limit
    assert_whole(shards, cells)
    assert_balanced(shards, known, limit)
    # Locality: what a job must fetch stays a handful of images.
    assert sum(len(s.images) for s in shards) / limit < 3


def test_of_a_big_matrix_the_services_take_what_is_printed() -> None:
    cells, known, shards = big(job_matrix.SHARDS)
    text = job_matrix.matrix(shards, known)
    assert len(text.encode("utf-16")) < job_matrix.OUTPUT_BYTES
    assert "\n" not in text
    rows = json.loads(text)["include"]
    assert len({row["shard"] for row in rows}) == len(rows) <= 256
    assert sum(row["cells"] for row in rows) == len(cells)
    for jobs_of, inside in (
        (big(pipeline.SHARDS)[2], False),
        (by_image(cells, limit=pipeline.IMAGE_SHARDS), True),
    ):
        assert_whole(jobs_of, cells)
        text = pipeline.pipeline(jobs_of, prefix="x" * 62, inside=inside)
        assert len(text.encode()) < pipeline.YAML_BYTES
        jobs = [name for name in yaml.safe_load(text) if name.startswith("xxx")]
        assert len(jobs) == len(jobs_of) + 3 < 500
        assert all(len(name) <= pipeline.JOB_NAME_CHARS for name in jobs)


# ----------------------------------------------------------------------------------------------- any matrix

MATRICES = st.tuples(
    st.integers(1, 6),
    st.lists(st.from_regex(r"[a-z]{1,6}:[0-9]{1,2}", fullmatch=True), min_size=1, max_size=12, unique=True),
    st.sampled_from([("plain",), ("plain", "no-home"), ("plain", "no-home", "read-only")]),
)


@settings(max_examples=40)
@given(MATRICES, st.integers(1, 20), st.data())
def test_any_matrix_is_whole_and_balanced(
    size: tuple[int, list[str], tuple[str, ...]], limit: int, data: st.DataObject
) -> None:
    cells = cells_of(*size)
    cells += [replace(cell(image=image), condition="control:x") for image in size[1][:2]]
    known = {c.id: data.draw(st.integers(1, 400)) * STEP_MS for c in cells}
    wanted = data.draw(st.none() | st.integers(1, limit))
    shards = partition(cells, known, limit=limit, wanted=wanted)
    assert len(shards) <= (wanted or limit)
    assert_whole(shards, cells)
    assert all(NAME.fullmatch(shard.name) for shard in shards)
    assert partition(cells, known, limit=limit, wanted=wanted) == shards
    if wanted and wanted <= size[0] * len(size[1]):
        assert_balanced(shards, known, wanted)


@settings(max_examples=40)
@given(MATRICES, st.randoms())
def test_the_order_in_which_a_config_names_things_moves_nothing(
    size: tuple[int, list[str], tuple[str, ...]], random: object
) -> None:
    cells = cells_of(*size)
    known = uneven(cells)
    shuffled = list(cells)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert place(partition(shuffled, known, limit=5)) == place(partition(cells, known, limit=5))


def test_a_control_and_its_twin_are_in_one_shard() -> None:
    pair = [replace(cell("app1", image), condition="control:x") for image in ("debian:11", "debian:13")]
    cells = [*cells_of(5, ["debian:11", "debian:12", "debian:13"]), *pair]
    shards = partition(cells, uneven(cells), limit=9, wanted=9)
    assert sum(any(c.control for c in shard.cells) for shard in shards) == 1


def test_what_fits_two_shards_is_not_put_into_one() -> None:
    cells = cells_of(2, ["debian:11"])
    assert len(partition(cells, costs(cells), limit=2, wanted=2)) == 2


def test_all_conditions_of_an_artifact_on_an_image_share_a_shard_for_they_share_an_installation() -> None:
    cells = cells_of(4, ["debian:11", "debian:12"], ("plain", "no-home"))
    found = place(partition(cells, uneven(cells), limit=8, wanted=8))
    for c in cells:
        assert found[c.id] == found[replace(c, condition="plain").id]


def test_there_are_as_many_shards_as_are_worth_their_set_up() -> None:
    few, many = cells_of(2, ["debian:11", "debian:12"]), cells_of(20, [f"i:{n}" for n in range(10)])
    assert len(partition(few, costs(few), limit=256)) == 1
    number = len(partition(many, costs(many), limit=256))
    assert number == -(-(len(many) * DEFAULT_MS + 10 * 5000) // TARGET_MS) == 5
    assert len(partition(many, costs(many), limit=256, wanted=7)) in (6, 7)


@pytest.mark.parametrize("wanted", [0, 9])
def test_more_shards_than_a_service_admits_are_refused(wanted: int) -> None:
    with pytest.raises(ConfigError, match="there may be 1 to 8"):
        partition(cells_of(3, ["debian:11"]), {}, limit=8, wanted=wanted)


def test_nothing_makes_no_shards() -> None:
    assert partition([], {}, limit=4) == by_image([], limit=4) == ()
    assert job_matrix.matrix((), {}) == '{"include":[]}'


# ------------------------------------------------------------------------------------------ a job an image


def test_jobs_inside_their_images_have_one_each_and_an_image_more_moves_nothing() -> None:
    cells = cells_of(3, ["debian:11", "debian:12"])
    shards = by_image(cells, limit=3)
    assert_whole(shards, cells)
    assert [shard.images for shard in shards] == [("debian:11",), ("debian:12",)]
    more = place(by_image(cells_of(3, ["alpine:3", "debian:11", "debian:12"]), limit=3))
    assert place(shards).items() <= more.items()
    with pytest.raises(ConfigError, match="2 images need one job each, but at most 1"):
        by_image(cells, limit=1)


@given(st.lists(st.text(max_size=90), unique=True, max_size=30))
def test_names_of_shards_are_safe_and_unique_whatever_an_image_is_called(images: list[str]) -> None:
    names = [image_shard(image) for image in images]
    assert all(NAME.fullmatch(name) for name in names)
    assert len(set(names)) == len(names)


# ------------------------------------------------------------------------------------------------- costs


def record(c: PlannedCell, seconds: object, overhead: object = None) -> dict[str, object]:
    return c.told() | {"seconds": seconds, "overhead_seconds": overhead}


def test_what_was_recorded_is_what_a_cell_costs() -> None:
    a, b, c = cell("a"), cell("b"), cell("c")
    evidence = {"cells": [record(a, 1.1, 0.1), record(b, 0.01)]}
    assert costs([a, b], evidence) == {a.id: 1250, b.id: 250}
    assert costs([c], evidence) == {c.id: 750}, "the median of all"
    other = cell("a", "debian:12")
    assert costs([other], evidence) == {other.id: 1250}, "the median of its artifact"
    assert costs([a]) == {a.id: DEFAULT_MS}


@pytest.mark.parametrize("junk", [None, "1", True, -1.0, float("inf"), float("nan"), [], 1e300])
def test_a_record_that_is_no_time_says_nothing(junk: object) -> None:
    a = cell("a")
    assert costs([a], {"cells": [record(a, junk, 0.1)]}) == {a.id: DEFAULT_MS}
    assert costs([a], {"cells": [record(a, 0.5, junk)]}) == {a.id: 500}


@given(st.permutations([record(cell("a", f"i:{n}"), n / 7) for n in range(6)]))
def test_costs_do_not_depend_on_the_order_of_records(rows: list[dict[str, object]]) -> None:
    cells = cells_of(1, ["i:0", "i:5", "i:9"])
    in_order = sorted(rows, key=lambda row: str(row["image"]))
    assert costs(cells, {"cells": rows}) == costs(cells, {"cells": in_order})


# --------------------------------------------------------------------------------------------- the texts

SCALAR = re.compile(r'^(?P<indent>(?: |- )*)"(?:[^"\\]|\\.)*"(: (?:"(?:[^"\\]|\\.)*"|\[\]|\{\}))?:?$')


@pytest.mark.parametrize("inside", [False, True])
def test_all_of_a_pipeline_is_quoted_and_its_commands_are_fixed_text(inside: bool) -> None:
    cells = cells_of(2, ["debian:11", "registry.example:5000/team/x_y@sha256:0"])
    text = pipeline.pipeline(by_image(cells, limit=9), inside=inside)
    for line in text.splitlines():
        assert SCALAR.match(line), line
    told = yaml.safe_load(text)
    scripts = {line for job in told.values() if isinstance(job, dict) for line in job.get("script", ())}
    shard = gitlab_jobs.INSIDE if inside else gitlab_jobs.SHARD
    assert scripts == {shard, "test -s dist/plan.json", gitlab_jobs.BENCHMARK, gitlab_jobs.REPORT}
    jobs = {name: job for name, job in told.items() if isinstance(job, dict) and "extends" in job}
    assert len(jobs) == 2
    for name, job in jobs.items():
        assert name == f"py-portable {job['variables']['PY_PORTABLE_SHARD']}"
        assert job["extends"] in told
    images = [job["image"]["name"] for job in jobs.values() if "image" in job]
    assert sorted(images) == (["debian:11", "registry.example:5000/team/x_y@sha256:0"] if inside else [])
    assert "image" not in told
    assert "variables" not in told


def test_jobs_that_prove_nothing_run_in_the_image_that_is_named() -> None:
    shards = by_image(cells_of(1, ["debian:11"]), limit=9)
    rest = ["p carry", "p benchmark", "p report"]
    for inside, names in ((False, [".p shard", *rest]), (True, rest)):
        told = yaml.safe_load(pipeline.pipeline(shards, prefix="p", inside=inside, job_image="python:3.13"))
        jobs = [n for n, j in told.items() if isinstance(j, dict) and j.get("image") == {"name": "python:3.13"}]
        assert jobs == names
    with pytest.raises(ConfigError, match="--job-image"):
        pipeline.pipeline(shards, job_image="a b")


def test_what_no_runner_can_start_a_job_in_is_refused() -> None:
    shards = by_image([cell(image="oci-archive:$(touch x)")], limit=9)
    with pytest.raises(ConfigError, match="is not an image in which a runner can start a job"):
        pipeline.pipeline(shards, inside=True)
    assert "$(" not in pipeline.pipeline(shards)


@pytest.mark.parametrize("prefix", ["", "a\nb", "$(x)", "a: b", ".hidden", "x" * 63, "trailing "])
def test_a_prefix_that_is_no_part_of_a_name_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the beginning of a job's name"):
        pipeline.pipeline((), prefix=prefix)


def test_the_line_for_github_holds_nothing_that_a_config_names() -> None:
    cells = [cell("evil", "oci:$(x)`y`\u2028"), cell("other")]
    text = job_matrix.matrix(partition(cells, costs(cells), limit=2, wanted=2), costs(cells))
    rows = json.loads(text)["include"]
    assert [set(row) for row in rows] == [{"shard", "cells", "images", "seconds"}] * len(rows)
    assert re.fullmatch(r'[a-z0-9":,{}\[\]-]+', text)
