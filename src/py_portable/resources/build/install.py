"""Install the app from a wheelhouse into a virtual environment on the image, offline, and make /…/start.

install.py WHEELS VENV DISTRIBUTION SCRIPT ENTRY_POINT [OWN SHA256 EXTRAS] (all but the first three may be empty)

OWN is a wheel of the app that is to be installed instead of the one in WHEELS, SHA256 that file's digest.
"""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def origin(folder: Path, distribution: str) -> dict[str, Any]:
    """What pip recorded of where the distribution came from (PEP 610); nothing where it came by its name."""
    (site,) = folder.glob("lib/python3.*/site-packages")
    for one in importlib.metadata.distributions(path=[str(site)]):
        if normal(one.name) == normal(distribution):
            told: dict[str, Any] = json.loads(one.read_text("direct_url.json") or "{}")
            return told
    return {}


def main() -> None:
    wheels, folder, distribution, script, entry_point, *rest = sys.argv[1:]
    own, sha256, extras = rest or ("", "", "")
    wanted = distribution
    if own:
        if hashlib.sha256(Path(own).read_bytes()).hexdigest() != sha256:
            sys.exit(f"{own} is not the wheel that is to be proven")
        wanted = f"{own}[{extras}]" if extras else own
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
    pip += ["--root-user-action=ignore", "--no-index", "--find-links", wheels, wanted]
    done = subprocess.run(pip)
    if done.returncode:
        sys.exit(done.returncode)
    if own:
        told = origin(Path(folder), distribution)
        if not told.get("url", "").endswith("/" + Path(own).name):
            sys.exit(f"pip installed {distribution} from {told.get('url', 'the wheelhouse')}, not {own}")
        hashed = told.get("archive_info", {}).get("hash", f"sha256={sha256}")
        if hashed != f"sha256={sha256}":
            sys.exit(f"pip installed a {distribution} with {hashed}, not {sha256}")
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
