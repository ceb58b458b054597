#!/opt/python/bin/python3
"""`cargo` as PyOxidizer's driver calls it: what it compiles is kept, and a cargo of today makes its project.

The driver builds in a fresh temporary folder each time. Its target folder becomes a kept one, and the paths in
what the build scripts are told become fixed ones, so that crates are compiled once and not for every build.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CARGO = "/opt/rust/bin/cargo"
KEPT = Path("/cache/target")
FIXED = Path("/build/artifacts")


def main() -> int:
    words = sys.argv[1:]
    if words[:1] == ["init"]:
        # Written for cargo < 1.85, whose default it was.
        return subprocess.run([CARGO, "init", "--edition", "2021", "--vcs", "none", *words[1:]]).returncode
    if words[:1] != ["build"] or "--target-dir" not in words:
        os.execv(CARGO, [CARGO, *words])
    at = words.index("--target-dir") + 1
    asked = Path(words[at])
    words[at] = str(KEPT)
    program, triple = words[words.index("--bin") + 1], words[words.index("--target") + 1]
    artifacts = asked.parent.parent / "artifacts"
    FIXED.unlink(missing_ok=True)
    FIXED.symlink_to(artifacts)
    environ = {name: value.replace(str(artifacts), str(FIXED)) for name, value in os.environ.items()}
    told = artifacts / "pyo3-build-config-file.txt"
    if told.is_file():
        told.write_text(told.read_text().replace(str(artifacts), str(FIXED)))
    done = subprocess.run([CARGO, *words], env=environ)
    made = KEPT / triple / "release" / program
    if done.returncode == 0:
        target = asked / triple / "release" / program
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made, target)
    return done.returncode


sys.exit(main())
