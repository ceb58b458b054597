"""What the times of pairs come to: known answers, and what holds for any times."""

from __future__ import annotations

import json
import math
import random
import statistics
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable import cli
from py_portable.benchmark import measure, subjects, turns
from py_portable.benchmark.pairs import (
    CONFIDENCE,
    LEAST_PAIRS,
    SAME_CONFIDENCE,
    Estimate,
    estimate,
    noise,
    order_rank,
    ratios,
    schedule,
    sentence,
)
from py_portable.benchmark.turns import Compared, Pairing, Place, Subject, Took, compare
from py_portable.cli import benchmark
from py_portable.engines.native import Native
from py_portable.errors import UnmetError

positive = st.floats(min_value=1e-3, max_value=1e3)


# The ranks of the sign test's tables: 10 and 21 of 30 values bound their median with 95 %.
@pytest.mark.parametrize(
    ("count", "confidence", "rank"),
    [
        (5, 0.95, 0),
        (6, 0.95, 1),
        (8, 0.95, 1),
        (9, 0.95, 2),
        (10, 0.95, 2),
        (20, 0.95, 6),
        (30, 0.95, 10),
        (100, 0.95, 40),
        (7, 0.99, 0),
        (8, 0.99, 1),
        (30, 0.99, 8),
    ],
)
def test_ranks_are_those_of_the_tables(count: int, confidence: float, rank: int) -> None:
    assert order_rank(count, confidence) == rank


def test_the_least_number_of_pairs_is_the_least() -> None:
    assert order_rank(LEAST_PAIRS, SAME_CONFIDENCE) == 1
    assert order_rank(LEAST_PAIRS - 1, SAME_CONFIDENCE) == 0


@given(st.integers(1, 400), st.sampled_from((0.5, 0.9, CONFIDENCE, SAME_CONFIDENCE)))
def test_the_rank_is_the_largest_that_keeps_the_confidence(count: int, confidence: float) -> None:
    def covered(rank: int) -> float:
        return 1 - 2 * sum(math.comb(count, below) for below in range(rank)) / 2**count

    rank = order_rank(count, confidence)
    assert rank == 0 or covered(rank) >= confidence - 1e-9
    if rank < count // 2:
        assert covered(rank + 1) < confidence


def test_an_estimate_of_known_values() -> None:
    values = [float(n) for n in range(1, 31)]
    random.Random(1).shuffle(values)
    assert estimate(values) == Estimate(15.5, 10.0, 21.0)
    assert estimate(values, SAME_CONFIDENCE) == Estimate(15.5, 8.0, 23.0)


def test_too_few_values_give_no_interval() -> None:
    with pytest.raises(ValueError, match="5 values are too few"):
        estimate([1.0] * 5)


@given(st.lists(positive, min_size=LEAST_PAIRS, max_size=60))
def test_an_interval_has_the_median_in_it_and_the_order_does_not_matter(values: list[float]) -> None:
    found = estimate(values)
    assert found.low <= found.median <= found.high
    assert found.median == statistics.median(values)
    assert estimate(sorted(values, reverse=True)) == found
    wider = estimate(values, SAME_CONFIDENCE)
    assert wider.low <= found.low and found.high <= wider.high


@given(st.lists(st.tuples(positive, positive), min_size=LEAST_PAIRS, max_size=40), positive)
def test_the_unit_of_time_and_a_slower_machine_change_no_ratio(pairs: list[tuple[float, float]], factor: float) -> None:
    plain = ratios([a for a, _ in pairs], [b for _, b in pairs])
    slower = ratios([a * factor for a, _ in pairs], [b * factor for _, b in pairs])
    assert slower == pytest.approx(plain)


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    """Of a skewed distribution, as times are: 1000 runs of 30 pairs, median of exp(N(0, 1)) is 1."""
    draw = random.Random(7)
    held = sum(estimate([draw.lognormvariate(0, 1) for _ in range(30)]).holds(1.0) for _ in range(1000))
    assert 940 <= held <= 985


@given(st.integers(1, 8), st.integers(1, 40), st.integers(0, 1000))
def test_every_round_has_everybody_once_and_the_order_is_fair(contenders: int, pairs: int, seed: int) -> None:
    rounds = list(schedule(contenders, pairs, seed))
    assert len(rounds) == pairs
    assert all(sorted(turn.who for turn in turns) == list(range(contenders)) for turns in rounds)
    for who in range(contenders):
        first = [turn.reference_first for turns in rounds for turn in turns if turn.who == who]
        assert all(a != b for a, b in pairwise(first))
    assert rounds == list(schedule(contenders, pairs, seed))


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Estimate(3.21, 3.0, 3.52), "python -m app ran 3.21 ± 0.26 times faster than single"),
        (Estimate(0.5, 0.4, 0.625), "single ran 2.00 ± 0.45 times faster than python -m app"),
        (Estimate(0.99, 0.97, 1.01), "single and python -m app: no difference seen (0.99 ± 0.02)"),
        (Estimate(1.01, 1.0, 1.02), "single and python -m app: no difference seen (1.01 ± 0.01)"),
    ],
)
def test_sentences(ratio: Estimate, said: str) -> None:
    assert sentence("single", "python -m app", ratio) == said


