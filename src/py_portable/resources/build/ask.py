"""Ask the build backend of a source what building it requires, and what its metadata says (PEP 517). Offline.

ask.py SPEC SOURCE BUILD WORK ANSWER: SPEC is JSON (requires, more, backend, backend_path, metadata). SOURCE is a
folder, BUILD a folder with what the backend requires, WORK a folder for temporary files, and ANSWER the file for the
answer.
"""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HOOK = """
import importlib, json, os, sys, zipfile
spec, work, told = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.argv = ["setup.py"]
sys.path[:0] = [os.path.abspath(one) for one in spec["backend_path"]]
name, _, inner = spec["backend"].partition(":")
backend = importlib.import_module(name)
for part in filter(None, inner.split(".")):
    backend = getattr(backend, part)
hook = getattr(backend, "get_requires_for_build_wheel", None)
requires = list(hook()) if hook else []
metadata = None
# A backend may be unable to answer before it has what it asks for: it is asked again then.
if spec["metadata"] and set(requires) <= set(spec["more"]):
    hook = getattr(backend, "prepare_metadata_for_build_wheel", None)
    if hook:
        with open(os.path.join(work, hook(work), "METADATA"), encoding="utf-8", errors="replace") as stream:
            metadata = stream.read()
    else:
        with zipfile.ZipFile(os.path.join(work, backend.build_wheel(work))) as wheel:
            (place,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1]
            metadata = wheel.read(place).decode("utf-8", "replace")
with open(told, "w", encoding="utf-8") as stream:
    json.dump({"requires": requires, "metadata": metadata}, stream)
"""


def run(*words: str, cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    spec = json.loads(sys.argv[1])
    source, build, work, answer = map(Path, sys.argv[2:])
    app, made, place = work / "source" / "app", work / "made", work / "venv"
    # It is asked a second time when it has more of what it requires.
    for old in (app, made, place):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(source, app, symlinks=True)
    made.mkdir()
    venv.create(place, with_pip=False, symlinks=True)
    python = str(place / "bin" / "python")
    requires = [*spec["requires"], *spec["more"]]
    if requires:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--python",
            python,
        ]
        run(*pip, "install", "--quiet", "--no-index", "--find-links", str(build), *requires, cwd=work)
    run(python, "-c", HOOK, sys.argv[1], str(made), str(answer), cwd=app)


main()
