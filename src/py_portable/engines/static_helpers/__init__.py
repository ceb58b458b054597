"""The static helpers that run inside images: where they come from, and how they are compiled.

`cell-run` starts an app and records what came of it; `canary` and `build-canary` print what a cell and a build observe;
`own-ids` sets a build up, outside. All are C11 against the C library alone, so that they start in every root file
system, also in an empty one.

They come compiled (base/prebuilt.py).
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from py_portable.base import prebuilt
from py_portable.base.prebuilt import Compiled, Prebuilt
from py_portable.base.process import require, run
from py_portable.errors import MachineError

NAMES = ("cell-run", "canary", "build-canary", "own-ids")
# Nothing here unwinds a stack: its tables are a sixth of what a compiler makes.
FLAGS = ("-std=c11", "-static", "-Os", "-s", "-Wall", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
TABLE = prebuilt.TABLE
FOLDER = Path(__file__).parent
"""Of the sources, of compiled.toml and of the archives MACHINE.tar.xz."""
_SECONDS = 300.0  # ziglang compiles its C library on first use
_log = logging.getLogger(__name__)


def source(name: str) -> Path:
    """The C source of the helper `name`."""
    return FOLDER / f"{name}.c"


def prebuilt_helpers() -> Prebuilt:
    return Prebuilt(FOLDER, FLAGS)


def sources_digest() -> str:
    """`sha256:…` over the names and bytes of all sources and the compiler's flags."""
    return prebuilt_helpers().sources_digest()


def table() -> Mapping[str, object]:
    """What scripts/make-helpers wrote down: `compiler`, `sources` (their digest), and `sha256` by machine and name."""
    return prebuilt_helpers().table()


def stale() -> bool:
    """Whether a source was changed and scripts/make-helpers has not run since."""
    return prebuilt_helpers().stale()


def compiled(machine: str | None = None) -> Compiled | None:
    """Those that come with the kit for that kind of machine (`x86_64`; by default this one).

    None where it has none of today's sources, as after a change of one.
    """
    return prebuilt_helpers().compiled(machine)


def key() -> str:
    """What the helpers of this machine are kept under. It names the compiled ones by their own digest, and those that
    are to be compiled by that of their sources."""
    ready = compiled()
    digest = ready.digest if ready else sources_digest().removeprefix("sha256:")
    return f"native-{platform.machine()}-{digest}"


def put(out: Path) -> None:
    """The helpers of this machine into the folder `out`, mode 0755: the compiled ones, else by a compiler.

    Raises MachineError: they are damaged, or there are none and no compiler either.
    """
    out.mkdir(parents=True, exist_ok=True)
    ready = compiled()
    if ready:
        ready.unpack(out)
        return
    words = compiler()
    _log.warning("%s: %s compiles them", prebuilt_helpers().lacking(), Path(words[0]).name)
    compile(out, words)


def compiler() -> tuple[str, ...]:
    """The words that start a C compiler for static musl programs. Raises MachineError where there is none."""
    return prebuilt.compiler(prebuilt_helpers().lacking())


def compile(out: Path, words: Sequence[str | Path]) -> None:
    """Compile the helpers into `out`, mode 0755, with the compiler that `words` start. Raises MachineError."""
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        target = out / name
        require(
            run([*words, *FLAGS, "-o", target, source(name)], timeout=_SECONDS),
            what=f"compiling the helper {name}",
            error=MachineError,
            hint=f"check the compiler: {words[0]}",
        )
        target.chmod(0o755)
