#!/opt/python/bin/python3
"""The `cargo` that PyOxidizer's driver calls: it uses crates that were compiled before, and works with today's cargo.

The driver builds in a new temporary folder each time. Its target folder becomes /build/crates/target, which begins as a
copy of /in/compiled/target and is removed with the sandbox. Its project folder, and the paths that build scripts get,
become fixed ones, so that crates are compiled only once and the same program gives the same bytes.
"""

import filecmp
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

CARGO = "/opt/rust/bin/cargo"
KEPT = Path("/build/crates")
COMPILED = Path("/in/compiled")
CRATES = Path("/in/crates")
FIXED = Path("/build/artifacts")
PROJECT = Path("/build/program")
TOLD = "pyo3-build-config-file.txt"


def kept() -> Path:
    """Make the target folder of this build if it is missing, and return it."""
    target = KEPT / "target"
    if not target.is_dir():
        KEPT.mkdir(exist_ok=True)
        if COMPILED.is_dir():
            shutil.copytree(COMPILED / "target", target, symlinks=True)
            # Cargo compiles again what is older than its sources.
            now = time.time_ns()
            for path in [target, *target.rglob("*")]:
                os.utime(path, ns=(now, now), follow_symlinks=False)
        else:
            target.mkdir()
    return target


def forget(target: Path, program: str) -> None:
    """Remove what was compiled for the program itself, because the next program at that place is a different one."""
    if any(re.fullmatch(r"-\d.*", crate.name[len(program) :]) for crate in CRATES.glob(f"{program}-*")):
        return
    name = "[-_]".join(map(re.escape, re.split("[-_]", program)))
    names = re.compile(rf"(lib)?{name}(-[0-9a-f]{{16}})?(\.\w+)?")
    for path in [*target.glob("release/*/*"), *target.glob("*/release/*/*"), *target.glob("*/release/*")]:
        if names.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def build(words: list[str]) -> int:
    at = words.index("--target-dir") + 1
    asked, target = Path(words[at]), kept()
    words[at] = str(target)
    program, triple = words[words.index("--bin") + 1], words[words.index("--target") + 1]
    artifacts = asked.parent.parent / "artifacts"
    FIXED.unlink(missing_ok=True)
    FIXED.symlink_to(artifacts)
    environ = {name: value.replace(str(artifacts), str(FIXED)) for name, value in os.environ.items()}
    told, before = artifacts / TOLD, COMPILED / TOLD
    if told.is_file():
        told.write_text(told.read_text().replace(str(artifacts), str(FIXED)))
        shutil.copy(told, target.parent / TOLD)
        if before.is_file() and filecmp.cmp(told, before, shallow=False):
            os.utime(told, (0, 0))
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.copytree(Path.cwd(), PROJECT, symlinks=True)
    done = subprocess.run([CARGO, *words], env={**environ, "PWD": str(PROJECT)}, cwd=PROJECT)
    if done.returncode == 0:
        wanted = asked / triple / "release" / program
        wanted.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(target / triple / "release" / program, wanted)
        forget(target, program)
    return done.returncode


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["init"]:
        # The driver was written for cargo before 1.85, whose default this was.
        return subprocess.run([CARGO, "init", "--edition", "2021", "--vcs", "none", *words[1:]]).returncode
    if words[:1] != ["build"] or "--target-dir" not in words:
        os.execv(CARGO, [CARGO, *words])
    return build(words)


if __name__ == "__main__":
    sys.exit(main())
