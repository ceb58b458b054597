"""`doctor --store`: reads the complete store, and compares it with what was stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from py_portable.store import Examined, Store, audit
from py_portable.store.layout import StoreLayout


@dataclass(frozen=True)
class StoreCheck:
    """The result. `kept`: how many damaged objects are in quarantine now, also from earlier runs."""

    root: str
    found: tuple[Examined, ...]
    kept: int

    @property
    def damaged(self) -> tuple[Examined, ...]:
        return tuple(one for one in self.found if one.state == "damaged")

    @property
    def sound(self) -> bool:
        """Whether nothing was damaged, and all that nobody works on could be read."""
        return all(one.state not in ("damaged", "unread") for one in self.found)


def examine(store: Store, say: Callable[[str], None]) -> StoreCheck:
    """Hash every object; a damaged one is moved aside. What another process makes now is left alone.

    Raises StoreError.
    """
    layout = StoreLayout(store.root)
    keys = audit.keys(layout)
    say(f"Reading {_count(len(keys), 'stored result')} in {store.root}, byte by byte.")
    found = tuple(store.examine(key, wait=False) for key in keys)
    return StoreCheck(str(store.root), found, audit.quarantined(layout))


def render(checked: StoreCheck, *, quiet: bool = False) -> list[str]:
    """Lines for people; `quiet`: only of what is damaged. Pure."""
    whole = [one for one in checked.found if one.state == "whole"]
    busy = [one for one in checked.found if one.state == "busy"]
    damaged = checked.damaged
    unread = [one for one in checked.found if one.state == "unread"]
    lines = [line for one in damaged for line in _told(one)]
    lines += [f"Could not be read: {_name(one)}: {one.damage}" for one in unread]
    if quiet:
        return lines
    read = f"Checked {_count(len(whole) + len(damaged), 'stored result')}"
    read += f" ({sum(one.size for one in whole) / 1e6:,.0f} MB are as they were stored)."
    lines.insert(0, read)
    if busy:
        lines.append(
            f"{_count(len(busy), 'result')} could not be checked: other runs are working on them now."
        )
    if damaged:
        lines.append(
            f"{_count(len(damaged), 'result')} will be made again by the next run that needs"
            f" {'it' if len(damaged) == 1 else 'them'}. You need not do anything."
            " If this happens again, check the disk: look at smartctl and at the kernel's log."
        )
    elif not unread:
        lines.append("Nothing is damaged.")
    if checked.kept:
        lines.append(
            f"{_count(checked.kept, 'damaged result')} can be looked at in {checked.root}/quarantine;"
            " `py-portable gc` removes what has been there for 30 days."
        )
    return lines


def _told(one: Examined) -> Sequence[str]:
    return [f"Damaged: {_name(one)}: {one.damage}", f"  It was moved to {one.aside}."]


def _name(one: Examined) -> str:
    return one.title or f"the result {one.key[:12]}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
