"""Builds a Debian package with dh-virtualenv from the wheels in /in/wheels.

dh_virtualenv.py SPEC: a JSON object with the keys of formats/app_entry.py, and `package` and `root`. /in/debian is the
folder `debian/` of the source. The results are /out/package.deb and /out/entry.json.
"""

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import app
import metadata

BUILD = Path("/build")
SITE = BUILD / "site"
DEBIAN = Path("/in/debian")
RESULT = "package.deb"


def main() -> None:
    spec = json.loads(sys.argv[1])
    wheels = sorted(app.WHEELS.glob("*.whl"))
    own = {wheel: unpack_metadata(wheel) for wheel in wheels}
    metadata.check(SITE, app.asked(spec), spec["unmet"])
    there = app.distributions(SITE)
    the_app = there[metadata.normal(spec["distribution"])]
    entry = app.chosen(the_app, spec["script"], spec["entry_point"], wheels, there.values())
    source = BUILD / "source"
    write(source, own, entry, spec)
    done = subprocess.run(
        ["dpkg-buildpackage", "--build=binary", "--no-sign", "--no-check-builddeps"],
        cwd=source,
        stdout=sys.stderr,
    )
    if done.returncode:
        sys.exit(f"dpkg-buildpackage ended with exit status {done.returncode}")
    (package,) = BUILD.glob("*.deb")
    shutil.copyfile(package, app.OUT / RESULT)
    app.tell(entry, payload=RESULT, program=entry.name)


def unpack_metadata(wheel: Path) -> "importlib.metadata.Distribution":
    """Unpack only the metadata of the wheel, because it says what is installed."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.partition("/")[0].endswith(".dist-info")]
        archive.extractall(SITE, names)
    return importlib.metadata.Distribution.at(SITE / names[0].partition("/")[0])


def patched(wheel: Path) -> "set[str]":
    """What lies at the top of a wheel that brings libraries: its ELF files were patched to find these."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    brings = any(top.endswith(".libs") for top in tops)
    return {top for top in tops if re.fullmatch(r"[A-Za-z0-9_.+-]+", top)} if brings else set()


def write(
    source: Path,
    wheels: "dict[Path, importlib.metadata.Distribution]",
    entry: app.Entry,
    spec: "dict[str, Any]",
) -> None:
    """The source package, complete: it can be built again without the kit."""
    package, root = spec["package"], spec["root"]
    shutil.copytree(DEBIAN, source / "debian")
    (source / "debian" / "rules").chmod(0o755)
    (source / "wheels").mkdir()
    lines = []
    for wheel, its in wheels.items():
        shutil.copyfile(wheel, source / "wheels" / wheel.name)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{metadata.normal(its.name)}=={its.version} --hash=sha256:{digest}\n")
    (source / "requirements.txt").write_text("".join(lines))
    kept = sorted({name for wheel in wheels for name in patched(wheel)})
    (source / "debian" / "not-stripped").write_text("".join(f"/{name}\n" for name in kept))
    place = f"{root}/{package}"
    (source / "debian" / f"{package}.links").write_text(f"{place}/bin/{entry.name} /usr/bin/{entry.name}\n")
    (source / "debian" / "program-name").write_text(entry.name)
    (source / "debian" / "program").write_bytes(program(entry, f"{place}/bin/python"))


def program(entry: app.Entry, python: str) -> bytes:
    """The file that is started, as pip would install it."""
    if entry.file is None:
        return f"#!{python}\nimport sys\n{entry.imported}\n{entry.called()}\n".encode()
    if entry.file.is_python:
        return f"#!{python}\n".encode() + entry.file.data.partition(b"\n")[2]
    return entry.file.data


if __name__ == "__main__":
    main()
