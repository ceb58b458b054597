"""Small apps that pip installs and that fell over on the way: what `pip wheel` and pip's scripts do is done here too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import Project
from tests.promises.test_what_is_installed_is_what_its_metadata_asks_for import wheel

pytestmark = pytest.mark.integration

CONFIG = """version: 1
app:
  source: app
  extras: [all]
  smoke: [{args: [], stdout: ["palette_tinct 1", "dist", "Name: sample", "from git"]}]
python: "3.13"
baselines:
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
build: {env: {SETUPTOOLS_SCM_PRETEND_VERSION: "2.5.0"}}
artifacts: {tree: {format: bundle, archive: false}, house: {format: wheelhouse}}
portability: {images: ["debian:12"]}
"""
FILES = {
    "pyproject.toml": """[build-system]
requires = ["setuptools>=70", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "palette"
dynamic = ["version"]
[project.optional-dependencies]
colour = ["palette_tinct==1"]
all = ["palette[colour]"]
[project.scripts]
palette = "palette.main:main"
[tool.setuptools_scm]
[tool.setuptools]
packages = ["palette", "dist"]
[tool.setuptools.package-data]
palette = ["fixtures/*/*"]
""",
    # The name of a module, and a function of that name in its place.
    "palette/__init__.py": "from palette.main import main\n",
    "palette/main.py": """import importlib.metadata
import pathlib

def main():
    import dist
    import palette_tinct

    here = pathlib.Path(__file__).parent
    print("palette_tinct", importlib.metadata.version("palette_tinct"))
    print(dist.NAME)
    print((here / "fixtures/sample.egg-info/PKG-INFO").read_text().strip())
    print((here / "greeting.txt").read_text().strip())
""",
    "palette/greeting.txt": "from git\n",
    "palette/fixtures/sample.egg-info/PKG-INFO": "Name: sample\n",
    "dist/__init__.py": "NAME = 'dist'\n",
}


def test_extras_a_hidden_module_a_package_dist_fixtures_and_data_that_only_git_knows(tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=tmp_path / "app", check=True)
    wheel(tmp_path / "links", "palette_tinct", {"palette_tinct.py": ""})
    (tmp_path / "portable.yaml").write_text(CONFIG)
    project = Project(tmp_path)
    ran = project.run("portability", env={"PIP_FIND_LINKS": str(tmp_path / "links")})
    assert ran.status == 0, ran.stdout + ran.stderr
    assert {c["artifact"]: c["verdict"] for c in project.cells()} == {"tree": "PASS", "house": "PASS"}


WHO = {
    "pyproject.toml": """[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"
[project]
name = "who"
version = "1.0"
[project.scripts]
who = "who:main"
[tool.setuptools]
py-modules = ["who"]
""",
    "who.py": """import getpass, grp, os

def main():
    print(getpass.getuser(), grp.getgrgid(os.getgid()).gr_name, os.path.expanduser("~cell"))
""",
}


def test_an_app_that_asks_for_its_users_name(tmp_path: Path) -> None:
    """It has one, as on a machine; where it has none, as with `docker run --user`, the red is the app's own."""
    for name, text in WHO.items():
        (tmp_path / "app").mkdir(exist_ok=True)
        (tmp_path / "app" / name).write_text(text)
    told = yaml.safe_load(CONFIG)
    told["app"] = {"source": "app", "smoke": [{"stdout": ["cell cell /home/cell"]}]}
    del told["build"], told["artifacts"]["house"]
    told["portability"] = {"images": ["debian:12"], "probes": ["no-passwd"]}
    (tmp_path / "portable.yaml").write_text(yaml.safe_dump(told))
    project = Project(tmp_path)
    ran = project.run("portability")
    (plain,), (nameless,) = project.cells(condition="plain"), project.cells(condition="no-passwd")
    assert plain["verdict"] == "PASS", ran.stdout + ran.stderr
    assert (ran.status, nameless["verdict"], nameless["reason"]) == (1, "FAIL", "exit")
    assert nameless["detail"].endswith("OSError: No username set in the environment")
