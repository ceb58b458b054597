"""Parts of evidence and their merge: any order gives the same bytes, and what is gone is not spoken of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.errors import ConfigError
from py_portable.evidence import merge, reading
from py_portable.evidence.conclude import conclude
from py_portable.evidence.typed import Evidence

WHENS = st.sampled_from(["2026-01-01", "2026-01-02", "2026-01-03"])
NAMES = st.sampled_from(["a", "b"])
HASHES = st.sampled_from(["sha256:1", "sha256:2"])


def cell(**changes: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "artifact": "a",
        "sha256": "sha256:1",
        "image": "debian:11",
        "image_identity": "sha256:i",
        "condition": "plain",
        "argv": ["run"],
        "expect": "pass",
        "verdict": "PASS",
        "exit_status": 0,
        "when": "2026-01-01",
    }
    return told | changes


CELLS = st.builds(
    cell,
    artifact=NAMES,
    sha256=HASHES,
    image=st.sampled_from(["debian:11", "debian:12"]),
    condition=st.sampled_from(["plain", "no-home", "control:x"]),
    verdict=st.sampled_from(["PASS", "FAIL", "UNPROVEN"]),
    when=WHENS,
)
ROWS = st.builds(lambda name, sha256: {"name": name, "sha256": sha256}, NAMES, HASHES)
PARTS = st.builds(
    lambda when, artifacts, cells, kit: {
        "schema": 1,
        "when": when,
        "artifacts": artifacts,
        "cells": cells,
        "kit": kit,
    },
    WHENS,
    st.lists(ROWS, max_size=3),
    st.lists(CELLS, max_size=4),
    st.fixed_dictionaries({"version": NAMES}),
)


def text(parts: Sequence[Evidence], **options: Any) -> str:
    return json.dumps(merge.merge(parts, **options), sort_keys=True)


@given(st.lists(PARTS, max_size=4).flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))))
def test_any_order_gives_the_same_bytes(pair: tuple[list[Any], list[Any]]) -> None:
    assert text(pair[0]) == text(pair[1])


@given(st.lists(PARTS, max_size=4))
def test_a_merge_merged_again_is_the_same(parts: list[Any]) -> None:
    once = merge.merge(parts)
    assert text([once]) == text([once, once]) == text(parts)
    assert text([*parts, *parts]) == text(parts)


@given(st.lists(CELLS, max_size=8), st.integers(0, 8))
def test_merging_shards_first_changes_no_cell(cells: list[Any], cut: int) -> None:
    shards = [{"schema": 1, "when": f"2026-02-0{n + 1}", "cells": [c]} for n, c in enumerate(cells)]
    halves = [merge.merge(half) for half in (shards[:cut], shards[cut:]) if half]
    assert merge.merge(halves)["cells"] == merge.merge(shards)["cells"]


@given(st.lists(PARTS, max_size=4), st.dictionaries(NAMES, HASHES))
def test_rows_of_artifacts_that_are_gone_are_dropped(parts: list[Any], artifacts: dict[str, str]) -> None:
    merged = merge.merge(parts, artifacts=artifacts)
    assert all(artifacts.get(row["name"]) == row["sha256"] for row in merged["artifacts"])
    for row in merged["cells"]:
        assert row["artifact"] in artifacts
        if not row["condition"].startswith("control:"):
            assert artifacts[row["artifact"]] == row["sha256"]


def test_the_later_of_two_rows_about_one_thing_holds() -> None:
    old = {"when": "2026-01-01", "artifacts": [{"name": "a", "sha256": "old"}], "expected": [["a", "i", "plain", []]]}
    new = {"when": "2026-01-02", "artifacts": [{"name": "a", "sha256": "new"}], "expected": [["a", "j", "plain", []]]}
    merged = merge.merge([new, old])
    assert merged["artifacts"] == [{"name": "a", "sha256": "new"}]
    assert (merged["expected_cells"], merged["when"]) == (2, "2026-01-02")


def test_shards_that_know_one_artifact_by_two_digests_contradict_each_other() -> None:
    parts = [{"artifacts": [{"name": "a", "sha256": sha}], "cells": []} for sha in ("one", "two")]
    with pytest.raises(ConfigError, match="a has two digests in this evidence: one and two"):
        merge.merge(parts, shards=True)


def test_cells_about_another_digest_than_the_artifacts_do_not_count_in_shards() -> None:
    part = {"artifacts": [{"name": "a", "sha256": "new"}], "cells": [cell(artifact="a", sha256="old")]}
    assert merge.merge([part], shards=True)["cells"] == []


def test_a_failure_is_forgotten_when_the_artifact_is_there() -> None:
    failed = {"when": "2026-01-01", "failures": [{"name": "a", "why": "it broke"}]}
    mended = {"when": "2026-01-02", "artifacts": [{"name": "a", "sha256": "new"}]}
    assert merge.merge([failed, mended])["failures"] == []
    assert merge.merge([failed | {"when": "2026-01-03"}, mended])["failures"] == failed["failures"]


def test_what_an_earlier_build_left_is_not_told_of_once_a_build_has_failed() -> None:
    built = {"when": "2026-01-02", "artifacts": [{"name": name, "sha256": "x"} for name in ("a", "b")]}
    for when, left in (("2026-01-03", ["b"]), ("2026-01-01", ["a", "b"])):
        failed = {"when": when, "failures": [{"name": "a", "why": "it broke"}]}
        assert [row["name"] for row in merge.merge([failed, built])["artifacts"]] == left


def test_a_cell_is_told_apart_by_artifact_image_condition_and_arguments() -> None:
    cells = [cell(), cell(artifact="b"), cell(image="debian:12"), cell(condition="x"), cell(argv=["other"])]
    assert len(merge.merge([{"cells": [*cells, *cells]}])["cells"]) == 5


def test_a_renamed_artifact_of_the_same_bytes_takes_no_cells_along() -> None:
    merged = merge.merge([{"cells": [cell(artifact="old")]}], artifacts={"new": "sha256:1"})
    assert merged["cells"] == []


def test_cells_of_an_older_image_and_of_images_that_are_gone_are_dropped() -> None:
    cells: list[Any] = [
        cell(image="debian:11", image_identity="sha256:older"),
        cell(image="debian:12", image_identity="sha256:now"),
        cell(image="gone:1", image_identity=None, verdict="UNPROVEN"),
        cell(image="unknown:1", image_identity="sha256:then"),
        cell(image="debian:12", image_identity=None, verdict="UNPROVEN", condition="no-home"),
    ]
    known = {"debian:11": "sha256:now", "debian:12": "sha256:now", "unknown:1": None}
    merged = merge.merge([{"cells": cells}], identities=known)
    assert [(c["image"], c["condition"]) for c in merged["cells"]] == [
        ("debian:12", "no-home"),
        ("debian:12", "plain"),
        ("unknown:1", "plain"),
    ]


def test_one_image_with_two_identities_is_refused_and_named() -> None:
    parts = [{"cells": [cell(image_identity="sha256:a"), cell(image_identity="sha256:b", condition="no-home")]}]
    with pytest.raises(ConfigError, match=r"debian:11 has two identities.*sha256:a and sha256:b|sha256:b and sha256:a"):
        merge.merge(parts)


def test_a_part_replaces_the_one_of_the_same_command_and_scope(tmp_path: Path) -> None:
    first = merge.write_part(tmp_path, "build", ["b", "a"], {"steps": []})
    again = merge.write_part(tmp_path, "build", ["a", "b"], {"steps": [{"name": "x"}]})
    merge.write_part(tmp_path, "build", ["a"], {})
    merge.write_part(tmp_path, "portability", ["a"], {})
    assert first == again
    assert len(merge.read_parts(tmp_path)) == 3
    assert reading.read(first)["steps"] == [{"name": "x"}]
    assert sorted(p.name for p in (tmp_path / "parts").iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"schema": 2}',
        b'{"schema": 1, "cells": {}}',
        b'{"schema": 1, "cells": [1]}',
        b'{"schema": 1, "cells": [{}]}',
        b'{"schema": 1, "artifacts": [{"name": "a"}]}',
        b'{"schema": 1, "artifacts": [{"name": "a", "sha256": "x", "measured_floor": 2.31}]}',
        b'{"schema": 1, "expected": [["a"]]}',
        b'{"schema": 1, "cells": [{"artifact": "", "sha256": "", "image": "", "condition": "", "expect": "",'
        b' "verdict": "PASS"}]}',
        b'{"schema": 1, "cells": [{"artifact": "a", "sha256": "x", "image": "i", "condition": "plain", "expect": "pass",'
        b' "verdict": "fine"}]}',
        b"[" * 200_000,
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)
def test_what_is_no_evidence_is_a_config_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "e.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        reading.read(path)
    assert (caught.value.where or "").removesuffix(":1:1") == str(path)


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        reading.read(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WILD_CELLS = st.fixed_dictionaries(
    {name: st.text(max_size=6) | JSON for name in ("artifact", "sha256", "image", "condition", "expect")}
    | {"verdict": st.sampled_from(["PASS", "FAIL", "XFAIL", "UNPROVEN", "odd"])},
    optional=dict.fromkeys(("image_identity", "image_glibc", "argv", "when", "optional", "detail"), JSON),
)
WILD = st.fixed_dictionaries(
    {"schema": st.just(1)},
    optional={
        "cells": st.lists(WILD_CELLS, max_size=3),
        "artifacts": st.lists(
            st.fixed_dictionaries(
                {"name": st.text(max_size=4), "sha256": st.text(max_size=4)},
                optional={"measured_floor": JSON},
            ),
            max_size=2,
        ),
        "expected": st.lists(st.lists(st.text(max_size=3), min_size=3, max_size=4), max_size=2) | JSON,
        "when": JSON,
        "kit": JSON,
    },
)


@given(told=WILD)
def test_whatever_can_be_read_can_be_merged_and_concluded(tmp_path_factory: pytest.TempPathFactory, told: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "wild.json"
    path.write_text(json.dumps(told))
    try:
        merged = merge.merge([reading.read(path)])
    except ConfigError:
        return
    json.dumps(conclude(merged).told())
