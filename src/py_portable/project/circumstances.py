"""Facts of the machine and the environment that decide a result, or are recorded with it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from py_portable.errors import ConfigError

DEFAULT_EPOCH = 1735689600
"""2025-01-01: the value of SOURCE_DATE_EPOCH if the caller sets none."""
LAST_EPOCH = 253402300799
"""The end of the year 9999."""


def source_date_epoch(environ: Mapping[str, str]) -> int:
    """SOURCE_DATE_EPOCH in seconds, or DEFAULT_EPOCH if it is unset or empty. Raises ConfigError."""
    told = environ.get("SOURCE_DATE_EPOCH", "")
    if not told:
        return DEFAULT_EPOCH
    # A year of five digits is in no archive; str.isdigit would admit digits that int does not.
    if not re.fullmatch(r"[0-9]{1,20}", told) or int(told) > LAST_EPOCH:
        raise ConfigError(
            f"{told!r} is not a number of seconds from 0 to {LAST_EPOCH}",
            where="the environment variable SOURCE_DATE_EPOCH",
            hint="unset it, or: export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)",
        )
    return int(told)


@functools.cache
def cpu_flags() -> str:
    """The flags of the CPU, sorted, as the kernel lists them."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return " ".join(sorted(line.partition(":")[2].split()))
    return ""
