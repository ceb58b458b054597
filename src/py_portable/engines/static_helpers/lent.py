"""Which folders of helpers another machine compiled: they are started in a sandbox only. A leaf."""

from __future__ import annotations

from pathlib import Path

_lent: set[Path] = set()


def distrust(helpers: Path) -> None:
    """The helpers were compiled elsewhere; what is started outside of every sandbox is not taken from there."""
    _lent.add(helpers)


def is_distrusted(helpers: Path) -> bool:
    return helpers in _lent
