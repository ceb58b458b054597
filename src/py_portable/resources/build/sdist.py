"""Make the sdist of /in/source/app in /out, offline and with the same bytes each time. Its requirements are in
/in/build.

sdist.py SPEC (JSON: requires, backend, backend_path)
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

OUT = Path("/out")
SOURCE = Path("/build/source")
MADE = Path("/build/made")
HOOK = """
import importlib, json, os, sys
spec, action, folder = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.path[:0] = [os.path.abspath(one) for one in spec["backend_path"]]
name, _, inner = spec["backend"].partition(":")
backend = importlib.import_module(name)
for part in filter(None, inner.split(".")):
    backend = getattr(backend, part)
if action == "requires":
    hook = getattr(backend, "get_requires_for_build_sdist", lambda: [])
    with open(os.path.join(folder, "requires.json"), "w") as stream:
        json.dump(list(hook()), stream)
else:
    backend.build_sdist(folder)
"""


def run(*words: str, cwd: Path | None = None) -> None:
    done = subprocess.run(words, cwd=cwd)
    if done.returncode:
        sys.exit(done.returncode)


def pip(python: Path, requires: list[str]) -> None:
    if requires:
        words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "--python"]
        words += [str(python), "install", "--quiet", "--no-index", "--find-links", "/in/build", *requires]
        run(*words)


def settle(made: Path, epoch: int) -> None:
    """Write the archive again without what differs from one build to the next: times, owners, order."""
    fresh = OUT / made.name
    with tarfile.open(made) as old, fresh.open("wb") as raw:
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=epoch)
        with packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new:
            for member in sorted(old.getmembers(), key=lambda one: one.name):
                member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                new.addfile(member, old.extractfile(member) if member.isfile() else None)


def main() -> None:
    spec = json.loads(sys.argv[1])
    shutil.copytree("/in/source/app", SOURCE, symlinks=True)
    MADE.mkdir()
    venv.create("/build/venv", with_pip=False, symlinks=True)
    python = Path("/build/venv/bin/python")
    pip(python, spec["requires"])
    run(str(python), "-c", HOOK, sys.argv[1], "requires", str(MADE), cwd=SOURCE)
    told = MADE / "requires.json"
    pip(python, json.loads(told.read_text()))
    told.unlink()
    run(str(python), "-c", HOOK, sys.argv[1], "build", str(MADE), cwd=SOURCE)
    made = list(MADE.glob("*.tar.gz"))
    if len(made) != 1:
        sys.exit(f"the build system made {len(made)} sdists (.tar.gz), expected one")
    settle(made[0], int(os.environ["SOURCE_DATE_EPOCH"]))


main()
