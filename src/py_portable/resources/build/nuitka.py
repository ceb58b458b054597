"""Compile an app that is installed from the wheelhouse in /in/wheels with Nuitka.

nuitka.py SPEC: a JSON object with the keys of formats/app_entry.py, mode (standalone | onefile), lto, include_packages,
include_data and args. The result is /out/NAME, a folder or an executable, and /out/entry.json.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import app
import metadata

SITE = Path("/build/site")
TOOLS = Path("/opt/tools")
OUT = Path("/out")
CACHE = Path("/build/cache")
SCONS = Path("/build/scons")


def modules(site: Path, distribution: importlib.metadata.Distribution) -> list[str]:
    """The top-level names that a distribution makes importable."""
    names = set()
    for file in distribution.files or ():
        top = file.parts[0]
        if len(file.parts) > 1 and top.isidentifier() and (site / top).is_dir():
            names.add(top)
        elif len(file.parts) == 1 and file.suffix in (".py", ".so"):
            names.add(top.partition(".")[0])
    return sorted(names)


def main() -> None:
    spec = json.loads(sys.argv[1])
    SITE.mkdir()
    app.install(SITE)
    metadata.check(SITE, app.asked(spec), spec["unmet"])
    distributions = app.distributions(SITE)
    own = distributions[metadata.normal(spec["distribution"])]
    wheels = app.WHEELS.glob("*.whl")
    entry = app.chosen(own, spec["script"], spec["entry_point"], wheels, distributions.values())
    name = entry.name

    # Not named like the app: its folder comes first on the module search path.
    main_file = Path("/build/main/portable_entry.py")
    main_file.parent.mkdir()
    main_file.write_bytes(main_module(entry))

    whole = [
        own,
        *(distributions[name] for name in map(metadata.normal, spec["with"]) if name in distributions),
    ]
    packages = sorted({top for one in whole for top in modules(SITE, one)})
    done = compile_app(words(spec, name, list(distributions.values()), packages, main_file))
    if done:
        sys.exit(done)

    program = name
    if spec["mode"] == "onefile":
        shutil.move(Path("/build/nuitka") / f"{name}.bin", OUT / name)
    else:
        shutil.move(Path("/build/nuitka") / f"{main_file.stem}.dist", OUT / name)
        program = settle_program(OUT / name, name)
    app.tell(entry, payload=name, program=program)


def main_module(entry: app.Entry) -> bytes:
    if entry.file is None:
        # Always imported by name: Nuitka includes what runpy starts only if something imports it.
        imported = entry.imported if entry.attribute else f"{entry.imported}\nimport {entry.module}"
        return f"import sys\n\n{imported}\n\nif __name__ == '__main__':\n    {entry.called()}\n".encode()
    if not entry.file.is_python:
        sys.exit(
            f"the program {entry.name} is no Python ({entry.file.kind}), so there is nothing to compile: "
            "use the format bundle"
        )
    # Nuitka wants to be started by the Python that the first line names.
    _, line_feed, rest = entry.file.data.partition(b"\n")
    return b"#" + line_feed + rest


def settle_program(folder: Path, name: str) -> str:
    """Rename the executable to the name of the console script, unless a package has data there under this name."""
    if (folder / name).exists():
        return f"{name}.bin"
    (folder / f"{name}.bin").rename(folder / name)
    return name


def plugins(site: Path, distributions: list[importlib.metadata.Distribution]) -> list[str]:
    """The modules that entry points name: programs that look for plug-ins find these in metadata and import them."""
    names = {
        entry.value.partition(":")[0].partition("[")[0].strip()
        for distribution in distributions
        for entry in distribution.entry_points
        if entry.group not in ("console_scripts", "gui_scripts")
    }
    return sorted(name for name in names if is_module(site, name))


def is_module(site: Path, name: str) -> bool:
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    place = site.joinpath(*parts)
    return place.is_dir() or any(place.parent.glob(f"{parts[-1]}.*so")) or place.with_suffix(".py").is_file()


def metadata_folders() -> list[Path]:
    """All *.dist-info; what they say of where pip took the wheel from holds only here."""
    folders = sorted(SITE.glob("*.dist-info"))
    for folder in folders:
        (folder / "direct_url.json").unlink(missing_ok=True)
    return folders


def words(
    spec: dict[str, Any],
    name: str,
    distributions: list[importlib.metadata.Distribution],
    own: list[str],
    main_file: Path,
) -> list[str]:
    """Nuitka's command line: `own` packages whole (dynamic imports), plug-ins, the data and metadata of all."""
    every = {top for d in distributions for top in modules(SITE, d)}
    packages = sorted({*own, *spec["include_packages"]})
    data = sorted({*every, *spec["include_data"]})
    # What only the build tools bring must not slip in through an optional import.
    tools = {p.name.partition(".")[0] for p in TOOLS.iterdir() if p.suffix != ".dist-info"}
    return [
        f"--mode={spec['mode']}",
        "--static-libpython=yes",
        f"--python-for-scons={SCONS}",
        f"--lto={'yes' if spec['lto'] else 'no'}",
        "--assume-yes-for-downloads",
        "--no-progressbar",
        f"--jobs={os.environ['JOBS']}",
        "--output-dir=/build/nuitka",
        f"--output-filename={name}.bin",
        *(f"--include-package={top}" for top in packages if (SITE / top).is_dir()),
        *(f"--include-module={top}" for top in own if not (SITE / top).is_dir()),
        *(f"--include-package-data={top}" for top in data if (SITE / top).is_dir()),
        *(f"--include-module={name}" for name in plugins(SITE, distributions)),
        # As folders: Nuitka's own way wants a package to be imported of each, and some have none.
        *(f"--include-raw-dir={folder}={folder.name}" for folder in metadata_folders()),
        *(f"--nofollow-import-to={tool}" for tool in sorted(tools - every) if tool.isidentifier()),
        *spec["args"],
        str(main_file),
    ]


def compile_app(arguments: list[str]) -> int:
    SCONS.write_text(f'#!/bin/sh\nexec {sys.executable} -I /kit/elsewhere.py "$@"\n')
    SCONS.chmod(0o755)
    shutil.copytree("/in/modules", CACHE)
    environ = dict(os.environ, PYTHONPATH=f"{SITE}:{TOOLS}", NUITKA_CACHE_DIR=str(CACHE))
    return subprocess.run([sys.executable, "-m", "nuitka", *arguments], env=environ).returncode


main()
