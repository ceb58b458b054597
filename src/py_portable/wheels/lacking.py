"""Finds what was missing when a wheel was built, from the output of the compiler, the linker or a build backend."""

from __future__ import annotations

import re

_PACKAGES = "in baselines.NAME.packages"
_SAYS = (
    # gcc and clang; the linker; pkg-config; Meson; CMake; then a build backend and a shell that do not find a program.
    (re.compile(r"fatal error: '?([\w./+-]{1,200}\.h(?:pp|xx)?)'?(?::| file) "), "the header {}"),
    (re.compile(r"cannot find -l:?([\w.+-]{1,200})"), "the library {}"),
    (re.compile(r"No package '([\w.+-]{1,200})' found"), "what pkg-config calls {}"),
    (re.compile(r"Dependency \"([\w.+-]{1,200})\" not found"), "what pkg-config calls {}"),
    (re.compile(r"Could NOT find (\w{1,200})"), "what CMake calls {}"),
    (re.compile(r"\b([\w.-]{1,200}[-_]config)(?: executable)? not found"), "the program {}"),
    (re.compile(r"Could not run ([\w.+-]{1,200}): \[Errno 2\]"), "the program {}"),
    (
        re.compile(
            r"^[ \t]*\S{1,200}: (?:(?:line )?\d+: )?([\w.+-]{1,200}): (?:command )?not found$", re.MULTILINE
        ),
        "the program {}",
    ),
)


_OPTIONAL = re.compile(r"""(?:building|build) (?:of )?extension ['"]?([\w.]{1,200})['"]? failed""")
_TOLD_LINES = 12


def optional(said: str) -> tuple[str, str] | None:
    """The optional extension that a build left out after an error, and the lines of the log about it."""
    found = _OPTIONAL.search(said)
    if not found:
        return None
    end = said.find("\n", found.end())
    return found[1], "\n".join(said[: end if end >= 0 else None].splitlines()[-_TOLD_LINES:])


def hint(said: str) -> str:
    """The next thing to do after a wheel could not be built."""
    for pattern, what in _SAYS:
        if found := pattern.search(said):
            return f"{what.format(found[1])} is missing: name its Debian package {_PACKAGES}"
    return f"correct what the lines above say; its Debian packages belong in {_PACKAGES}"
