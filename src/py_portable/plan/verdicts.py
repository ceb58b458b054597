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
EXPECTATIONS = ("pass", *(f"fail:{reason}" for reason in EXPECTED))
"""What a cell may expect."""
