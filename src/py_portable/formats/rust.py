"""The caller's Rust: what artifacts that are Rust programs are compiled with."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from py_portable import command
from py_portable.errors import MachineError
from py_portable.steps.context import Environment

OLDEST = (1, 81)
"""What PyOxidizer's driver and the newest of its crates ask for."""
_CURE = "rustup toolchain install stable && rustup default stable"
_RUSTUP = f"install rustup (https://rustup.rs), then: {_CURE}"


@dataclass(frozen=True)
class Rust:
    """A toolchain on this machine: `sysroot` is a folder that works wherever it is shown."""

    sysroot: Path
    version: str
    """What rustc and cargo say of themselves."""


def toolchain(environ: Mapping[str, str]) -> Rust:
    """The caller's Rust. Raises MachineError, whose hint is the cure."""
    program = shutil.which("rustc", path=environ.get("PATH"))
    if program is None:
        raise MachineError(
            "Rust, which the format pyoxidizer compiles with, is not on PATH",
            hint=_RUSTUP,
        )
    version = _ask(environ, program, "--version")
    found = re.match(r"rustc (\d+)\.(\d+)\.", version)
    if not found:
        raise MachineError(f"{program} is no rustc: it says {version!r}", hint=_CURE)
    if (int(found[1]), int(found[2])) < OLDEST:
        oldest = "{}.{}".format(*OLDEST)
        raise MachineError(f"{version} is too old: PyOxidizer needs {oldest} or newer", hint=_CURE)
    sysroot = Path(_ask(environ, program, "--print", "sysroot"))
    cargo = sysroot / "bin" / "cargo"
    if not cargo.is_file() or sysroot == Path("/usr"):
        raise MachineError(
            f"the Rust in {sysroot} is the system's own, with cargo and libraries elsewhere: "
            "it does not start in a baseline",
            hint=_RUSTUP,
        )
    return Rust(sysroot, f"{version}, {_ask(environ, str(cargo), '--version')}")


def observed(env: Environment) -> str:
    """The version that results are made with here.

    Where there is no Rust that fits: the last one that was, since what it made in this store is still good.
    """
    seen = env.store.cache("rust") / "seen"
    try:
        version = toolchain(env.environ).version
    except MachineError:
        return seen.read_text("utf-8") if seen.is_file() else ""
    if not seen.is_file() or seen.read_text("utf-8") != version:
        fresh = seen.with_name(f"seen.{os.getpid()}.{threading.get_ident()}")
        fresh.write_text(version, "utf-8")
        fresh.replace(seen)
    return version


def _ask(environ: Mapping[str, str], *words: str) -> str:
    return command.check(
        words,
        what=f"asking {Path(words[0]).name} about itself",
        error=MachineError,
        hint=_CURE,
        env=environ,
        timeout=300,
    ).stdout.text.strip()
