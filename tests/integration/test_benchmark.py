"""Pairs of real starts: the shape of what comes out. How long anything took is no test."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import jsonschema
import pytest

from py_portable.benchmark.pairs import LEAST_PAIRS
from py_portable.benchmark.turns import Pairing, Place, Subject, compare, keeper, once, starter
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind
from py_portable.engines.select import select
from py_portable.errors import UnmetError
from tests.integration.conftest import REPOSITORY, MainJob

pytestmark = pytest.mark.integration

NOTER = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    char path[4096];
    if (argc > 1 && !strcmp(argv[1], "fail"))
        return fputs("no such thing\\n", stderr), 3;
    if (argc > 1 && !strcmp(argv[1], "quiet"))
        return 0;
    snprintf(path, sizeof path, "%s/seen", getenv("HOME"));
    if (argc > 1 && !strcmp(argv[1], "again"))
        return fopen(path, "r") ? 0 : 4;
    return fopen(path, "w") ? 0 : 5;
}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    work = tmp_path_factory.mktemp("startup")
    for folder in (work, *list(work.parents)[:2]):
        folder.chmod(0o755)
    static_helpers.put(work / "helpers")
    root = work / "root"
    for name in ("tmp", "opt"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (work / "noter.c").write_text(NOTER)
    subprocess.run([*static_helpers.compiler(), "-static", "-o", work / "noter", work / "noter.c"], check=True)
    yield Place(select("auto", work / "helpers")[0], root, work / "helpers", ())


def noter(place: Place, *words: str, kept: Path | None = None) -> Subject:
    program = place.helpers.parent / "noter"
    return Subject(
        f"noter {' '.join(words)}".strip(), ("/opt/noter", *words), (Bind(program, "/opt/noter"),), kept=kept
    )


def test_pairs_of_real_starts(place: Place) -> None:
    quiet, other = noter(place, "quiet"), noter(place)
    same, found = compare(place, [Pairing(quiet, quiet), Pairing(other, quiet)], LEAST_PAIRS)
    assert same.pairing.same and not found.pairing.same
    for one in (same, found):
        assert len(one.ratios) == LEAST_PAIRS
        assert 0 < one.ratio.low <= one.ratio.median <= one.ratio.high
        assert 0 < one.wall.low <= one.wall.high < 10_000
    assert found.told("none")["against"] == "noter quiet"


def test_what_fails_is_no_measurement(place: Place) -> None:
    with pytest.raises(UnmetError, match="does not start as it should: 3") as caught:
        once(place, noter(place, "fail"))
    assert "no such thing" in (caught.value.tail or "")


def test_what_keeps_something_is_seen_and_finds_it_again(place: Place, tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    assert not keeper(place, noter(place, "quiet"), tmp_path / "quiet")
    assert keeper(place, noter(place), tmp_path / "kept")
    once(place, noter(place, "again", kept=tmp_path / "kept"))
    with pytest.raises(UnmetError, match="does not start as it should: 4"):
        once(place, noter(place, "again"))


def test_a_start_by_hand_is_a_command_line(place: Place) -> None:
    assert starter(place, noter(place, "quiet"))[-2:] == ("/opt/noter", "quiet")


def test_every_artifact_is_compared_with_the_interpreter_and_the_evidence_has_it(
    tmp_path: Path, main_job: MainJob
) -> None:
    done = main_job.project.run("benchmark", "--image", "debian:12", "--pairs", str(LEAST_PAIRS), "--json")
    told = json.loads(done.stdout)
    # Eight pairs on a loaded machine may be too noisy; then the run has to say so.
    assert done.status == int(told["noisy"]) and ("too noisy" in done.stderr) == told["noisy"], done.stderr
    assert {row["artifact"] for row in told["benchmark"]} == {"wheels", "folder", "binary", "tree"}
    assert {(row["start"], row["against"], row["pairs"]) for row in told["benchmark"]} == {
        ("later", "python3.13 -m myapp.myapp", LEAST_PAIRS)
    }
    (same,) = told["same"]
    assert same["artifact"] == same["against"] == "python3.13 -m myapp.myapp"
    kept = json.loads((main_job.project.folder / "dist" / "evidence.json").read_text())
    key = itemgetter("artifact", "start")
    assert sorted(kept["benchmark"], key=key) == sorted(told["benchmark"], key=key)
    # What was concluded from the cells holds still.
    assert kept["conclusions"]["verdict"] == "PASS"
    jsonschema.validate(kept, json.loads((REPOSITORY / "schemas" / "evidence.schema.json").read_text()))
    report = main_job.project.run("report", "dist/evidence.json", "--dist", tmp_path)
    assert report.status == 0 and "Start-up" in report.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--image", "debian:99"), "no image is named debian:99"),
        (("nothing",), "no artifact is named nothing"),
    ],
)
def test_wrong_words_are_explained(main_job: MainJob, words: tuple[str, ...], said: str) -> None:
    done = main_job.project.run("benchmark", *words)
    assert done.status == 2 and said in done.stderr and "Traceback" not in done.stderr
