"""What the reasons of docs/verdicts.md mean, and what to do about them, in a sentence each."""

from __future__ import annotations

_MEANING = {
    "glibc": "It asks for a newer glibc than the image has: build in an older baseline, or drop the image.",
    "library": "The image lacks a shared library, or a symbol in one: the artifact has to include it.",
    "loader": "The image has no loader for it, as on a system with another libc (musl).",
    "interpreter": "A script's #! line names an interpreter that the image does not have.",
    "exec": "The kernel refuses to start the file.",
    "exit": "It started, and ended with another exit status than its smoke command expects.",
    "signal": "It was killed while it ran.",
    "timeout": "It did not end in time; if it is only slow, raise the smoke command's timeout.",
    "output": "It ran, but did not print a line that its smoke command expects.",
    "fuse": "It mounts itself by FUSE, which was not to be had: give it a runtime that needs none.",
    "room": "It unpacks itself, and no folder had room for it: name a larger one, as the page of its format says.",
    "install": "The install stage failed; the app itself was not started.",
    "release": "Its package manager refuses it: this release lacks what it depends on, so it needs its own package.",
    "upgrade": "The upgrade from the older package failed, or the app did not start after it.",
    "remove": "The package could not be removed.",
    "lint": "A tool by which distributions look at packages found errors in it.",
    "purge": "The package was removed, but its configuration files could not be.",
    "residue": "After its removal the image was not what it had been before the package came.",
    "condition": "The engine could not make the condition, so the start would prove nothing.",
    "engine": "The engine did not get as far as starting the app, so nothing is known about the app.",
    "artifact": "The artifact, or something else that it needs, is missing.",
    "image": "The image is not available here (check its name, and that its registry can be reached), or its package "
    "manager does not know what is installed on it.",
    "passed": "It was expected to fail, but it passed: either the expectation or the artifact is wrong.",
    "stale": "The config has changed since this start, and now asks for another one.",
    "shard": "The job that had to start it left no record: run a lost job again, or repair the build first.",
}


def meaning(reason: str) -> str:
    """Empty where there is nothing to say."""
    return _MEANING.get(reason, "")
