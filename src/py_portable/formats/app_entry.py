"""The data about the app that a build in a sandbox gets, and its answer about what it made: entry.json in its out
folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from py_portable import resources
from py_portable.base.regular import read_regular
from py_portable.engines.engine import Bind
from py_portable.formats.format import House
from py_portable.steps.context import BuildFailed, Result

SCRIPTS = ("build/app.py", "build/metadata.py", "build/programs.py")
"""Scripts that are shared by those that make and install artifacts, and have to be in the same folder."""
_UNMET = "what is installed is not what its metadata asks for"
CERTIFICATES = "build/certificates.py"
MAX_ENTRY_BYTES = 65536
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


def beside(*names: str) -> tuple[Bind, ...]:
    """`SCRIPTS` and other resources, where a script of a sandbox finds them."""
    return tuple(Bind(resources.path(name), f"/kit/{Path(name).name}") for name in (*SCRIPTS, *names))


def asked(house: House) -> dict[str, Any]:
    """The facts about the app that build/app.py needs."""
    return {
        "distribution": house.distribution,
        "script": house.script,
        "entry_point": house.entry_point,
        "extras": list(house.extras),
        "with": {name: list(extras) for name, extras in house.with_.items()},
        "unmet": list(house.unmet),
    }


def words(beside: Mapping[str, Iterable[str]]) -> list[str]:
    """The distributions that are wanted beside the app, with their extras, as requirements without blanks."""
    every = {name: ",".join(extras) for name, extras in beside.items()}
    return [f"{name}[{extras}]" if extras else name for name, extras in every.items()]


def hint(tail: str) -> str:
    """What to do next after a build that build/metadata.py ended with these lines."""
    if _UNMET not in tail:
        return ""
    names = ", ".join(
        dict.fromkeys(re.findall(r" asks for ([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", tail))
    )
    return (
        "run `py-portable lock`: it reads the metadata again. The requirements of an sdist whose "
        "metadata it cannot read belong in wheels.metadata. If this is intended, write: wheels: "
        f"{{unmet: [{names or 'python'}]}}"
    )


def known(spec: Mapping[str, Any], wheels: Result) -> dict[str, Any]:
    """The facts about the app with the name from its wheel, which the config did not know."""
    return {**spec, "distribution": spec["distribution"] or wheels.meta["app_wheel"].partition("-")[0]}


def read_entry(out: Path, *, one_name: bool = False) -> dict[str, str]:
    """The build's answer about what it made. Foreign code ran beside it, so no link is followed and names are
    checked.

    `one_name`: the program is called like the folder that it lies in, and that folder is what a cell is shown by its
    name: another one could be a link to anything. Raises BuildFailed.
    """
    path = out / "entry.json"
    try:
        told = json.loads(read_regular(path, MAX_ENTRY_BYTES, follow=False))
        entry = {name: str(told[name]) for name in ("payload", "script", "entry_point")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else type(problem).__name__
        raise BuildFailed(f"the build did not record what it made: entry.json: {why}") from None
    path.unlink()
    for name in ("payload", "script"):
        if not _NAME.fullmatch(entry[name]):
            raise BuildFailed(
                f"{entry[name]!r} cannot be the name of an executable",
                hint="give the app's console script a plain name, or name another in app.script",
            )
    if one_name and entry["script"] != entry["payload"]:
        raise BuildFailed(
            f"the build made {entry['payload']!r}, and says that its program is {entry['script']!r}"
        )
    made = out / entry["payload"]
    if made.is_symlink() or (made.is_dir() and (made / entry["script"]).is_symlink()):
        raise BuildFailed(f"{entry['payload']} is a symbolic link, not what was built")
    return entry
