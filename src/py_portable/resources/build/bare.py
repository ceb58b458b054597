"""Install a wheelhouse into the site-packages of an interpreter, compiled where they lie, and name the app's module.

bare.py WHEELS SITE PYTHON DISTRIBUTION SCRIPT ENTRY_POINT (the last two may be empty). Run by another copy of the
interpreter, which has pip. SITE/bare.json gets {"module": NAME}.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def called(site: str, distribution: str, script: str) -> str:
    """The entry point of the console script."""
    scripts = {
        e.name: e.value
        for d in importlib.metadata.distributions(path=[site])
        if normal(d.name) == normal(distribution)
        for e in d.entry_points
        if e.group == "console_scripts"
    }
    chosen = script or (next(iter(scripts)) if len(scripts) == 1 else distribution)
    if chosen not in scripts:
        sys.exit(
            f"{distribution} has the console scripts {', '.join(sorted(scripts)) or '(none)'}: see app.script"
        )
    return scripts[chosen]


def main() -> None:
    wheels, site, python, distribution, script, entry_point = sys.argv[1:]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--root-user-action=ignore", "--no-index", "--find-links", wheels, "--no-compile"]
    subprocess.run([*pip, "--target", site, distribution], check=True)
    # In their place and by the interpreter that reads them: pip would compile them elsewhere and move them.
    subprocess.run([python, "-m", "compileall", "-q", site], check=True)
    module = (entry_point or called(site, distribution, script)).partition(":")[0].strip()
    Path(site, "bare.json").write_text(json.dumps({"module": module}), encoding="utf-8")


main()
