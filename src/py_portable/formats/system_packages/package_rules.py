"""What the names and versions of packages may be, and what comes next to one that may not. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

_MOST_CHARACTERS = 100


@dataclass(frozen=True)
class Rule:
    """`pattern`: of the whole text; `says`: the same in words."""

    pattern: re.Pattern[str]
    says: str

    def allows(self, text: str) -> bool:
        return len(text) <= _MOST_CHARACTERS and self.pattern.fullmatch(text) is not None


@dataclass(frozen=True)
class Grammar:
    """What one package manager reads. `mended` gives a version that it allows; its releases begin with
    `release_begins`."""

    version: Rule
    release: Rule
    mended: Callable[[str], str]
    release_begins: str = ""

    def allows(self, full: str) -> bool:
        """Whether it is a version with its release."""
        version, _, release = full.rpartition("-")
        begins = release.startswith(self.release_begins)
        return (
            begins
            and self.version.allows(version)
            and self.release.allows(release[len(self.release_begins) :])
        )


NAME = Rule(
    re.compile(r"[a-z0-9][a-z0-9+.-]+"),
    "two or more of a-z, 0-9, '+', '-' and '.', beginning with a letter or a digit (Debian policy 5.6.1)",
)
VERSION = Rule(
    re.compile(r"(?:[0-9]{1,9}:)?[0-9][A-Za-z0-9.+~]*"),
    "a digit, and then letters, digits, '.', '+' and '~', with a number and ':' before it where there is an epoch "
    "(Debian policy 5.6.12; the part behind '-' is the key release)",
)
PAGE = re.compile(
    r"(?P<plain>(?P<name>[A-Za-z0-9_][A-Za-z0-9._+:-]*)\.(?P<section>[1-8][A-Za-z0-9]{0,10}))(?:\.gz)?\Z"
)
"""The file of a manual page, such as `myapp.1`."""
RELEASE = Rule(re.compile(r"[A-Za-z0-9.+~]+"), "letters, digits, '.', '+' and '~'")


def mended_name(name: str) -> str:
    """The nearest text that NAME allows."""
    mended = re.sub(r"[^a-z0-9+.-]+", "-", name.lower())[:_MOST_CHARACTERS].strip("-+.")
    return mended if len(mended) > 1 else f"{mended or 'my'}-app"


def mended_version(version: str) -> str:
    """A text that VERSION allows: the same version where Python can read it, else the nearest text."""
    try:
        return of_python(version)
    except InvalidVersion:
        mended = re.sub(r"[^A-Za-z0-9.+~]+", ".", version)[: _MOST_CHARACTERS - 2].strip(".+")
        return mended if mended[:1].isdigit() else f"0.{mended}" if mended else "0"


def of_python(version: str) -> str:
    """A version of a Python project as package managers sort it: what comes before a release has `~` before it.

    Raises InvalidVersion.
    """
    found = Version(version)
    text = ".".join(map(str, found.release))
    if found.pre:
        text += "~{}{}".format(*found.pre)
    if found.post is not None:
        text += f".post{found.post}"
    if found.dev is not None:
        # Before all alphas of the release, or just before the one that it leads to.
        earliest = found.pre is None and found.post is None
        text += f"{'~~' if earliest else '~'}dev{found.dev}"
    if found.local:
        text += f"+{found.local}"
    return f"{found.epoch}:{text}" if found.epoch else text


DEBIAN = Grammar(VERSION, RELEASE, mended_version)
"""What dpkg and rpm have in common."""
