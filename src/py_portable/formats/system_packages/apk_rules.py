"""What versions of Alpine's packages may be: apk-tools, src/version.c. Pure."""

from __future__ import annotations

import re

from packaging.version import InvalidVersion, Version

from py_portable.formats.system_packages.package_rules import Grammar, Rule

_PRE = {"a": "_alpha", "b": "_beta", "rc": "_rc"}
_SUFFIXES = "alpha|beta|pre|rc|cvs|svn|git|hg|p"
VERSION = Rule(
    re.compile(rf"[0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:{_SUFFIXES})[0-9]*)*"),
    "numbers with dots between them, then at most one letter, then any of _alpha, _beta, _pre, _rc, _cvs, _svn, _git, "
    "_hg and _p, each with a number behind it (apk-tools, version.c; the part behind '-r' is the key release)",
)
RELEASE = Rule(re.compile(r"[0-9]{1,9}"), "a number")


def mended_version(version: str) -> str:
    """A text that VERSION allows: the same version where Python can read it and apk can say it, else the numbers that
    it begins with."""
    try:
        return of_python(version)
    except InvalidVersion:
        found = re.search(r"[0-9]{1,20}(?:\.[0-9]{1,20}){0,3}", version, re.ASCII)
        return found[0] if found else "0"


def of_python(version: str) -> str:
    """A version of a Python project as apk sorts it. It knows no epochs and no local versions, which are left out.

    Raises InvalidVersion.
    """
    found = Version(version)
    text = ".".join(map(str, found.release))
    if found.pre:
        text += f"{_PRE[found.pre[0]]}{found.pre[1]}"
    elif found.dev is not None and found.post is None:
        # Before all alphas of the release.
        text += "_alpha0"
    if found.post is not None:
        text += f"_p{found.post}"
    if found.dev is not None:
        text += f"_pre{found.dev}"
    return text


GRAMMAR = Grammar(VERSION, RELEASE, mended_version, release_begins="r")
