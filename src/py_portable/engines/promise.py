"""What an observation is held against. Pure: it compares, and starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Observed = Mapping[str, Any]
"""What a canary printed."""


@dataclass(frozen=True)
class Promise:
    """What an observation must show. `aspect` is the word in `lacks` of an engine that cannot give it."""

    aspect: str
    text: str
    kept: Callable[[Observed], bool]

    def is_kept(self, observed: Observed) -> bool:
        """What was not observed is not in force."""
        try:
            return self.kept(observed) is True
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return False


def broken(promises: Iterable[Promise], observed: Observed) -> tuple[Promise, ...]:
    """The promises that the observation breaks."""
    return tuple(promise for promise in promises if not promise.is_kept(observed))
