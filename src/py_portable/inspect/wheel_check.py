"""The wheel tag checker: does each wheel of a folder carry a supported platform tag, and keep its promise?"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from py_portable.base.printable import lines
from py_portable.errors import ConfigError, MachineError, PortableError
from py_portable.inspect.elf.view import printable
from py_portable.inspect.wheel import broken_promises
from py_portable.inspect.wheel_tags import expand, is_known, supported


@dataclass(frozen=True)
class BadWheel:
    """A bad wheel: its file name (printable), whether the name itself is malformed, and why it is bad."""

    wheel: str
    malformed: bool
    details: tuple[str, ...]

    def render(self) -> str:
        """The lines that are printed about it; the first is the same for every bad wheel."""
        if self.malformed:
            return "\n".join(f"Error: malformed wheel name: {self.wheel}: {why}" for why in self.details)
        first = f"Error: wheel package without supported platform tags was found: {self.wheel}."
        return "\n".join([first, *(f"  {why}" for why in self.details)])


@dataclass(frozen=True)
class Checked:
    """How many wheels were looked at, whether only their names were, and what is wrong with which."""

    wheels: int
    names_only: bool
    findings: tuple[BadWheel, ...]

    @property
    def exit_status(self) -> int:
        """0 all good, 1 a bad wheel, 2 a file name that is not a wheel's."""
        if any(finding.malformed for finding in self.findings):
            return ConfigError.exit_code
        return 1 if self.findings else 0

    def render(self) -> str:
        """What is printed on stdout: nothing that the log of a CI would obey, whatever files are called."""
        if self.findings:
            return "\n".join(lines("\n".join(finding.render() for finding in self.findings)))
        have = "wheel has" if self.wheels == 1 else "wheels have"
        unseen = " (not looked inside)" if self.names_only else ""
        return f"Success: {self.wheels} {have} supported platform tags{unseen}"


def check(
    directory: Path, allowed: Sequence[str], exact: bool = False, *, names_only: bool = False
) -> list[BadWheel]:
    """The bad wheels of a folder. See `check_folder`, which also counts the good ones."""
    return list(check_folder(directory, allowed, exact, names_only=names_only).findings)


def check_folder(
    directory: Path, allowed: Sequence[str], exact: bool = False, *, names_only: bool = False
) -> Checked:
    """Check every `*.whl` of a folder (not of the folders below it) against the allowed platform tags.

    A wheel is good when one of its tags is allowed (without `exact`: or is for an older libc of the same kind
    and architecture) and, without `names_only`, when its inside agrees with its name. Raises ConfigError for
    a missing folder, no wheels or an impossible tag, MachineError where `packaging` is missing.
    """
    tags = allowed_tags(allowed)
    try:
        wheels = sorted(path for path in directory.iterdir() if path.name.lower().endswith(".whl"))
    except OSError as problem:
        raise ConfigError(
            f"not a readable folder: {problem.strerror}", where=printable(str(directory))
        ) from problem
    if not wheels:
        raise ConfigError("no wheels in this folder", where=printable(str(directory)))
    found = (_check_wheel(path, tags, exact, names_only) for path in wheels)
    return Checked(len(wheels), names_only, tuple(finding for finding in found if finding))


def allowed_tags(allowed: Sequence[str]) -> tuple[str, ...]:
    """The single tags of what the user allows. Raises ConfigError for none, or for one no wheel can carry."""
    tags = expand(allowed)
    if not tags:
        raise ConfigError("no platform tag given")
    for tag in tags:
        if not is_known(tag):
            raise ConfigError(
                f"not a platform tag: {printable(tag) or repr(tag)}",
                hint="such as manylinux_2_28_x86_64, manylinux2014_aarch64, musllinux_1_2_x86_64 or any",
            )
    return tags


def _check_wheel(path: Path, allowed: tuple[str, ...], exact: bool, names_only: bool) -> BadWheel | None:
    name = printable(path.name)
    try:
        tags = name_tags(path.name)
    except ValueError as problem:
        return BadWheel(name, True, (printable(" ".join(str(problem).split())),))
    details = []
    platforms = sorted({tag.split("-")[2] for tag in tags})
    if not supported(platforms, allowed, exact=exact):
        details.append(
            f"has {', '.join(platforms)}; allowed: {', '.join(allowed)}{' (exactly)' if exact else ''}"
        )
    if not names_only:
        details += broken_promises(path, tags)
    return BadWheel(name, False, tuple(details)) if details else None


def name_tags(name: str) -> frozenset[str]:
    """The single tags of a wheel's file name, such as `py3-none-any`. Raises ValueError where malformed."""
    # `packaging` lets a line feed through after the version.
    if any(letter.isspace() or not letter.isprintable() for letter in name):
        raise ValueError("white space or control characters")
    # Imported here: it is half of the start-up time, and may be missing where only the script was copied.
    try:
        from packaging.utils import parse_wheel_filename
    except ImportError as problem:
        raise MachineError(
            "the Python library `packaging` is missing", hint=f"{sys.executable} -m pip install packaging"
        ) from problem
    return frozenset(str(tag) for tag in parse_wheel_filename(name)[3])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 0 good, 1 a bad wheel, 2 wrong use, 3 no `packaging`."""
    parser = argparse.ArgumentParser(
        description="Check that each wheel of a folder has a supported platform tag and keeps its promise.",
        epilog="An allowed manylinux or musllinux tag admits older ones of its architecture; pure wheels "
        "need the tag `any`. Exit status: 0 all good, 1 a bad wheel, 2 wrong use or a malformed name.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="folder that holds the wheels")
    parser.add_argument("tags", metavar="TAG", nargs="+", help="platform tag that is supported")
    parser.add_argument(
        "--exact", action="store_true", help="admit these tags only, not older ones nor aliases"
    )
    parser.add_argument("--names-only", action="store_true", help="do not look into the wheels")
    options = parser.parse_intermixed_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        checked = check_folder(options.directory, options.tags, options.exact, names_only=options.names_only)
    except PortableError as problem:
        print(problem.render(), file=sys.stderr)
        return problem.exit_code
    print(checked.render())
    return checked.exit_status
