"""Install a wheelhouse into the site-packages of an interpreter, compile the modules, and name the app's module.

bare.py WHEELS SITE PYTHON DISTRIBUTION SCRIPT ENTRY_POINT (the last two may be empty). It is run by another copy of the
interpreter, which has pip. It writes {"module": NAME} to SITE/bare.json.
"""

import json
import subprocess
import sys
from pathlib import Path

import app
import metadata


def main() -> None:
    wheels, site, python, distribution, script, entry_point = sys.argv[1:]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--root-user-action=ignore", "--no-index", "--find-links", wheels, "--no-compile"]
    subprocess.run([*pip, "--target", site, distribution], check=True)
    # Compiled in their final place, by the interpreter that will read them: pip would compile them elsewhere and move
    # them.
    subprocess.run([python, "-m", "compileall", "-q", site], check=True)
    own = app.distributions(Path(site))[metadata.normal(distribution)]
    module = app.chosen(own, script, entry_point).module
    Path(site, "bare.json").write_text(json.dumps({"module": module}), encoding="utf-8")


main()
