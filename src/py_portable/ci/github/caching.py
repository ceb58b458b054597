"""Keys of the cache that holds the store between runs. Pure.

A run saves under a key of its own and takes the newest of its scope: the key rolls. What a pull request builds may
be anything, so its store is of its own scope, and nothing that is released reads it; it may read a push's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

TRUSTED = frozenset(("push", "schedule", "workflow_dispatch", "release", "repository_dispatch"))
"""Events whose code somebody with write access has taken in."""


@dataclass(frozen=True)
class Keys:
    """`restore`: prefixes, the best first."""

    key: str
    restore: tuple[str, ...]


def keys(environ: Mapping[str, str], prefix: str, job: str, machine: str) -> Keys:
    """`prefix`: of the artifacts, `job`: what else tells this job's store from others. Neither a branch nor any
    other name that a stranger chooses is in a key as it stands."""
    event = environ.get("GITHUB_EVENT_NAME", "")
    if event in TRUSTED:
        scope = "push"
    else:
        number = re.fullmatch(r"refs/pull/([0-9]{1,12})/\w+", environ.get("GITHUB_REF", ""))
        scope = f"pr-{number[1]}" if number else f"other-{_short(environ.get('GITHUB_REF', ''))}"
    run = "-".join(
        re.sub(r"[^0-9]", "", environ.get(name, "")) or "0"
        for name in ("GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT")
    )
    told = _short(f"{prefix}\n{job}")

    def begin(of: str) -> str:
        return f"py-portable-{of}-{re.sub(r'[^A-Za-z0-9_]', '_', machine)}-"

    own = [f"{begin(scope)}{told}-", begin(scope)]
    other = [] if scope == "push" else [f"{begin('push')}{told}-", begin("push")]
    return Keys(f"{begin(scope)}{told}-{run}", (*own, *other))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
