"""The typed model of evidence says what the schema says, and knows one identity of a cell."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import py_portable
from py_portable.evidence.typed import ROWS, CellResult, CellRow, ConfigRow, Evidence, HostRow, KitRow
from py_portable.plan.cell import CellId, ConditionId, PlannedCell, is_control

SCHEMA = json.loads((Path(py_portable.__file__).parent / "schemas" / "evidence.schema.json").read_text())
TYPES: dict[str, Any] = {**ROWS, "config": ConfigRow, "host": HostRow, "kit": KitRow}


def test_evidence_has_the_keys_of_the_schema() -> None:
    assert Evidence.__annotations__.keys() == SCHEMA["properties"].keys()


@pytest.mark.parametrize("name", TYPES)
def test_a_row_has_the_keys_of_the_schema(name: str) -> None:
    told = SCHEMA["properties"][name]
    told = told.get("items", told)
    row = TYPES[name]
    assert row.__annotations__.keys() == told["properties"].keys()
    # What an older kit wrote may lack what a kit of today always writes.
    assert row.__required_keys__ <= set(told["required"])


def test_what_a_run_writes_of_a_cell_is_a_row_of_evidence() -> None:
    assert {field.name for field in fields(CellResult)} | {"turn"} == CellRow.__annotations__.keys()


WORDS = st.text(min_size=1, max_size=5)


@given(WORDS, WORDS, st.builds(ConditionId, st.sampled_from(["plain", "no-home"]), st.booleans()), st.lists(WORDS))
def test_a_cell_is_the_same_planned_started_and_read_again(
    artifact: str, image: str, condition: ConditionId, argv: list[str]
) -> None:
    planned = PlannedCell(artifact, "file", image, str(condition), tuple(argv), "pass")
    started = CellResult(
        artifact, "file", "none", image, None, None, str(condition), "pass", "PASS", None, None, tuple(argv)
    )
    row = started.told()
    assert planned.id == started.id == CellId.of(row) == CellId.read(planned.id.told())
    assert is_control(row) == condition.control
    assert planned.control == (condition.name if condition.control else None)
