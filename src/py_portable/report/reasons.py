"""What the reasons of docs/verdicts.md mean, and what to do about them, in a sentence each."""

from __future__ import annotations

_MEANING = {
    "glibc": "It asks for a newer glibc than the image has: build in an older baseline, or drop the image.",
    "library": "A shared library, or a symbol of one, is not on the image: it has to come along in the artifact.",
    "loader": "The image has no loader for it, as on a system with another libc (musl).",
    "interpreter": "A script's #! line names an interpreter that the image has not.",
    "exec": "The kernel refuses to start the file.",
    "exit": "It started, and ended with another exit status than its smoke command says.",
    "signal": "It was killed while it ran.",
    "timeout": "It did not end in time; if it is only slow, raise the smoke command's timeout.",
    "output": "It ran, and did not print a line that its smoke command asks for.",
    "install": "The install stage failed; the app itself was not started.",
    "upgrade": "The upgrade from the older package failed, or the app did not start after it.",
    "remove": "The package could not be removed.",
    "condition": "The engine could not bring about what the condition promises, so the start would prove nothing.",
    "engine": "The app's own start was not reached, so nothing is known of the app.",
    "artifact": "What is to be started, or what it needs besides, is not here.",
    "image": "The image cannot be had here: check its name, and that its registry is in reach.",
    "passed": "It was expected to fail and did not: what was expected, or the artifact, is wrong.",
    "stale": "It was seen when the config asked something else, so it says nothing of today's question.",
    "shard": "The job that was to start it left no record: run a lost job again; what was not built, mend first.",
}


def meaning(reason: str) -> str:
    """Empty where there is nothing to say."""
    return _MEANING.get(reason, "")
