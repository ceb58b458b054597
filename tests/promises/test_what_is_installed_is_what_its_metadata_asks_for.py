"""After an install, in every format, each distribution has what its metadata asks for, in a version that fits.

What is missing or conflicts is a failure that names it: of the build where the format installs then, of the cell where
it installs in the cell.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from py_portable.formats import FORMATS
from tests.integration.conftest import Project
from tests.unit.build_scripts import script as load

CONFIG = """version: 1
app:
  source: app
  script: promised
  smoke: [{args: [], stdout: ["promised"]}]
python: "3.13"
baselines:
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
wheels: {use: built, unmet: [UNMET]}
artifacts: {tree: {format: bundle, archive: false}, house: {format: wheelhouse}}
portability: {images: ["debian:12"]}
"""
PROJECT = '[project]\nname = "promised"\nversion = "1"\ndependencies = ["promised_lib==1"]\n'
MISSING = "promised 1 asks for gone>=1, which is not installed"
CONFLICT = "promised 1 asks for promised_lib<1, but promised_lib 1 is installed"


def wheel(folder: Path, name: str, files: dict[str, str], *metadata: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.dist-info"
    held = {
        **files,
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1", *metadata, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = "".join(f"{member},,\n" for member in [*held, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
        for member, text in {**held, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)


@pytest.mark.integration
def test_a_wheel_that_asks_for_more_than_the_lock_holds(tmp_path: Path) -> None:
    """The wheel that somebody else built is not what the source says: the lock has neither its needs nor its limits."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "pyproject.toml").write_text(PROJECT)
    wheel(tmp_path / "links", "promised_lib", {"promised_lib.py": ""})
    asks = ("Requires-Dist: promised_lib<1 ; python_full_version >= '3.13.1'", "Requires-Dist: gone>=1")
    more = ("Requires-Dist: never ; python_full_version < '3.13.1'", "Requires-Dist: no ; extra == 'x'")
    wheel(tmp_path / "built", "promised", {"promised.py": "def main():\n    print('promised')\n"}, *asks, *more)
    project, env = Project(tmp_path), {"PIP_FIND_LINKS": str(tmp_path / "links")}

    (tmp_path / "portable.yaml").write_text(CONFIG.replace("UNMET", ""))
    ran = project.run("portability", env=env)
    assert ran.status == 4, ran.stdout + ran.stderr
    assert MISSING in ran.stderr and CONFLICT in ran.stderr and "Traceback" not in ran.stderr
    assert "wheels: {unmet: [gone, promised_lib]}" in ran.stderr
    assert "never" not in ran.stderr
    (cell,) = project.cells(artifact="house")
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "install") and "promised_lib<1" in cell["detail"]

    (tmp_path / "portable.yaml").write_text(CONFIG.replace("UNMET", "gone, Promised-Lib"))
    ran = project.run("portability", "--artifact", "tree", env=env)
    assert ran.status == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("script", "call"),
    [
        ("nuitka", "metadata.check(SITE"),
        ("pyoxidizer", "metadata.check(SITE"),
        ("bundle", "metadata.check(site"),
        ("pex", "metadata.check(SITE"),
        ("dh_virtualenv", "metadata.check(SITE"),
    ],
)
def test_every_script_that_installs_holds_it_against_the_metadata(script: str, call: str) -> None:
    text = Path(str(load("app").__file__)).with_name(f"{script}.py").read_text()
    assert text.index("unpack_metadata(" if script in ("pex", "dh_virtualenv") else "install(") < text.index(call)


def test_no_format_installs_in_another_way() -> None:
    assert set(FORMATS) == {
        *("bundle", "nuitka-standalone", "nuitka-onefile", "pex", "pyoxidizer", "dh-virtualenv"),  # the scripts above
        *("wheelhouse", "wheel"),  # build/install.py, in the cell
        # Install nothing: made elsewhere, or the folder of another artifact.
        *("file", "onefile", "appimage", "deb", "rpm", "apk"),
    }
