"""What a lint tool says of a package, read from its lines. Pure.

lintian writes `E: NAME: tag hint`, rpmlint `NAME.ARCH: E: tag hint`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from py_portable.evidence.stage_results import MOST_PATHS

MOST_SHOWN = 5
"""The largest number of errors that a detail names."""
_FINDING = re.compile(r"(?:[^\s:]{1,250}: )?([EW]): (.{1,500})")


@dataclass(frozen=True)
class Lint:
    """`tool`: its own first line, with its version."""

    tool: str
    errors: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def summary(self) -> str:
        told = f"{self.tool}: {_count(self.errors, 'error')}, {_count(self.warnings, 'warning')}"
        if not self.errors:
            return told
        more = len(self.errors) - MOST_SHOWN
        return f"{told}: {'; '.join(self.errors[:MOST_SHOWN])}{f' and {more} more' if more > 0 else ''}"


def read(text: str) -> Lint:
    """`text`: the tool's version in a line, then what it found."""
    first, _, rest = text.partition("\n")
    found = [match for line in rest.splitlines() if (match := _FINDING.match(line))]
    errors, warnings = (
        tuple(dict.fromkeys(match[2].strip() for match in found if match[1] == kind))[:MOST_PATHS]
        for kind in "EW"
    )
    return Lint(first.strip(), errors, warnings)


def _count(found: tuple[str, ...], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"
