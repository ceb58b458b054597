"""Finds the files that a package leaves after its removal, by comparing two listings of a root. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from py_portable.engines.engine import Node
from py_portable.evidence.stage_results import MOST_PATHS

_MANAGER = re.compile(
    r"var/lib/(?:dpkg|apt)(?:/.*)?"
    r"|var/cache/(?:apt|debconf|ldconfig)(?:/.*)?"
    r"|var/log/(?:dpkg\.log|alternatives\.log|apt(?:/.*)?)"
    r"|(?:root/\.rpmdb|var/lib/(?:rpm|dnf|zypp|yum)|usr/(?:lib|share)/sysimage/rpm|var/cache/(?:dnf|zypp|yum))(?:/.*)?"
    r"|var/log/(?:hawkey\.log|dnf[\w.]*\.log|yum\.log|zypper\.log|zypp(?:/.*)?)"
    r"|etc/ld\.so\.cache|var/cache/man(?:/.*)?|usr/share/man(?:/man[1-8])?"
    r"|(?:usr/)?lib/apk(?:/.*)?|etc/apk/world|var/cache/apk(?:/.*)?|var/log/apk\.log"
    r"|etc/\.pwd\.lock|etc/(?:passwd|group|shadow|gshadow|subuid|subgid)-",
    re.DOTALL,
)
"""The files that dpkg, apt, debconf, update-alternatives, rpm, dnf, yum, zypper, apk, ldconfig, mandb and useradd keep
for themselves; and the folders of manual pages, which belong to the system, also where an image has none yet."""


@dataclass(frozen=True)
class Leftovers:
    """Sorted paths, each with its first slash. See `evidence.stage_results.StageResult`."""

    left: tuple[str, ...]
    changed: tuple[str, ...]
    manager: tuple[str, ...]
    more: int


def leftovers(before: Mapping[str, Node], after: Mapping[str, Node], shown: Iterable[str]) -> Leftovers:
    """`before`: the image; `after`: what is there after the removal. `shown`: where the stages were shown something,
    which leaves empty files and folders."""
    new = set(after) - set(before) - _mount_points(before, after, shown)
    other = {name for name, node in before.items() if after.get(name) != node}
    managers = {name for name in new | other if _MANAGER.fullmatch(name)} | _emptied(before, after)
    lists = [_shown(names) for names in (new - managers, other - managers, managers)]
    left, changed, manager = (tuple(one[:MOST_PATHS]) for one in lists)
    return Leftovers(left, changed, manager, sum(max(0, len(one) - MOST_PATHS) for one in lists))


def _emptied(before: Mapping[str, Node], after: Mapping[str, Node]) -> set[str]:
    """Empty folders of the image that are gone: a package manager removes each folder of a package that is empty then,
    such as /opt, unless another package has it too."""
    filled = {os.path.dirname(name) for name in before}  # noqa: PTH120 - a path of the image
    return {
        name
        for name, node in before.items()
        if node.kind == "folder" and name not in after and name not in filled
    }


def _mount_points(before: Mapping[str, Node], after: Mapping[str, Node], shown: Iterable[str]) -> set[str]:
    """The places of what was shown, and the folders above them that hold nothing else and were not there."""
    found: set[str] = set()
    for place in shown:
        name = place.strip("/")
        found |= {one for one in after if one == name or one.startswith(f"{name}/")}
        while (name := os.path.dirname(name)) and name not in before:  # noqa: PTH120 - a path of the image
            if any(one.startswith(f"{name}/") and one not in found for one in after):
                break
            found.add(name)
    return found


def _shown(names: Iterable[str]) -> list[str]:
    """Names may hold any bytes: those that are not text are shown as escapes."""
    return sorted(f"/{os.fsencode(name).decode('utf-8', 'backslashreplace')}" for name in names)
