"""Install the app from a wheelhouse into a virtual environment on the image, offline, and make `start` beside it.

install.py WHEELS VENV DISTRIBUTION SCRIPT ENTRY_POINT EXTRAS BESIDE [OWN SHA256] (those after the first three may be
empty)

BESIDE are requirements that are installed beside the app, with blanks between them. OWN is a wheel of the app that is
installed instead of the one in WHEELS, and SHA256 is the digest of this file.
"""

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import app
import metadata


def origin(own: importlib.metadata.Distribution) -> "dict[str, Any]":
    """What pip recorded about the origin of the distribution (PEP 610); empty if it was installed by its name."""
    told: dict[str, Any] = json.loads(own.read_text("direct_url.json") or "{}")
    return told


def main() -> None:
    wheels, folder, distribution, script, entry_point, extras, beside, *rest = sys.argv[1:]
    own, sha256 = rest or ("", "")
    if own and hashlib.sha256(Path(own).read_bytes()).hexdigest() != sha256:
        sys.exit(f"{own} is not the wheel that must be proven")
    wanted = f"{own or distribution}[{extras}]" if extras else own or distribution
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
    pip += ["--root-user-action=ignore", "--no-index", "--find-links", wheels, wanted, *beside.split()]
    done = subprocess.run(pip)
    if done.returncode:
        sys.exit(done.returncode)
    (site,) = Path(folder).glob("lib/python3.*/site-packages")
    found = app.distributions(site)[metadata.normal(distribution)]
    if own:
        told = origin(found)
        if not told.get("url", "").endswith("/" + Path(own).name):
            sys.exit(f"pip installed {distribution} from {told.get('url', 'the wheelhouse')}, not {own}")
        hashed = told.get("archive_info", {}).get("hash", f"sha256={sha256}")
        if hashed != f"sha256={sha256}":
            sys.exit(f"pip installed a {distribution} with {hashed}, not {sha256}")
    more = {
        name: more.rstrip("]").split(",") for name, _, more in (one.partition("[") for one in beside.split())
    }
    asked = {
        name: list(filter(None, found)) for name, found in {**more, distribution: extras.split(",")}.items()
    }
    metadata.check(site, asked)
    start = Path(folder).parent / "start"
    files = [Path(own)] if own else sorted(Path(wheels).glob("*.whl"))
    entry = app.chosen(found, script, entry_point, files, app.distributions(site).values())
    if not entry_point:
        start.symlink_to(Path(folder) / "bin" / entry.name)
        return
    start.write_text(f"#!{python}\nimport sys\n{entry.imported}\n{entry.called()}\n")
    start.chmod(0o755)


main()
