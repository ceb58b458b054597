"""Makes a verdict from what was observed at one start. Pure."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from py_portable.base.capture import Captured, Lines
from py_portable.config import Smoke
from py_portable.engines.limits import MEMORY_BYTES
from py_portable.plan.verdicts import reason_expected
from py_portable.prove.start import Started

Verdict = Literal["PASS", "FAIL", "XFAIL", "XPASS", "UNPROVEN", "NOT-APPLICABLE"]

# Every repetition has a bound: the text is an artifact's, up to a megabyte of it, and may be made to take long.
_USER = r"(?: \(required by ([^)\n]{1,1024})\))?"
_GLIBC = re.compile(r"version `(GLIBC_(?:[0-9.]{1,20}|PRIVATE|ABI_\w{1,40}))' not found" + _USER)
_SYMBOL_VERSION = re.compile(r"version `([\w.+-]{1,100})' not found" + _USER)
_LIBRARY = re.compile(r"(?:^|[\s:])([\w.+-]{1,255}?\.so[\w.]{0,64}): cannot open shared object file")
_FUSE = re.compile(
    r"^AppImages require FUSE to run|^Cannot mount \w{1,20}, please check your FUSE setup", re.MULTILINE
)
"""What runtimes say that mount their own file, an old one and a new one."""
_UNDEFINED = re.compile(r"undefined symbol: (\w{1,1000})")


@dataclass(frozen=True)
class Finding:
    """`reason` is one word of docs/verdicts.md; None if everything was as the smoke command asks."""

    reason: str | None
    detail: str | None = None


@dataclass(frozen=True)
class Judged:
    verdict: Verdict
    reason: str | None
    detail: str | None


def look(started: Started, smoke: Smoke, seeks: tuple[str, ...] = (), fills: tuple[str, ...] = ()) -> Finding:
    """Whether the app did what the smoke command asks, or else why not. For `seeks` and `fills` see `Start`."""
    record = started.record
    assert record is not None
    err = started.stderr.text
    if record.exec_errno:
        if record.exec_errno == 2:
            return Finding(
                "loader", "its program interpreter (the loader, or that of a #! line) is not on the image"
            )
        return Finding("exec", f"the kernel does not start it: {_errno(record.exec_errno)}")
    if started.timed_out or record.limit:
        return Finding("timeout", f"did not end within {smoke.timeout:g} s")
    if record.signal is not None:
        why = (
            f": it used more than the {MEMORY_BYTES >> 30} GiB of memory that a cell may use"
            if started.out_of_memory
            else ""
        )
        return Finding("signal", f"killed by {_signal(record.signal)}{why}")
    if record.exited and (line := _line(err, seeks)):
        return Finding("interpreter", f"no interpreter for it is on the image; it says: {line}")
    if record.exited and (line := _line(err, fills)):
        return Finding("room", f"no folder has room for what it unpacks; it says: {line}")
    # An app that is expected to end with 1 must not pass because the loader ended it with 1.
    if record.exited and (told := _loader_text(err)):
        return told
    if record.exited and _FUSE.search(err):
        return Finding("fuse", "it mounts itself by FUSE, and there is none where it was started")
    if record.exited != smoke.exit:
        return Finding("exit", f"exit status {record.exited}, expected {smoke.exit}{_last(err)}")
    for name, expected, seen in (
        ("stdout", smoke.stdout, started.stdout),
        ("stderr", smoke.stderr, started.stderr),
    ):
        lost = _lost(expected, seen)
        if lost is not None:
            return Finding("output", f"{name} lacks the line {lost!r}{_said(seen.text)}")
    return Finding(None)


def corroborate(
    finding: Finding,
    *,
    is_elf: bool,
    image_glibc: str | None,
    measured_floor: str | None,
    asked_for: Callable[[str], bool],
) -> Finding:
    """An error message of the loader is believed only if the app's ELF files confirm it.

    `is_elf`: whether the program itself is an ELF file; `measured_floor`: over all ELF files of the artifact;
    `asked_for`: whether one of them needs what a detail says is missing (looked at only where it decides).
    """
    if finding.reason == "loader" and not is_elf:
        return Finding("interpreter", "the interpreter that its #! line names is not on the image")
    if finding.reason == "glibc":
        asked = re.match(r"GLIBC_(\d+(?:\.\d+)+)", finding.detail or "")
        relr = "2.36" if (finding.detail or "").startswith("GLIBC_ABI_DT_RELR") else None
        version = asked[1] if asked else relr
        if version is None:
            finding = Finding("library", finding.detail)
        elif not measured_floor or _numbers(version) > _numbers(measured_floor):
            return Finding("exit", f"says: {finding.detail}; none of its ELF files needs that")
        elif image_glibc and _numbers(version) <= _numbers(image_glibc):
            return Finding("library", f"{finding.detail}, though the image has glibc {image_glibc}")
    if finding.reason == "library" and not asked_for(finding.detail or ""):
        return Finding("exit", f"says: {finding.detail}; none of its ELF files needs that")
    return finding


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def judge(finding: Finding, expect: str) -> Judged:
    """Compare what was observed with `pass` or `fail:REASON`. A failure for another reason is FAIL."""
    wanted = reason_expected(expect)
    if wanted is None:
        return Judged("FAIL" if finding.reason else "PASS", finding.reason, finding.detail)
    if finding.reason is None:
        return Judged("XPASS", "passed", f"expected to fail: {wanted}")
    if finding.reason == wanted or (wanted == "musl" and finding.reason == "loader"):
        return Judged("XFAIL", wanted, finding.detail)
    return Judged("FAIL", finding.reason, f"expected to fail: {wanted}; instead: {finding.detail}")


def _loader_text(err: str) -> Finding | None:
    """The errors that the dynamic loader (or Python, when it imports an extension) prints."""
    if found := [(match[1], match[2]) for match in _GLIBC.finditer(err)]:
        version, user = max(found, key=lambda pair: [int(n) for n in re.findall(r"\d+", pair[0])])
        return Finding("glibc", f"{version} not found" + (f" (required by {user})" if user else ""))
    if match := _SYMBOL_VERSION.search(err):
        return Finding(
            "library", f"{match[1]} not found" + (f" (required by {match[2]})" if match[2] else "")
        )
    if match := _LIBRARY.search(err):
        return Finding("library", f"{match[1]} not found")
    if match := _UNDEFINED.search(err):
        return Finding("library", f"undefined symbol {match[1]}")
    return None


def _line(err: str, begins: tuple[str, ...]) -> str | None:
    return next((one[:500] for one in err.split("\n") if one.startswith(begins)), None)


def _lost(expected: tuple[str, ...], seen: Captured) -> str | None:
    """The lines that were found in a stream; for a stream that was cut, the search was made while it was read."""
    if seen.cut:
        return seen.lost
    lines = Lines(expected)
    lines.feed(seen.data)
    return lines.lost()


def _said(seen: str) -> str:
    lines = [line for line in seen.split("\n") if line.strip()]
    return f"; its last line is {lines[-1][:200]!r}" if lines else "; it is empty"


def _last(err: str) -> str:
    lines = [line.strip() for line in err.split("\n") if line.strip()]
    return f": {lines[-1][:300]}" if lines else ""


def _errno(number: int) -> str:
    return os.strerror(number)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
