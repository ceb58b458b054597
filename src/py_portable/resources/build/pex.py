"""Make one file from the wheels in /in/wheels/PYTHON, for each Python, with the pex of /in/pex.

pex.py SPEC: a JSON object with the keys of formats/app_entry.py, and pythons: the first one is the Python of
/opt/python, the others are at /opt/pythons/PYTHON. The result is /out/NAME.pex, and /out/entry.json.
"""

import filecmp
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import app
import metadata

BUILD = Path("/build")
TOOL = BUILD / "tool"
SITE = BUILD / "site"
HOUSE = BUILD / "wheels"


def main() -> None:
    spec = json.loads(sys.argv[1])
    pythons = spec["pythons"]
    own = sorted((app.WHEELS / pythons[0]).glob("*.whl"))
    unpack_metadata(own)
    metadata.check(SITE, app.asked(spec), spec["unmet"])
    there = app.distributions(SITE)
    entry = app.chosen(
        there[metadata.normal(spec["distribution"])], spec["script"], spec["entry_point"], own, there.values()
    )
    name = f"{entry.name}.pex"
    gather(pythons)
    make(spec, entry, name)
    app.tell(entry, payload=name, program=name)


def unpack_metadata(wheels: list[Path]) -> None:
    """Unpack only the metadata of the wheels, because it says what is installed."""
    SITE.mkdir()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(SITE, [n for n in archive.namelist() if ".dist-info" in n.partition("/")[0]])


def gather(pythons: list[str]) -> None:
    """Put all wheels into one folder. A wheel that fits several Pythons must be the same for all of them."""
    HOUSE.mkdir()
    for python in pythons:
        for wheel in sorted((app.WHEELS / python).glob("*.whl")):
            there = HOUSE / wheel.name
            if not there.exists():
                there.symlink_to(wheel)
            elif not filecmp.cmp(there, wheel, shallow=False):
                sys.exit(
                    f"{wheel.name} is another file for Python {python} than for one before it: one pex cannot "
                    "hold both. Make a pex for each Python, with the key python in place of pythons"
                )


def accepted(unmet: "list[str]") -> list[str]:
    """pex's options for the packages that, as the config says, may be missing or may have another version."""
    there = app.distributions(SITE)
    names = [name for name in unmet if name != "python"]
    return [f"--override={name}" if name in there else f"--exclude={name}" for name in names]


def make(spec: "dict[str, Any]", entry: app.Entry, name: str) -> None:
    for wheel in Path("/in/pex").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(TOOL)
    pythons = spec["pythons"]
    programs = ["/opt/python/bin", *(f"/opt/pythons/{python}/bin" for python in pythons[1:])]
    constraints = [f"--interpreter-constraint=CPython=={python}.*" for python in pythons]
    words = [
        *(
            sys.executable,
            "-m",
            "pex",
            *app.wanted(app.asked(spec)),
            f"--pre-resolved-dists={HOUSE}",
            "--no-pypi",
            "--no-compile",
        ),
        *(f"--python-path={os.pathsep.join(programs)}", *constraints),
        # Warnings of pex itself would appear in the app's stderr.
        *("--venv=prepend", "--sh-boot", "--no-emit-warnings", f"--jobs={os.environ['JOBS']}"),
        *accepted(spec["unmet"]),
        f"--script={entry.name}" if entry.file else f"--entry-point={entry.value}",
        f"--output-file={app.OUT / name}",
    ]
    environ = {**os.environ, "PYTHONPATH": str(TOOL), "PEX_ROOT": str(BUILD / "root")}
    done = subprocess.run(words, env=environ)
    if done.returncode:
        sys.exit(f"pex ended with exit status {done.returncode}")


if __name__ == "__main__":
    main()
