"""JUnit XML: one suite for each artifact, one case for each cell, and one suite for problems of no single cell.

The dialect is the one that GitLab, Jenkins and GitHub's actions read: testsuites, testsuite, testcase with at most one
of failure and skipped. All foreign text is printable, which is a part of what XML 1.0 can hold (section 2.2, Char).
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as xml

from py_portable.base import printable
from py_portable.base.redact import hide
from py_portable.evidence.typed import CellRow
from py_portable.plan.cell import is_control
from py_portable.report.reasons import meaning
from py_portable.report.summary import Findings, again, number, text, why

TAIL_LINES = 40
TAIL_WIDTH = 400
MOST_CHARACTERS = 1000
CONCLUSIONS = "conclusions"


def render(found: Findings) -> bytes:
    """The document as UTF-8."""
    by_artifact: dict[str, list[CellRow]] = {}
    for cell in found.cells:
        by_artifact.setdefault(cell["artifact"], []).append(cell)
    suites = []
    for artifact, cells in by_artifact.items():
        with_command = _commands(cells)
        suites.append(_suite(artifact, [_case(cell, found, with_command) for cell in cells]))
    if found.problems or not suites:
        # Exit status 1 without a red case would be a riddle.
        suites.append(_suite(CONCLUSIONS, _problems(found.problems)))
    root = xml.Element("testsuites", {"name": "py-portable", **_sums(suites)})
    root.extend(suites)
    xml.indent(root, " ")
    document: bytes = xml.tostring(root, "utf-8", xml_declaration=True)
    return document + b"\n"


def _commands(cells: Sequence[CellRow]) -> bool:
    """Whether the smoke command has to be named to distinguish the cells."""
    return len({tuple(text(word) for word in cell["argv"]) for cell in cells}) > 1


def _case(cell: CellRow, found: Findings, with_command: bool) -> xml.Element:
    control = is_control(cell)
    name = cell["image"]
    if cell["condition"] != "plain":
        name += f" ({cell['condition']})"
    if with_command:
        name += f" {' '.join(text(word) for word in cell['argv'])}"
    seconds = number(cell.get("seconds"), 3)
    case = xml.Element(
        "testcase",
        {
            "classname": _line(cell["artifact"]),
            "name": _line(name),
            "time": "0" if seconds == "-" else seconds,
        },
    )
    verdict, reason = cell["verdict"], _line(why(cell))
    match verdict:
        case "PASS":
            pass
        case "XFAIL":
            xml.SubElement(case, "system-out").text = f"failed as it must: {reason}"
        case "XPASS":
            _failure(case, cell, found, reason)
        case "FAIL" if not control:
            _failure(case, cell, found, reason)
        case _:
            # A control whose twin fails shows nothing; what follows from that is among the conclusions.
            xml.SubElement(case, "skipped", {"message": f"{verdict}: {reason}"})
    return case


def _failure(case: xml.Element, cell: CellRow, found: Findings, reason: str) -> None:
    failure = xml.SubElement(case, "failure", {"type": cell["verdict"], "message": reason})
    told = [meaning(text(cell.get("reason")))]
    told += [f"again: {hide(printable.line(one))}" for one in again(cell, found.config)]
    for name in ("stderr", "stdout"):
        if said := printable.last(hide(text(cell.get(f"{name}_tail"))), TAIL_LINES, TAIL_WIDTH):
            told += [f"{name}:", *(f"  {one}" for one in said)]
    failure.text = "\n".join(one for one in told if one)


def _problems(problems: Sequence[str]) -> list[xml.Element]:
    cases = []
    for problem in problems:
        told = _line(problem)
        case = xml.Element("testcase", {"classname": CONCLUSIONS, "name": told, "time": "0"})
        xml.SubElement(case, "failure", {"type": "problem", "message": told})
        cases.append(case)
    return cases


def _suite(name: str, cases: Sequence[xml.Element]) -> xml.Element:
    suite = xml.Element("testsuite", {"name": _line(name)})
    suite.extend(cases)
    times = sum(float(case.get("time", "0")) for case in cases)
    suite.attrib |= {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{times:.3f}",
    }
    return suite


def _sums(suites: Sequence[xml.Element]) -> dict[str, str]:
    names = ("tests", "failures", "errors", "skipped")
    return {
        **{name: str(sum(int(suite.attrib[name]) for suite in suites)) for name in names},
        "time": f"{sum(float(suite.attrib['time']) for suite in suites):.3f}",
    }


def _line(told: str) -> str:
    return printable.short(hide(printable.line(told)), MOST_CHARACTERS)
