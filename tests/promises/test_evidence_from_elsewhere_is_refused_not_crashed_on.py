"""Evidence, plans, records and locks may have been written by anybody: what cannot be one is refused with its file and its
key, and never ends in a traceback, whatever stands in it and however much."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from py_portable import cli
from py_portable.base import shape
from py_portable.errors import ConfigError, PortableError
from py_portable.evidence import merge, reading
from py_portable.evidence.reading import NEEDED
from py_portable.lock import lockfile
from py_portable.plan import shards
from py_portable.project import records
from tests.integration.conftest import REPOSITORY
from tests.unit.test_sharding import PARTS, PLAN, PLANNED

COUNT = 700
"""Of changed files; scripts/fuzz-evidence does tens of thousands."""


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = REPOSITORY / "scripts" / "fuzz-evidence"
    spec = importlib.util.spec_from_loader("fuzz_evidence", SourceFileLoader("fuzz_evidence", str(path)))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_changed_files_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    samples = list(fuzz.own(tmp_path))
    ended, faults = fuzz.run(samples, COUNT, 7, tmp_path)
    assert not faults, "\n".join(faults.values())
    # Both, or nothing was looked at.
    assert ended["read"] > COUNT // 20 and ended["refused"] > COUNT // 5


def test_what_the_kit_writes_is_read_as_it_is(fuzz: ModuleType, tmp_path: Path) -> None:
    readers = fuzz.Readers(tmp_path, list(fuzz.own(tmp_path)))
    for sample in fuzz.own(tmp_path):
        readers.read(sample, sample.data)


SIX: tuple[tuple[str, Callable[[dict[str, Any]], Any], str], ...] = (
    ("a config without sha256", lambda told: told["config"].pop("sha256"), "config has no 'sha256'"),
    ("a config that is not an object", lambda told: told.update(config=[1]), "config is a list, expected an object"),
    (
        "a version of 5,000 digits",
        lambda told: told["cells"][0].update(image_glibc="2." + "1" * 5000),
        'cells[0].image_glibc cannot be "2.1111',
    ),
    (
        "half of a character",
        lambda told: told["cells"][1].update(detail="\ud800"),
        "cells[1].detail has half of a char",
    ),
    ("an integer no float holds", lambda told: told["cells"][0].update(seconds=10**400), "which is too large"),
    (
        "a float that is none",
        lambda told: told["artifacts"][0].update(seconds=float("inf")),
        "has Infinity, which is no",
    ),
    ("a verdict", lambda told: told["cells"][2].update(verdict="FINE"), 'cells[2].verdict is "FINE", expected one of'),
    ("a reason", lambda told: told["cells"][2].update(reason="nonsense"), 'cells[2].reason is "nonsense", expected'),
    (
        "an expectation",
        lambda told: told["cells"][2].update(expect="fail:nonsense"),
        'cells[2].expect is "fail:nonsense"',
    ),
    ("no words", lambda told: told["cells"][2].update(argv="run"), 'cells[2].argv is "run", expected a list'),
    ("a cell that is not an object", lambda told: told["cells"].append([1]), "cells[4] is a list, expected an object"),
    ("a truth as a number", lambda told: told["cells"][0].update(seconds=True), "cells[0].seconds is true"),
    (
        "a line break in a digest",
        lambda told: told["artifacts"][0].update(sha256=f"sha256:{'1' * 64}\n"),
        "sha256 cannot",
    ),
    (
        "expected cells",
        lambda told: told.update(expected=[["a", "b", "c", [1]]]),
        "expected[0] does not consist of artifact",
    ),
    ("a turn", lambda told: told.update(turn=1 << 60), "turn is 1152921504606846976, expected at most"),
)


@pytest.mark.parametrize(("spoil", "said"), [one[1:] for one in SIX], ids=[one[0] for one in SIX])
def test_what_cannot_be_is_refused_with_file_and_key(
    spoil: Callable[[dict[str, Any]], Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    told = json.loads(json.dumps(PARTS[0]))
    spoil(told)
    (tmp_path / "part.json").write_text(json.dumps(told))
    (tmp_path / "plan.json").write_text(json.dumps(PLANNED))
    for words in (["merge", "plan.json", "part.json"], ["report", "part.json"]):
        assert cli._run(words) == 2
        err = capsys.readouterr().err
        assert err.startswith("Error: part.json: ") and said in err and "Traceback" not in err, err


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "nul", '{"schema": 1,}', '{"schema": 1} 1', "[" * 100_000, '{"schema": ' + "9" * 5000 + "}",
        '{"schema": 1, "schema": 1}', '{"a": ' * 60 + "1" + "}" * 60, '{"schema": NaN}', '{"schema": -Infinity}',
        '{"schema": 1e999}', '{"schema": "\\ud800"}', '{"\\udfff": 1}', '{"schema": true}', '{"schema": 1.0}', "1", "null",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_one_reader_for_all_of_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    for read in (reading.read, records.read, lockfile.load):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert (caught.value.where or "").startswith(("file.json", str(path)))


def test_a_file_that_never_ends_is_not_read_and_a_long_one_to_the_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="/dev/zero: cannot be read: is not a regular file"):
        reading.read(Path("/dev/zero"))
    monkeypatch.setattr(shape, "MOST_BYTES", 1 << 16)
    path = tmp_path / "long"
    path.write_bytes(bytes((1 << 16) + 1))
    with pytest.raises(ConfigError, match="has more than 65536 bytes"):
        reading.read(path)


def test_a_newer_kits_keys_pass_and_are_bounded(tmp_path: Path) -> None:
    told = {**PARTS[0], "new": {"deep": [{"x": 1}]}, "cells": [{**PARTS[0]["cells"][0], "new": [1]}]}
    path = tmp_path / "part.json"
    path.write_text(json.dumps(told))
    (cell,) = list[Any](reading.read(path)["cells"])
    assert cell["new"] == [1]
    deep: Any = 1
    for _ in range(shape.MOST_DEPTH + 1):
        deep = [deep]
    path.write_text(json.dumps({**told, "new": deep}))
    with pytest.raises(ConfigError, match=r"new.*is nested too deeply"):
        reading.read(path)


def test_a_path_may_hold_bytes_that_are_no_characters(tmp_path: Path) -> None:
    told = json.loads(json.dumps(PARTS[0]))
    told["artifacts"][0]["path"] = told["cells"][0]["reproduce"] = "caf\udce9"
    path = tmp_path / "part.json"
    path.write_text(json.dumps(told))
    assert reading.read(path)["artifacts"][0]["path"] == "caf\udce9"
    for name, text in (("path", "\ud800"), ("name", "caf\udce9")):
        path.write_text(json.dumps({**told, "artifacts": [{**told["artifacts"][0], name: text}]}))
        with pytest.raises(ConfigError, match=rf"artifacts\[0\].{name} has half of a character"):
            reading.read(path)


def test_an_older_kits_evidence_is_still_read(tmp_path: Path) -> None:
    """What no version ever left out; all else may be missing."""
    row = dict.fromkeys(NEEDED["cells"], "x") | {"sha256": "none", "verdict": "PASS", "expect": "pass", "argv": []}
    path = tmp_path / "part.json"
    path.write_text(json.dumps({"schema": 1, "cells": [row]}))
    assert reading.read(path)["cells"] == [row]
    for name in row:
        path.write_text(json.dumps({"schema": 1, "cells": [{key: row[key] for key in row if key != name}]}))
        with pytest.raises(ConfigError, match=rf"cells\[0\] has no '{name}'"):
            reading.read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(st.integers(0, 30), max_size=6), value=JSON)
def test_any_value_in_any_place_is_read_or_refused(tmp_path: Path, path: list[int], value: Any) -> None:
    told = json.loads(json.dumps(PLANNED | PARTS[0]))
    holder: Any = told
    for step in path[:-1]:
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        if not keys or not isinstance(holder[keys[step % len(keys)]], (dict, list)):
            break
        holder = holder[keys[step % len(keys)]]
    if isinstance(holder, dict) and holder:
        holder[sorted(holder)[sum(path) % len(holder)]] = value
    elif isinstance(holder, list):
        holder.append(value)
    (tmp_path / "any.json").write_text(json.dumps(told))
    try:
        merge.merge([reading.read(tmp_path / "any.json")], shards=True)
    except PortableError as problem:
        problem.render().encode()


# ---------------------------------------------------------------------------------------------------- a plan of many cells


def test_a_plan_with_a_cell_twice_is_refused_in_no_time() -> None:
    told = json.loads(json.dumps(PLAN.told()))
    first = told["shards"][0]["cells"][0]
    told["shards"][0]["cells"] = [{**first, "argv": [str(number)]} for number in range(20_000)]
    told["shards"][0]["cells"].append({**first, "argv": ["19999"]})
    began = time.process_time()
    with pytest.raises(ConfigError, match=r"its plan has the cell .*19999.* twice"):
        shards.parse(told, "plan.json")
    # Some tenths of a second; counting each in all of them took minutes.
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda plan: plan["shards"][1]["cells"][0].update(expect="fail:x"),
            "shards[1].cells[0].expect cannot be 'fail:x'",
        ),
        (lambda plan: plan["shards"][0].update(name="../x"), "shards[0].name cannot be '../x'"),
        (lambda plan: plan["shards"][0]["cells"][0].update(exit=256), "shards[0].cells[0].exit cannot be 256"),
        (lambda plan: plan.update(helpers={"x": "y"}), "helpers cannot be 'x'"),
        (lambda plan: plan.update(run="XYZ"), "run cannot be 'XYZ'"),
        (lambda plan: plan.pop("lock"), "it has no 'lock'"),
    ],
)
def test_a_plans_error_names_its_key(spoil: Callable[[Any], Any], said: str, tmp_path: Path) -> None:
    told = json.loads(json.dumps(PLANNED))
    spoil(told["plan"])
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(told))
    with pytest.raises(ConfigError) as caught:
        reading.read(path)
    assert (caught.value.where, said in caught.value.what) == (str(path), True), caught.value.what


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lock: lock["houses"]["default/3.13"]["packages"][0]["file"].update(size=-1), "packages[0].file.size"),
        (lambda lock: lock["images"].update({"image debian:11": 7}), "images.image debian:11 cannot be 7"),
        (lambda lock: lock.pop("pins"), "pins is not an object"),
        (lambda lock: lock.update(version="1"), "version cannot be '1'"),
        (lambda lock: lock["houses"].update(x=[]), "it has no houses.x"),
    ],
)
def test_a_locks_error_names_its_key(spoil: Callable[[Any], Any], said: str, tmp_path: Path, fuzz: ModuleType) -> None:
    (sample,) = (one for one in fuzz.own(tmp_path) if one.kind == "lock")
    told = json.loads(sample.data)
    spoil(told)
    with pytest.raises(ConfigError) as caught:
        lockfile.loads(json.dumps(told), "portable.lock")
    assert (caught.value.where, said in caught.value.what) == ("portable.lock", True), caught.value.what
