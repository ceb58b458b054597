"""Checks whether the verdict of a cell fits its own record, by the rules of `prove.judge`. Pure.

Anybody may have written evidence. It does not hold all printed lines, so a PASS cannot be judged again from it. But
the kit never gives some verdicts: a PASS with another exit status than expected, a FAIL that is an expected failure,
and so on.
"""

from __future__ import annotations

from py_portable.evidence.typed import CellRow
from py_portable.plan import verdicts

_NOT_REACHED = ("loader", "interpreter", "exec", *verdicts.OF_INSTALLING, "musl")
"""The app's own code did not run: there is no exit status."""


def why_not(row: CellRow, exit_status: int | None) -> str | None:
    """Which field does not agree with the verdict, and how; None if all do. `exit_status` is the one that the smoke
    command expects, None if it is not known."""
    verdict, reason, expect = row["verdict"], row.get("reason"), row["expect"]
    wanted = verdicts.reason_expected(expect)
    match verdict:
        case "PASS" | "XPASS":
            if (wanted is None) != (verdict == "PASS"):
                return f"verdict is {verdict}, though expect is {expect}"
            if reason != (None if verdict == "PASS" else verdicts.PASSED):
                return f"verdict is {verdict}, though reason is {reason}"
            return _passed(row, exit_status)
        case "XFAIL":
            if wanted is None or reason != wanted:
                return f"verdict is XFAIL, though expect is {expect} and reason is {reason}"
            return _failed(row, wanted)
        case "FAIL":
            if reason not in (*verdicts.OF_A_START, *verdicts.OF_A_PACKAGE):
                return f"verdict is FAIL, though reason is {reason}"
            if wanted is not None and (reason == wanted or (wanted, reason) == ("musl", "loader")):
                return f"verdict is FAIL, though reason is what it expects: {expect}"
            return _failed(row, reason)
        case "UNPROVEN":
            return None if reason in verdicts.UNPROVEN else f"verdict is UNPROVEN, though reason is {reason}"
        case _:
            return f"verdict is {verdict}, which is not allowed for a cell of this plan"


def _passed(row: CellRow, exit_status: int | None) -> str | None:
    status = row.get("exit_status")
    if type(status) is not int or status < 0:
        return f"verdict is {row['verdict']}, though exit_status is {status}"
    if exit_status is not None and status != exit_status:
        return f"verdict is {row['verdict']}, though exit_status is {status} and {exit_status} was expected"
    if row.get("install") == "failed":
        return f"verdict is {row['verdict']}, though install is failed"
    if row["sha256"] == "none" or not row.get("image_identity"):
        return f"verdict is {row['verdict']}, though it is not recorded what was started, or on which image"
    return None


def _failed(row: CellRow, reason: str) -> str | None:
    status = row.get("exit_status")
    said = f"reason is {reason}, though exit_status is {status}"
    if (reason in verdicts.OF_INSTALLING) != (row.get("install") == "failed"):
        return f"reason is {reason}, though install is {row.get('install')}"
    if reason in _NOT_REACHED:
        return said if status is not None else None
    if reason == "timeout":
        return None
    if type(status) is not int or (status < 0) != (reason == "signal"):
        return said
    # Who did not find a library, FUSE or room, never ends with 0.
    return said if reason in ("glibc", "library", "fuse", "room") and status == 0 else None