def test_a_thing_against_itself_has_to_include_1_and_to_say_something() -> None:
    assert noise(Estimate(1.01, 0.97, 1.04)) is None
    assert noise(Estimate(1.03, 1.01, 1.05)) == "without 1"
    assert noise(Estimate(1.0, 0.8, 1.25)) == "wider than ± 0.1"


def test_drift_of_the_machine_cancels_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine gets five times slower during the run, and whoever goes second is favoured."""
    clock = 0

    def drifting(_place: Place, subject: Subject) -> Took:
        nonlocal clock
        clock += 1
        warm = 0.97 if clock % 2 else 1.0
        took = {"bare": 40.0, "slow": 80.0}[subject.name] * (1 + clock / 30) * warm
        return Took(took, took / 2)

    monkeypatch.setattr(turns, "once", drifting)
    bare, slow = Subject("bare", ("/bare",), ()), Subject("slow", ("/slow",), ())
    place = Place(Native(), Path("/"), Path("/"), ())
    same, other = compare(place, [Pairing(bare, bare), Pairing(slow, bare)], 30)
    assert same.pairing.same and same.ratio.holds(1.0)
    assert not other.pairing.same and other.ratio.holds(2.0) and other.ratio.spread < 0.2
    row = other.told("debian:12")
    assert row["pairs"] == 30 and row["against"] == "bare" and set(row["ratio"]) == {"median", "low", "high"}


def test_rows_fit_the_schema_and_say_how_noisy_their_reference_was() -> None:
    bare, own = Subject("python3.13 -m app", ("p",), ()), Subject("folder", ("f",), (), "nuitka-standalone")
    exact = Estimate(1.0, 0.99, 1.01)
    same = Compared(Pairing(bare, bare), exact, exact, Estimate(1.2, 1.1, 1.3), exact, (1.0,))
    found = Compared(Pairing(own, bare), exact, exact, exact, exact, (1.0,))
    noises = {"python3.13 -m app": measure._noise(same)}
    wanted = measure.BenchmarkRequest(args=("--version",), seed=3)
    (row,) = measure._rows([found], noises, {"folder": "sha256:1"}, "debian:12", wanted)
    assert (row["noisy"], row["same"]["median"], row["args"]) == ("without 1", 1.2, ["--version"])
    schema = json.loads((Path(turns.__file__).parents[1] / "schemas" / "evidence.schema.json").read_text())
    jsonschema.validate({"schema": 1, "benchmark": [row]}, schema)


@pytest.mark.parametrize(
    ("words", "artifacts", "args"),
    [
        ([], (), ("--help",)),
        (["a", "b"], ("a", "b"), ("--help",)),
        (["a", "--", "--version", "--", "x"], ("a",), ("--version", "--", "x")),
        (["--", "run"], (), ("run",)),
    ],
)
def test_what_stands_after_two_dashes_is_the_apps(
    monkeypatch: pytest.MonkeyPatch, words: list[str], artifacts: tuple[str, ...], args: tuple[str, ...]
) -> None:
    seen: list[measure.BenchmarkRequest] = []

    def stop(_session: object, wanted: measure.BenchmarkRequest) -> measure.Measured:
        seen.append(wanted)
        raise UnmetError("stopped")

    monkeypatch.setattr(measure, "measure", stop)
    monkeypatch.setattr(benchmark, "open_session", lambda _common: None)
    assert cli._run(["benchmark", *words]) == 1
    assert (seen[0].artifacts, seen[0].args) == (artifacts, args)


def test_too_few_pairs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.LEAST_PAIRS == LEAST_PAIRS
    assert cli._run(["benchmark", "--pairs", str(LEAST_PAIRS - 1)]) == 2
    assert "--pairs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "what"),
    [
        (None, "does not record which module"),
        (b"", "does not record which module"),
        (b"[1]", "does not record which module"),
        (b"{}", "does not record which module"),
        (b'{"module": 1}', "1 is not a module"),
        (b'{"module": "a b"}', "'a b' is not a module"),
        (b'{"program": "../../bin/sh", "python": false}', "'../../bin/sh' is not a program"),
        (b'{"program": "", "python": true}', "'' is not a program"),
    ],
)
def test_what_an_installation_says_of_its_module_is_foreign(tmp_path: Path, told: bytes | None, what: str) -> None:
    if told is not None:
        (tmp_path / "bare.json").write_bytes(told)
    with pytest.raises(UnmetError, match=what):
        subjects.program_of(tmp_path, "/site")


@pytest.mark.parametrize(
    ("told", "argv"),
    [
        (b'{"module": "a.b"}', (subjects.PYTHON, "-m", "a.b")),
        (b'{"program": "a-b", "python": true}', (subjects.PYTHON, "/site/bin/a-b")),
        (b'{"program": "a-b", "python": false}', ("/site/bin/a-b",)),
    ],
)
def test_the_program_that_an_artifact_is_compared_with(tmp_path: Path, told: bytes, argv: tuple[str, ...]) -> None:
    (tmp_path / "bare.json").write_bytes(told)
    assert subjects.program_of(tmp_path, "/site") == argv
