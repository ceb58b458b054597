"""Let Nuitka analyse the standard library, which is most of its work for a small app: once for all apps, without any.

nuitka_modules.py: writes /out/module-cache in the form of Nuitka's own cache, with the same bytes each time. It
contains the names of modules and of the modules that they import, and no code.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

WORK = Path("/build")
CACHE = "module-cache"


def settled(text: str) -> str:
    """The text without the times that the analysis took here."""
    return json.dumps({**json.loads(text), "timing_infos": []}, sort_keys=True)


def main() -> None:
    (WORK / "empty.py").write_text("")
    words = ["--mode=standalone", "--static-libpython=yes", "--lto=no", "--assume-yes-for-downloads"]
    words += ["--no-progressbar", "--generate-c-only", "--output-dir=/build/nuitka", "empty.py"]
    environ = {**os.environ, "PYTHONPATH": "/opt/tools", "NUITKA_CACHE_DIR": str(WORK / "cache")}
    done = subprocess.run([sys.executable, "-m", "nuitka", *words], cwd=WORK, env=environ)
    if done.returncode:
        sys.exit(done.returncode)
    out = Path("/out") / CACHE
    out.mkdir()
    for file in sorted((WORK / "cache" / CACHE).glob("*.json")):
        (out / file.name).write_text(settled(file.read_text()))


if __name__ == "__main__":
    main()
