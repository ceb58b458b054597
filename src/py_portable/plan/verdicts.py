"""The words of docs/verdicts.md: verdicts, and the closed list of reasons. A leaf."""

from __future__ import annotations

VERDICTS = ("PASS", "FAIL", "XFAIL", "XPASS", "UNPROVEN", "NOT-APPLICABLE")
OF_A_START = (
    "glibc",
    "library",
    "loader",
    "interpreter",
    "exec",
    "exit",
    "signal",
    "timeout",
    "output",
    "fuse",
    "install",
)
"""Why an app did not do what was asked of it: the reasons of FAIL."""
OF_A_PACKAGE = ("upgrade", "remove")
"""More of them, of a package: it started, and then another stage failed. Nobody can expect that."""
EXPECTED = (*OF_A_START, "musl")
"""What may stand behind `fail:`, and so the reasons of XFAIL."""
UNPROVEN = ("condition", "engine", "artifact", "image", "shard", "stale")
"""Why nothing was shown."""
PASSED = "passed"
"""The reason of XPASS."""
REASONS = (*EXPECTED, *OF_A_PACKAGE, *UNPROVEN, PASSED)
_FAIL = "fail:"
EXPECTATIONS = ("pass", *(f"{_FAIL}{reason}" for reason in EXPECTED))
"""What a cell may expect."""


def reason_expected(expect: str) -> str | None:
    """Why a cell must fail; None where it must pass."""
    return expect.removeprefix(_FAIL) if expect.startswith(_FAIL) else None
