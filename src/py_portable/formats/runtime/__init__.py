"""The program in front of a `onefile` artifact: where it comes from, and how it is compiled.

main.c says what it does, packer.py puts a folder behind it. It comes compiled (base/prebuilt.py), and beside it zstd's
decoder as an object, whose sources are not kept here: so a change of the runtime's own sources needs no network.
"""

from __future__ import annotations

import logging
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from py_portable.base import prebuilt
from py_portable.base.prebuilt import Prebuilt
from py_portable.base.process import require, run
from py_portable.errors import MachineError

FOLDER = Path(__file__).parent
"""Of the sources, of compiled.toml and of the archives MACHINE.tar.xz."""
PROGRAM, DECODER = "onefile", "zstd.o"
NAMES = (PROGRAM, DECODER)
_COMMON = ("-std=c11", "-Wall", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables")
FLAGS = (*_COMMON, "-static", "-Os", "-s")
# Code for newer processors beside the common one would make it larger and no faster.
DECODER_FLAGS = (*_COMMON, "-O2", "-g0", "-DNDEBUG", "-DDYNAMIC_BMI2=0")
_SECONDS = 300.0
_log = logging.getLogger(__name__)


def fills(name: str) -> tuple[str, ...]:
    """How its message begins (cache.c) where no folder has room for what it unpacks; `name` is that in its seal."""
    return (f"{name}: there is no folder to unpack it to:",)


def prebuilt_runtime() -> Prebuilt:
    return Prebuilt(FOLDER, (*FLAGS, *DECODER_FLAGS))


def identity() -> str:
    """What decides the bytes of `runtime` on this machine."""
    kit = prebuilt_runtime()
    ready = kit.compiled()
    return ready.digest if ready else kit.sources_digest()


def runtime() -> bytes:
    """The program for this kind of machine: the compiled one, else by a compiler. Raises MachineError: it is damaged,
    or there is none and no compiler either."""
    kit, machine = prebuilt_runtime(), platform.machine()
    ready = kit.compiled()
    if ready:
        return ready.bodies()[PROGRAM]
    words, older = prebuilt.compiler(kit.lacking()), kit.archive(machine)
    if older is None:
        raise MachineError(
            f"the kit has no runtime of onefile for {machine}",
            hint="add the machine to scripts/make-helpers and run it",
        )
    _log.warning("%s: %s compiles them", kit.lacking(), Path(words[0]).name)
    with tempfile.TemporaryDirectory(prefix="py-portable-runtime-") as folder:
        out = Path(folder)
        older.unpack(out)
        compile(out, words, out / DECODER)
        return (out / PROGRAM).read_bytes()


def compile(out: Path, words: Sequence[str | Path], decoder: Path) -> None:
    """Compile the runtime into the folder `out` with the compiler that `words` start. Raises MachineError."""
    sources = sorted(FOLDER.glob("*.c"))
    _compile([*words, *FLAGS, "-o", out / PROGRAM, *sources, decoder], "the runtime of onefile")


def compile_decoder(out: Path, words: Sequence[str | Path], zstd: Path) -> None:
    """Compile zstd's decoder into the folder `out`; `zstd` is the folder `lib` of its sources. Raises MachineError."""
    source = FOLDER / "zstd" / "decoder.c"
    _compile(
        [*words, *DECODER_FLAGS, "-I", zstd, "-I", zstd / "common", "-c", "-o", out / DECODER, source], "zstd"
    )


def _compile(argv: Sequence[str | Path], what: str) -> None:
    hint = f"check the compiler: {argv[0]}"
    require(run(argv, timeout=_SECONDS), what=f"compiling {what}", error=MachineError, hint=hint)
