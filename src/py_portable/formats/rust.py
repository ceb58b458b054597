"""The user's Rust, which compiles artifacts that are Rust programs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable.base import process
from py_portable.errors import MachineError

OLDEST = (1, 81)
"""The oldest Rust that PyOxidizer and the newest of its crates accept."""
_CURE = "rustup toolchain install stable && rustup default stable"
_RUSTUP = f"install rustup (https://rustup.rs), then: {_CURE}"


@dataclass(frozen=True)
class Rust:
    """A toolchain on this machine: `sysroot` is a folder that works wherever it is shown."""

    sysroot: Path
    version: str
    """The versions that rustc and cargo print."""


def toolchain(environ: Mapping[str, str]) -> Rust:
    """The user's Rust. Raises MachineError, whose hint says what to do."""
    program = shutil.which("rustc", path=environ.get("PATH"))
    if program is None:
        raise MachineError(
            "Rust, which the format pyoxidizer compiles with, is not on PATH",
            hint=_RUSTUP,
        )
    version = _ask(environ, program, "--version")
    found = re.match(r"rustc (\d+)\.(\d+)\.", version)
    if not found:
        raise MachineError(f"{program} is not rustc: it prints {version!r}", hint=_CURE)
    if (int(found[1]), int(found[2])) < OLDEST:
        oldest = "{}.{}".format(*OLDEST)
        raise MachineError(f"{version} is too old: PyOxidizer needs {oldest} or newer", hint=_CURE)
    sysroot = Path(_ask(environ, program, "--print", "sysroot"))
    cargo = sysroot / "bin" / "cargo"
    if not cargo.is_file() or sysroot == Path("/usr"):
        raise MachineError(
            f"the Rust in {sysroot} is the system's own, with cargo and libraries in other places, so it "
            "cannot start in a baseline",
            hint=_RUSTUP,
        )
    return Rust(sysroot, f"{version}, {_ask(environ, str(cargo), '--version')}")


def _ask(environ: Mapping[str, str], *words: str) -> str:
    return process.check(
        words,
        what=f"asking {Path(words[0]).name} about itself",
        error=MachineError,
        hint=_CURE,
        env=environ,
        timeout=300,
    ).stdout.text.strip()
