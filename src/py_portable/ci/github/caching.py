"""Keys of the cache that holds the store between runs. Pure.

Each run saves under a new key and restores the newest one of its scope. A pull request may build anything, so its store
has a scope of its own, which no release reads. A pull request may read the store of a push.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

TRUSTED = frozenset(("push", "schedule", "workflow_dispatch", "release", "repository_dispatch"))
"""Events whose code was accepted by somebody with write access."""


@dataclass(frozen=True)
class Keys:
    """`restore`: prefixes, the best first."""

    key: str
    restore: tuple[str, ...]


def keys(environ: Mapping[str, str], prefix: str, job: str, machine: str) -> Keys:
    """`prefix`: the prefix of the artifacts. `job`: what else distinguishes this job's store from others. No key
    contains the name of a branch, or another name that a stranger chooses, in clear text.
    """
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
