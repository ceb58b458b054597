"""Small apps that pip installs and that fell over on the way: what `pip wheel` and pip's scripts do is done here too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

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
