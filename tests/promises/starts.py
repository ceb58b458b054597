"""Cells on a root with next to nothing in it, for the tests of promises: an artifact that prints a file which it brings."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from py_portable.config import Smoke
from py_portable.engines import static_helpers
from py_portable.engines.engine import Bind, Engine
from py_portable.engines.select import select
from py_portable.evidence.typed import CellResult
from py_portable.formats import Start
from py_portable.images import Image
from py_portable.prove import cell_runs
from py_portable.prove.bench import Bench, Cell
from py_portable.store import Store

SAY = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    static char path[4096], block[65536];
    for (int to = 1; to <= 2; to++) {
        strcpy(path, argv[0]);
        strcat(path, to == 1 ? ".out" : ".err");
        int from = open(path, O_RDONLY);
        for (ssize_t n; from >= 0 && (n = read(from, block, sizeof block)) > 0;)
            for (ssize_t done = 0, wrote; done < n && (wrote = write(to, block + done, n - done)) > 0;)
                done += wrote;
    }
    return argc > 1 ? atoi(argv[1]) : 0;
}
"""


def compile_say(folder: Path) -> Path:
    """A static program that prints what lies beside it in NAME.out and NAME.err, and ends with its first argument."""
    (folder / "say.c").write_text(SAY)
    subprocess.run([*static_helpers.compiler(), "-static", "-Os", "-o", folder / "say", folder / "say.c"], check=True)
    return folder / "say"


def empty_root(root: Path) -> Path:
    for name in ("bin", "etc", "usr", "tmp", "home", "opt"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:10001:10001::/home/user:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nuser:x:10001:\n")
    return root


def app(folder: Path, say: Path, name: str, out: bytes = b"", err: bytes = b"") -> Start:
    """How the artifact `name` is started, which prints this."""
    place = folder / name
    place.mkdir(mode=0o755)
    (place / name).write_bytes(say.read_bytes())
    (place / name).chmod(0o755)
    (place / f"{name}.out").write_bytes(out)
    (place / f"{name}.err").write_bytes(err)
    return Start(f"/opt/app/{name}/{name}", (Bind(place, f"/opt/app/{name}"),), is_elf=True)


def engine(name: str, helpers: Path) -> Engine:
    return select(name, helpers)[0]


def prove(
    folder: Path, name: str, helpers: Path, root: Path, starts: Sequence[tuple[Start, Smoke]], expect: str = "pass"
) -> list[CellResult]:
    """One cell for each start under the engine of that name."""
    chosen, info, _ = select(name, helpers)
    image = Image("tiny:1", root, f"sha256:{'1' * 64}", "archive", "2.36", None)
    bench = Bench(chosen, info, helpers, Store(folder / "store"), "", folder)
    cells = [
        Cell(
            "app", "file", f"sha256:{hashlib.sha256(repr(start).encode()).hexdigest()}", start, smoke, "tiny:1",
            image, "plain", expect,
        )
        for start, smoke in starts
    ]  # fmt: skip
    return cell_runs.run(cells, bench, lambda _result: None)
