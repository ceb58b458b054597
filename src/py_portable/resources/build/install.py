"""Install the app from a wheelhouse into a virtual environment on the image, offline, and make /…/start.

install.py WHEELS VENV DISTRIBUTION SCRIPT ENTRY_POINT (the last two may be empty)
"""

import importlib.metadata
import re
import subprocess
import sys
import venv
from pathlib import Path


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    wheels, folder, distribution, script, entry_point = sys.argv[1:]
    venv.create(folder, with_pip=False, symlinks=True)
    python = Path(folder) / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(python),
        "install",
        "--quiet",
    ]
    pip += ["--root-user-action=ignore", "--no-index", "--find-links", wheels, distribution]
    done = subprocess.run(pip)
    if done.returncode:
        sys.exit(done.returncode)
    start = Path(folder).parent / "start"
    if not entry_point:
        (site,) = Path(folder).glob("lib/python3.*/site-packages")
        scripts = {
            e.name: e.value
            for d in importlib.metadata.distributions(path=[str(site)])
            if normal(d.name) == normal(distribution)
            for e in d.entry_points
            if e.group == "console_scripts"
        }
        chosen = script or (next(iter(scripts)) if len(scripts) == 1 else distribution)
        if chosen not in scripts:
            sys.exit(
                f"{distribution} has the console scripts {', '.join(sorted(scripts)) or '(none)'}: see app.script"
            )
        start.symlink_to(Path(folder) / "bin" / chosen)
        return
    module, _, attribute = entry_point.partition(":")
    if not re.fullmatch(r"[\w.]+", module) or not re.fullmatch(r"[\w.]*", attribute):
        sys.exit(f"entry point {entry_point!r} is not module:attribute")
    call = (
        f"import sys, {module}; sys.exit({module}.{attribute}())"
        if attribute
        else (f"import runpy; runpy.run_module({module!r}, run_name='__main__')")
    )
    start.write_text(f"#!{python}\n{call}\n")
    start.chmod(0o755)


main()
