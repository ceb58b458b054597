"""The static helpers that run inside images, and how they are compiled.

`cell-run` starts an app and records what came of it; `canary` and `build-canary` print what a cell and a build observe;
`own-ids` sets a build up, outside. All are C11 against the C library alone, so that they start in every root file
system, also in an empty one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from py_portable.command import require, run
from py_portable.errors import MachineError

NAMES = ("cell-run", "canary", "build-canary", "own-ids")
FLAGS = ("-std=c11", "-static", "-Os", "-s", "-Wall")
_SECONDS = 300.0  # ziglang compiles its C library on first use


def source(name: str) -> Path:
    """The C source of the helper `name`."""
    return Path(__file__).with_name(f"{name}.c")


def sources_digest() -> str:
    """`sha256:…` over the names and bytes of all sources and the compiler's flags."""
    total = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(Path(__file__).parent.glob("*.[ch]")):
        body = path.read_bytes()
        total.update(f"\0{path.name}\0{len(body)}\0".encode() + body)
    return f"sha256:{total.hexdigest()}"


def key() -> str:
    """What the compiled helpers of this machine are kept under: other sources have another one."""
    return f"native-{platform.machine()}-{sources_digest().removeprefix('sha256:')}"


def compiler() -> tuple[str, ...]:
    """The words that start a C compiler for static musl programs. Raises MachineError where there is none."""
    found = shutil.which("musl-gcc")
    if found:
        return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-target", f"{os.uname().machine}-linux-musl")
    raise MachineError(
        "no compiler for the static helpers was found",
        hint="apt-get install musl-tools\nor: python -m pip install ziglang",
    )


def compile(out: Path) -> None:
    """Compile the helpers into the folder `out`, mode 0755. Raises MachineError."""
    words = compiler()
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        target = out / name
        require(
            run([*words, *FLAGS, "-o", target, source(name)], timeout=_SECONDS),
            what=f"compiling the helper {name}",
            error=MachineError,
            hint="check the compiler: " + words[0],
        )
        target.chmod(0o755)
