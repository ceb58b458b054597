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
    "room",
    "install",
    "release",
)
"""The reasons of FAIL: why an app did not do what was asked of it."""
OF_INSTALLING = ("install", "release")
"""Those of them that say that the install stage failed."""
OF_A_PACKAGE = ("lint", "upgrade", "remove", "purge", "residue")
"""More reasons of FAIL, for packages: the app started, and then another stage failed. No config can expect them."""
EXPECTED = (*OF_A_START, "musl")
"""The reasons that may follow `fail:`. They are also the reasons of XFAIL."""
UNPROVEN = ("condition", "engine", "artifact", "image", "shard", "stale")
"""The reasons of UNPROVEN: why nothing was shown."""
PASSED = "passed"
"""The reason of XPASS."""
REASONS = (*EXPECTED, *OF_A_PACKAGE, *UNPROVEN, PASSED)
_FAIL = "fail:"
EXPECTATIONS = ("pass", *(f"{_FAIL}{reason}" for reason in EXPECTED))
"""The results that a cell may expect."""


def reason_expected(expect: str) -> str | None:
    """The reason for which a cell must fail; None if it must pass."""
    return expect.removeprefix(_FAIL) if expect.startswith(_FAIL) else None
