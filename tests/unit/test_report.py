"""Reports: what they say of evidence, within bounds, and that no text of an app becomes a part of their language."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from py_portable import cli
from py_portable.base import printable
from py_portable.evidence.conclude import conclude
from py_portable.report import annotations, junit, markdown, text
from py_portable.report.reasons import meaning
from py_portable.report.scorecard import MOST_DETAILS, scorecard
from py_portable.report.summary import Findings, find, folded

HERE = Path(__file__).parents[2]
ARTIFACT = {
    "name": "binary",
    "sha256": f"sha256:{'1' * 64}",
    "format": "nuitka-onefile",
    "bytes": 12_345_678,
    "measured_floor": "2.28",
}


def cell(image: str = "debian:11", verdict: str = "PASS", **changes: Any) -> dict[str, Any]:
    return {
        "artifact": "binary",
        "sha256": f"sha256:{'1' * 64}",
        "argv": ["run"],
        "image": image,
        "image_glibc": "2.31",
        "condition": "plain",
        "expect": "pass",
        "verdict": verdict,
        "reason": None,
        "detail": None,
        "seconds": 0.25,
    } | changes


def evidence(*cells: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "config": {"file": "portable.yaml", "sha256": "0" * 64},
        "artifacts": [ARTIFACT],
        "cells": list(cells),
    } | changes


def findings(told: Mapping[str, Any]) -> Findings:
    return find(told, conclude(told))


def card(told: Mapping[str, Any], most: int = markdown.MOST_BYTES) -> str:
    return markdown.render(scorecard(findings(told)), most)


def document(told: Mapping[str, Any]) -> xml.Element:
    return xml.fromstring(junit.render(findings(told)))


FAILED = cell(
    "debian:11",
    "FAIL",
    condition="no-home",
    reason="library",
    detail="libpq.so.5 not found",
    stderr_tail="Traceback\n\nImportError: libpq.so.5\n",
    exit_status=1,
    reproduce="sh dist/logs/reproduce/binary.sh",
)


def test_the_first_screen_says_what_failed_where_why_and_how_to_see_it_again() -> None:
    assert card(evidence(cell(), FAILED, cell("debian:12"))).splitlines()[:22] == [
        "# FAIL: 1 FAIL, 2 PASS",
        "",
        "## What failed",
        "",
        "### `binary` on `debian:11 (no-home)`",
        "",
        f"FAIL: `libpq.so.5 not found`. {meaning('library')}",
        "",
        "To repeat it (the second line only on the machine of the run):",
        "",
        "```sh",
        "py-portable portability --artifact binary --image debian:11 --probes no-home",
        "sh dist/logs/reproduce/binary.sh",
        "```",
        "",
        "Its last lines on stderr (exit status 1):",
        "",
        "```text",
        "Traceback",
        "ImportError: libpq.so.5",
        "```",
        "",
    ]


def test_a_build_that_failed_is_told_with_what_the_compiler_said_and_how_to_do_it_again() -> None:
    said = "\n".join(["a.c:13: error: expected ';'", *(f"pip's line {n}" for n in range(12))])
    rows = [{"name": name, "why": f"artifact {name} was not built", "tail": said} for name in ("tree", "wheels")]
    lines = card(evidence(artifacts=[], failures=rows)).splitlines()
    assert lines.count("### Not built: `tree`, `wheels`") == 1
    assert {"py-portable build tree wheels", "a.c:13: error: expected ';'"} <= set(lines[:30])
    control = {"name": "control built-too-new of tree", "why": "was not started", "tail": None}
    assert "py-portable build" not in card(evidence(artifacts=[], failures=[control]))


def test_what_is_unproven_comes_first_where_nothing_else_makes_the_run_red() -> None:
    optional = cell("alpha:1", "UNPROVEN", reason="image", detail="gone", optional=True)
    asked = cell("x:22-nope", "UNPROVEN", reason="image", detail="unknown host")
    lines = card(evidence(cell(), optional, asked)).splitlines()
    assert lines.index("## Unproven") < lines.index("## Cells")
    assert "py-portable portability --artifact binary --image x:22-nope --probes none" in lines[:15]
    lines = card(evidence(cell(), optional)).splitlines()
    assert lines.index("## Unproven") > lines.index("## Cells")
    assert not any(line.startswith("py-portable portability") for line in lines)


def test_of_several_smoke_commands_the_one_that_failed_is_named() -> None:
    failed = FAILED | {"argv": ["count", "a b"]}
    assert "Smoke command: `count 'a b'`." in card(evidence(cell(argv=["where"]), failed))
    assert "Smoke command" not in card(evidence(cell(argv=["run"]), FAILED))


def test_one_thing_to_mend_is_told_once() -> None:
    many = [FAILED | {"image": f"debian:{number}"} for number in range(11, 31)]
    told = card(evidence(*many))
    assert told.count("### `binary`") == 1
    assert "`debian:18 (no-home)` and 12 more" in told


def test_a_failed_build_and_many_failures_are_all_on_the_first_screen() -> None:
    many = [FAILED | {"image": f"i:{n}", "detail": f"no {n}"} for n in range(MOST_DETAILS + 5)]
    lines = card(evidence(*many, failures=[{"name": "oxide", "why": "cargo failed"}])).splitlines()
    assert "- `oxide: cargo failed`" in lines[:20]
    assert "- `binary` on `i:0 (no-home)`: `no 0`" in lines[:20]
    assert "- … and 15 more failures, below" in lines[:20]
    assert lines.count("### More failures") == 1
    assert sum(line.startswith("### `binary`") for line in lines) == MOST_DETAILS
    assert f"- `binary` on `i:{MOST_DETAILS + 4} (no-home)`: `no {MOST_DETAILS + 4}`" in lines


def test_without_a_failure_the_matrix_comes_first() -> None:
    lines = card(evidence(cell(), cell(condition="no-home"), cell("debian:12"))).splitlines()
    assert lines[:2] == ["# PASS: 3 PASS", ""] and lines[2] == "## Cells"
    assert "| image | `binary` |" in lines and "| `debian:11` | PASS (2) |" in lines
    assert "| `binary` | `nuitka-onefile` | 12.3 MB | glibc `2.28` | glibc `2.31` | - |" in lines


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        (["PASS"], "PASS"),
        (["PASS", "PASS"], "PASS (2)"),
        (["PASS", "FAIL", "UNPROVEN"], "FAIL 1 of 3"),
        (["PASS", "UNPROVEN", "UNPROVEN"], "UNPROVEN 2 of 3"),
        (["XFAIL"], "XFAIL"),
    ],
)
def test_conditions_are_folded_into_the_worst(verdicts: list[str], word: str) -> None:
    cells: list[Any] = [{"verdict": verdict} for verdict in verdicts]
    assert folded(cells) == word


def control(must_fail: str = "XFAIL") -> list[dict[str, Any]]:
    common = {"condition": "control:built-too-new", "sha256": "sha256:2"}
    fails = {"expect": "fail:glibc", "reason": "glibc", "detail": "GLIBC_2.36 not found"}
    return [cell("debian:11", must_fail, **common, **fails), cell("debian:12", **common)]


def test_controls_unproven_cells_and_the_benchmark_are_told() -> None:
    row = {
        "artifact": "binary",
        "image": "debian:12",
        "start": "later",
        "against": "python3.13 -m app",
        "pairs": 30,
    }
    row |= {"wall_ms": {"median": 31.24}, "ratio": {"median": 1.044, "low": 1.0, "high": 1.1}, "noisy": None}
    unproven = cell("debian:13", "UNPROVEN", reason="image", detail="cannot be had", optional=True)
    told = card(evidence(cell(), *control(), unproven, benchmark=[row, row | {"noisy": "without 1"}]))
    assert told.startswith("# PASS: ")
    assert "| `built-too-new` | `binary` | XFAIL | " in told
    assert f"- 1 of `binary` on `debian:13`: `cannot be had`. {meaning('image')}" in told
    assert "| `later` | `python3.13 -m app` | 1.04 [1.00, 1.10] | 31.2 | 30 |" in told
    assert "| 31.2 | too noisy, do not trust it |" in told


def test_every_reason_of_the_docs_has_a_meaning() -> None:
    documented = re.findall(r"^\| `([a-z]+)` \|", (HERE / "docs/verdicts.md").read_text(), re.MULTILINE)
    assert len(documented) > 10 and all(meaning(reason) for reason in documented)


def test_a_huge_matrix_fits_and_what_was_cut_is_said() -> None:
    cells = [
        FAILED | {"artifact": f"artifact-{a}", "image": f"image:{i}", "detail": f"no {a} {i} " + "x" * 300}
        for a in range(30)
        for i in range(400)
    ]
    told = evidence(*cells)
    assert len(card(told).encode()) <= markdown.MOST_BYTES
    small = card(told, 20_000)
    assert len(small.encode()) <= 20_000
    assert re.search(r"^Shortened to 20000 bytes: .*\d+ rows of the cells", small, re.MULTILINE)
    assert small.startswith("# FAIL")


def test_what_an_app_says_is_bounded() -> None:
    told = card(evidence(FAILED | {"stderr_tail": "y" * 1_000_000 + "\n" + "z\n" * 100_000}))
    assert len(told) < 5_000 and told.count("\nz") == 8


def test_a_login_is_not_shown_where_its_url_is_cut() -> None:
    long = "x" * 230 + " https://user:" + "secret" * 20 + "@host/ " + "y" * 400
    told = evidence(FAILED | {"stderr_tail": long, "detail": long})
    for shown in (card(told), junit.render(findings(told)).decode(), text.render(scorecard(findings(told)))):
        assert "secret" not in shown


# No text of an app is anything but text.

HOSTILE = [
    "::error file=a::b",
    "  ::add-mask::x",
    "\x1b::set-output name=a::b",
    "##[group]a ###[error]b ##vso[task.setvariable]c",
    "a\n::stop-commands::x\r::endgroup::",
    "section_start:1:a\r\x1b[0K",
    "```\n# heading\n",
    "`a` ``b`` ~~~",
    "| a | b |\n| --- | --- |",
    "\\| \\` \\",
    "<script>alert(1)</script><!-- --> </code></pre><details>",
    "![a](https://host/b) [c](javascript:d) <https://e> www.f.com g@h.com @user #1",
    "*a* _b_ **c** ~d~ $e$ &amp; &#60;",
    "- [ ] x\n1. y\n> z\n\n    code\n\n---\n===",
    "]]> ]]&gt; <![CDATA[ &a; <?xml ?>",
    "\x00\ufffe\uffff\ud800\u202e\u2028\x85",
    "",
    " ",
    " a ",
]
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=60),
    st.text(st.sampled_from("`|\\<>&*_[]()!#:~-+= \n\r\tab1@.$\"'{}\x1b"), max_size=40),
)
STRUCTURE = {"heading", "paragraph", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td"}
TAGS = {"<code>", "</code>", "<span>", "</span>"}


def hostile(told: str) -> dict[str, Any]:
    """Evidence with `told` wherever a foreign text may stand."""
    cells = [
        cell(told, verdict, artifact=name, condition=condition, detail=told, reason=told, argv=[told, told])
        | {"stderr_tail": told, "stdout_tail": told, "reproduce": told, "image_glibc": None, "expect": expect}
        for verdict, name, condition, expect in (
            ("FAIL", told, "plain", "pass"),
            ("FAIL", "other", told, "pass"),
            ("XPASS", "other", "read-only", "fail:glibc"),
            ("UNPROVEN", "other", "no-home", "pass"),
            ("XFAIL", "other", "plain", "fail:musl"),
            ("XFAIL", "other", f"control:{told}", "fail:glibc"),
        )
    ]
    artifacts = [{"name": told, "sha256": told, "format": told, "measured_floor": None}, ARTIFACT]
    row = dict.fromkeys(("artifact", "image", "start", "against", "pairs", "ratio", "wall_ms"), told)
    return evidence(
        *cells,
        artifacts=artifacts,
        failures=[{"name": told, "why": told}],
        benchmark=[row],
        expected=[[told, told, told, [told]]],
        kit={"version": told},
        host={"engine": told, "os": told},
        config={"file": told},
    )


def obeyed(line: str) -> bool:
    """Whether a runner takes the line for a command."""
    return line.lstrip().startswith("::") or re.search(r"##\w*\[", line) is not None


@settings(max_examples=150)
@given(TEXTS)
@example("::a")
@example("##[a]")
def test_no_line_of_a_report_is_a_log_command(told: str) -> None:
    found = findings(hostile(told))
    blocks = scorecard(found)
    for shown in (markdown.render(blocks), text.render(blocks), junit.render(found).decode()):
        assert not [line for line in shown.split("\n") if obeyed(line)]
        assert all(c.isprintable() or c == "\n" for c in shown)


@settings(max_examples=150)
@given(TEXTS)
@example("shard")
def test_no_text_becomes_markdown_or_html(told: str) -> None:
    parser = MarkdownIt("commonmark").enable("table").enable("strikethrough")
    shapes = []
    for one in (told, "tame"):
        kinds = []
        for token in parser.parse(markdown.render(scorecard(findings(hostile(one))))):
            kind = re.sub("_(open|close)$", "", token.type)
            assert kind in STRUCTURE | {"inline", "fence"}, token
            kinds.append(token.type)
            for child in token.children or ():
                assert child.type in ("text", "code_inline", "html_inline", "text_special"), child
                assert child.type != "html_inline" or child.content in TAGS, child
        shapes.append([kind for kind in kinds if kind != "inline"])
    # Names that fall together in one of the two make other groups, and a reason that is known (`shard`) is told in its
    # own way; else the shape is that of harmless text.
    if told.strip() and "\n" not in told and told.isprintable() and not meaning(told):
        assert shapes[0] == shapes[1]


@settings(max_examples=150)
@given(TEXTS)
def test_an_annotation_is_one_command_and_no_more(told: str) -> None:
    notes = annotations.notes(findings(hostile(told)))
    lines = annotations.github(notes, lambda _artifact, _wheel: (told, 3))
    assert lines
    for line in lines:
        assert line.isprintable() and not re.search(r"##\w*\[", line)
        properties, _, data = line.removeprefix("::").partition("::")
        assert re.fullmatch(r"(error|warning) (file=[^,:]*,line=3,)?title=[^,:]*", properties), line
        assert not re.search("%(?!25|0A)", data)
    issues = json.loads(annotations.codequality(notes, lambda _artifact, _wheel: (told, 3)))
    assert len({issue["fingerprint"] for issue in issues}) == len({note.key for note in notes})
    assert all(issue["description"].isprintable() for issue in issues)


def where(artifact: str | None, wheel: str | None) -> tuple[str, int]:
    return (wheel, 1) if wheel else ("portable.yaml", 12 if artifact == "binary" else 1)


def test_an_artifact_that_was_not_built_is_annotated_at_the_wheel_that_it_fell_over() -> None:
    rows = [
        {
            "name": "binary",
            "why": "wheelhouse failed",
            "tail": "a-1-py3-none-any.whl\nb-1-py3-none-any.whl is bad\n",
        },
        {"name": "tree", "why": "c-1-py3-none-any.whl breaks its promise", "tail": "d-1-py3-none-any.whl"},
        {"name": "house", "why": "no header"},
        {"name": "control built-too-new of binary", "why": "was not started"},
    ]
    lines = annotations.github(annotations.notes(findings(evidence(artifacts=[], failures=rows))), where)
    assert lines[0] == (
        "::error file=b-1-py3-none-any.whl,line=1,title=binary was not built::"
        "wheelhouse failed%0Aagain: py-portable build binary"
    )
    assert lines[1].startswith("::error file=c-1-py3-none-any.whl,line=1,title=tree was not built::")
    assert lines[2].startswith("::error file=portable.yaml,line=1,title=house was not built::no header%0A")
    assert "py-portable build" not in lines[3]


def test_annotations_stand_at_the_artifacts_line_and_are_as_many_as_are_shown() -> None:
    (line,) = annotations.github(annotations.notes(findings(evidence(cell(), FAILED))), where)
    assert line == (
        "::error file=portable.yaml,line=12,title=binary on debian%3A11 (no-home)::FAIL: libpq.so.5 not found%0A"
        f"{meaning('library')}%0Aagain: py-portable portability --artifact binary --image debian:11 --probes no-home"
    )
    many = [FAILED | {"image": f"i:{n}", "detail": f"no {n}"} for n in range(30)]
    lines = annotations.github(annotations.notes(findings(evidence(cell(), *many))), where)
    assert len(lines) == annotations.MOST
    assert lines[-1] == "::error title=py-portable::21 more are in the report"


@given(st.text(max_size=80))
@example("a`b|c\\@d")
def test_inline_code_shows_a_text_letter_by_letter(told: str) -> None:
    shown = printable.line(told)
    (_, token, _) = MarkdownIt("commonmark").parse(f"x {markdown.code(shown)} x")
    said = "".join(child.content for child in token.children or () if child.type != "html_inline")
    if shown.strip():
        assert said == f"x {shown} x"


@settings(max_examples=150)
@given(TEXTS)
def test_junit_is_xml_for_any_text(told: str) -> None:
    root = document(hostile(told))
    cases = root.findall("testsuite/testcase")
    for name in ("failure", "skipped"):
        count = len([case for case in cases if case.find(name) is not None])
        assert int(root.attrib["failures" if name == "failure" else name]) == count > 0
    assert int(root.attrib["tests"]) == len(cases)


@given(st.binary(max_size=200))
def test_junit_is_xml_for_any_bytes(said: bytes) -> None:
    told = said.decode("utf-8", "surrogateescape")
    assert document(evidence(FAILED | {"stderr_tail": told})).find("testsuite/testcase/failure") is not None


def test_junit_has_a_suite_an_artifact_and_a_case_a_cell() -> None:
    unproven = cell("debian:13", "UNPROVEN", reason="image", detail="cannot be had", optional=True)
    musl = cell("alpine:3.22", "XFAIL", expect="fail:musl", reason="musl", detail="no loader")
    root = document(evidence(cell(), FAILED, unproven, musl, *control()))
    (suite,) = root.findall("testsuite")
    assert suite.attrib == {
        "name": "binary",
        "tests": "6",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
        "time": "1.500",
    }
    said = {case.attrib["name"]: [child.tag for child in case] for case in suite}
    assert said == {
        "debian:11": [],
        "debian:11 (no-home)": ["failure"],
        "debian:13": ["skipped"],
        "alpine:3.22": ["system-out"],
        "debian:11 (control:built-too-new)": ["system-out"],
        "debian:12 (control:built-too-new)": [],
    }
    skipped = suite.find("testcase/skipped")
    assert skipped is not None and skipped.attrib["message"] == "UNPROVEN: cannot be had"
    failure = suite.find("testcase/failure")
    assert failure is not None and "again: sh dist/logs/reproduce/binary.sh" in (failure.text or "")


def test_junit_names_the_smoke_command_where_there_are_two() -> None:
    root = document(evidence(cell(), cell(argv=["--version"])))
    assert [case.attrib["name"] for case in root.iter("testcase")] == ["debian:11 run", "debian:11 --version"]


def test_what_holds_for_no_single_cell_is_red_in_junit_too() -> None:
    root = document(evidence(cell(), *control("XPASS"), failures=[{"name": "oxide", "why": "cargo failed"}]))
    names = [case.attrib["name"] for case in root.findall("testsuite[@name='conclusions']/testcase")]
    assert "oxide: cargo failed" in names and any("built-too-new" in name for name in names)


# The command.


def run(folder: Path, *words: str) -> int:
    return cli._run(["report", "--dist", str(folder / "dist"), *words])


def test_report_writes_both_files_and_needs_no_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "evidence.json").write_text(json.dumps(evidence(cell())))
    assert run(tmp_path) == 0
    assert capsys.readouterr().out.startswith("PASS: 1 PASS\n")
    assert (tmp_path / "dist" / "report.md").read_text().startswith("# PASS: 1 PASS\n")
    assert xml.parse(tmp_path / "dist" / "junit.xml").getroot().attrib["tests"] == "1"
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == [
        "evidence.json",
        "junit.xml",
        "report.md",
    ]


def test_report_is_status_1_where_something_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unproven = cell("debian:13", "UNPROVEN", reason="image", detail="cannot be had")
    file = tmp_path / "merged.json"
    file.write_text(json.dumps(evidence(cell(), unproven)))
    assert run(tmp_path, str(file), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["conclusions"]["verdict"] == "FAIL"
    assert told["files"]["junit"] == str(tmp_path / "dist" / "junit.xml")
    assert run(tmp_path, str(file), "--allow-unproven") == 0


def test_annotations_of_a_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "evidence.json").write_text(json.dumps(evidence(cell(), FAILED)))
    assert run(tmp_path, "--github") == 1
    assert "\n::error file=portable.yaml,line=1,title=binary on " in capsys.readouterr().out
    config = {"version": 1, "app": {"requirement": "x==1"}, "python": "3.13", "artifacts": {}}
    (tmp_path / "portable.yaml").write_text(json.dumps(config)[:-2] + '\n"binary": {"format": "file", "path": "x"}}}\n')
    assert run(tmp_path, "--github", "--gitlab", "-q") == 1
    assert "\n::error file=portable.yaml,line=2,title=binary on " in capsys.readouterr().out
    (issue,) = json.loads((tmp_path / "dist" / "codequality.json").read_text())
    assert issue["location"] == {"path": "portable.yaml", "lines": {"begin": 2}}


def test_a_wheel_of_the_repository_is_annotated_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "x-1-py3-none-any.whl"
    config = {
        "version": 1,
        "app": {"source": "src"},
        "python": "3.13",
        "wheels": {"use": "vendor"},
        "artifacts": {"tree": {"format": "bundle"}},
        "baselines": {"default": {"image": "debian:11"}},
    }
    (tmp_path / "portable.yaml").write_text(json.dumps(config))
    for folder in ("dist", "src", "vendor"):
        (tmp_path / folder).mkdir()
    rows = [{"name": "tree", "why": f"the wheelhouse has wheels that break the promise of their tags: {name}"}]
    (tmp_path / "dist" / "evidence.json").write_text(json.dumps(evidence(artifacts=[], failures=rows)))
    # One of the index is no file of the repository.
    assert run(tmp_path, "--github") == 1
    assert "\n::error file=portable.yaml,line=1,title=tree was not built" in capsys.readouterr().out
    (tmp_path / "vendor" / name).touch()
    assert run(tmp_path, "--github") == 1
    assert f"\n::error file=vendor/{name},line=1,title=tree was not built" in capsys.readouterr().out


@pytest.mark.parametrize("said", [None, "{", '{"schema": 1, "cells": [{}]}'])
def test_report_without_evidence_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str | None
) -> None:
    (tmp_path / "dist").mkdir()
    if said is not None:
        (tmp_path / "dist" / "evidence.json").write_text(said)
    assert run(tmp_path) == 2
    assert "evidence.json" in capsys.readouterr().err


@given(st.dictionaries(st.sampled_from(["kit", "host", "config", "benchmark"]), st.just([{"a": [1]}])))
def test_foreign_evidence_of_odd_types_is_no_traceback(odd: dict[str, Any]) -> None:
    strange = {name: [{"a": 1}] for name in ("reason", "detail", "stderr_tail", "seconds", "exit_status", "reproduce")}
    told = evidence(cell(verdict="FAIL", **strange), cell(verdict="UNPROVEN", **strange)) | odd
    assert card(told) and document(told) is not None
