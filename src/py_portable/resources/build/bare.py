"""Install a wheelhouse into the site-packages of an interpreter, compile the modules, and name what is started.

bare.py WHEELS SITE PYTHON DISTRIBUTION SCRIPT ENTRY_POINT BESIDE (the last three may be empty). BESIDE are requirements
that are installed beside the app, with blanks between them. It is run by another copy of the interpreter, which has
pip. It writes {"module": NAME} to SITE/bare.json; for a program that is a script file {"program": NAME, "python":
whether it is Python}.
"""

import json
import subprocess
import sys
from pathlib import Path

import app
import metadata


def main() -> None:
    wheels, site, python, distribution, script, entry_point, beside = sys.argv[1:]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pip += ["--root-user-action=ignore", "--no-index", "--find-links", wheels, "--no-compile"]
    subprocess.run([*pip, "--target", site, distribution, *beside.split()], check=True)
    # Compiled in their final place, by the interpreter that will read them: pip would compile them elsewhere and move
    # them.
    subprocess.run([python, "-m", "compileall", "-q", site], check=True)
    own = app.distributions(Path(site))[metadata.normal(distribution)]
    entry = app.chosen(own, script, entry_point, Path(wheels).glob("*.whl"))
    told: dict[str, object] = {"module": entry.module}
    if entry.file:
        told = {"program": entry.name, "python": entry.file.is_python}
    Path(site, "bare.json").write_text(json.dumps(told), encoding="utf-8")


main()
