"""The kit's own bundle, made and proven by the kit."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from py_portable.commands.bring import PROGRAM, bring
from py_portable.engines import static_helpers
from py_portable.errors import StepError
from py_portable.formats.folder_archive import unpack

CONFIG = Path("release/portable.yaml")
ARTIFACT = "kit"


def make(root: Path, dist: Path, to: Path, work: Path) -> None:
    """Build and prove the config's bundle; its archive is then `to`. Raises StepError where the kit is not content."""
    # Packages are those of the lock. An image that is bootstrapped may have drifted; the run then says so.
    for words in (["check", "--locked"], ["portability", "--dist", str(dist)]):
        argv = [sys.executable, "-P", "-m", "py_portable", *words, "--config", str(root / CONFIG)]
        # Its lines are to be read as they come.
        status = subprocess.run(argv, cwd=root, check=False).returncode
        if status:
            raise StepError(
                f"py-portable {words[0]}: exit status {status}",
                where=str(CONFIG),
                hint=f"see above; the lock is mended by: py-portable lock --config {CONFIG}",
            )
    shutil.copyfile(dist / ARTIFACT / f"{PROGRAM}.tar.zst", to)
    fits(to, work)


def fits(archive: Path, work: Path) -> None:
    """Whether `bring` takes it, and it holds the helpers. Raises StepError, ConfigError."""
    unpack(archive, work / "unpacked")
    name = f"{static_helpers.FOLDER.name}/{platform.machine()}.tar.xz"
    if not list((work / "unpacked").rglob(f"py_portable/engines/{name}")):
        raise StepError(f"the bundle lacks the compiled helpers ({name})", where=archive.name)
    bring(str(archive), "", work / "brought")
