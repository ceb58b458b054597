"""Compile an app that is installed from the wheelhouse in /in/wheels with Nuitka.

nuitka.py SPEC: a JSON object with distribution, script, entry_point, mode (standalone | onefile), lto,
include_packages, include_data, args. The result is /out/NAME, a folder or an executable, and /out/entry.json.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SITE = Path("/build/site")
TOOLS = Path("/opt/tools")
OUT = Path("/out")


def install() -> None:
    SITE.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    pip += ["--root-user-action=ignore", "--no-deps", "--no-compile", "--target", str(SITE)]
    subprocess.run([*pip, *sorted(map(str, Path("/in/wheels").glob("*.whl")))], check=True)


def modules(site: Path, distribution: importlib.metadata.Distribution) -> list[str]:
    """The importable top-level names that a distribution brings."""
    names = set()
    for file in distribution.files or ():
        top = file.parts[0]
        if len(file.parts) > 1 and top.isidentifier() and (site / top).is_dir():
            names.add(top)
        elif len(file.parts) == 1 and file.suffix in (".py", ".so"):
            names.add(top.partition(".")[0])
    return sorted(names)


def entry(spec: dict[str, Any], distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """(name of the executable, module:attribute), chosen as the config says, else the obvious one."""
    name = distribution.name
    scripts = {e.name: e.value for e in distribution.entry_points if e.group == "console_scripts"}
    if spec["entry_point"]:
        return spec["script"] or name, spec["entry_point"]
    wanted = spec["script"]
    if not wanted:
        same = [
            s for s in scripts if re.sub(r"[-_.]+", "-", s).lower() == re.sub(r"[-_.]+", "-", name).lower()
        ]
        wanted = next(iter(scripts)) if len(scripts) == 1 else same[0] if same else None
    if wanted not in scripts:
        sys.exit(
            f"{name} has the console scripts {', '.join(sorted(scripts)) or '(none)'}: "
            "say which one in app.script, or give app.entry-point"
        )
    return wanted, scripts[wanted].partition(" [")[0].strip()


def main() -> None:
    spec = json.loads(sys.argv[1])
    install()
    distributions = list(importlib.metadata.distributions(path=[str(SITE)]))
    canonical = {re.sub(r"[-_.]+", "-", d.name).lower(): d for d in distributions}
    app = canonical[re.sub(r"[-_.]+", "-", spec["distribution"]).lower()]
    name, value = entry(spec, app)
    module, _, attribute = value.partition(":")
    if not re.fullmatch(r"[\w.]+", module) or not re.fullmatch(r"[\w.]*", attribute):
        sys.exit(f"entry point {value!r} is not module:attribute")

    # Not named like the app: its folder comes first on the module search path.
    main_file = Path("/build/main/portable_entry.py")
    main_file.parent.mkdir()
    call = (
        f"sys.exit({module}.{attribute}())"
        if attribute
        else f"runpy.run_module({module!r}, run_name='__main__')"
    )
    main_file.write_text(
        f"import runpy\nimport sys\n\nimport {module}\n\nif __name__ == '__main__':\n    {call}\n"
    )

    done = compile_app(words(spec, name, distributions, modules(SITE, app), main_file))
    if done:
        sys.exit(done)

    program = name
    if spec["mode"] == "onefile":
        shutil.move(Path("/build/nuitka") / f"{name}.bin", OUT / name)
    else:
        shutil.move(Path("/build/nuitka") / f"{main_file.stem}.dist", OUT / name)
        program = settle_program(OUT / name, name)
    (OUT / "entry.json").write_text(json.dumps({"payload": name, "script": program, "entry_point": value}))


def settle_program(folder: Path, name: str) -> str:
    """Call the executable like the console script, unless the data of a package of that name stand there."""
    if (folder / name).exists():
        return f"{name}.bin"
    (folder / f"{name}.bin").rename(folder / name)
    return name


def words(
    spec: dict[str, Any],
    name: str,
    distributions: list[importlib.metadata.Distribution],
    own: list[str],
    main_file: Path,
) -> list[str]:
    """Nuitka's command line: the app's own packages whole (dynamic imports), the data and metadata of all."""
    every = {top for d in distributions for top in modules(SITE, d)}
    packages = sorted({*own, *spec["include_packages"]})
    data = sorted({*every, *spec["include_data"]})
    # What only the build tools bring must not slip in through an optional import.
    tools = {p.name.partition(".")[0] for p in TOOLS.iterdir() if p.suffix != ".dist-info"}
    return [
        f"--mode={spec['mode']}",
        "--static-libpython=yes",
        f"--lto={'yes' if spec['lto'] else 'no'}",
        "--assume-yes-for-downloads",
        "--no-progressbar",
        f"--jobs={os.environ['JOBS']}",
        "--output-dir=/build/nuitka",
        f"--output-filename={name}.bin",
        *(f"--include-package={top}" for top in packages if (SITE / top).is_dir()),
        *(f"--include-module={top}" for top in own if not (SITE / top).is_dir()),
        *(f"--include-package-data={top}" for top in data if (SITE / top).is_dir()),
        *(f"--include-distribution-metadata={d.name}" for d in sorted(distributions, key=lambda d: d.name)),
        *(f"--nofollow-import-to={tool}" for tool in sorted(tools - every) if tool.isidentifier()),
        *spec["args"],
        str(main_file),
    ]


def compile_app(arguments: list[str]) -> int:
    environ = dict(os.environ, PYTHONPATH=f"{SITE}:{TOOLS}")
    return subprocess.run([sys.executable, "-m", "nuitka", *arguments], env=environ).returncode


main()
