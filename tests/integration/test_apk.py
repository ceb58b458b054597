"""Packages of Alpine made of a folder: read by a reader of their format that shares no code with what makes them.

A real apk is in no package index that these machines have, so the stages on an image with apk are not run here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import apks
from tests.integration.conftest import Project, Ran
from tests.integration.test_deb import AFTER, PAGE, config, folder

pytestmark = pytest.mark.integration
IMAGES = ["debian:12", {"image": "registry.invalid/alpine:3.22", "optional": True}]


def build(place: Path) -> Project:
    """A package with all that one may have."""
    folder(place / "tool", "tool")
    (place / "tool" / "lib" / ("long" * 30)).mkdir()
    (place / "tool" / "lib" / ("long" * 30) / ("name" * 30)).write_text("x")
    texts = {"tool.conf": "configured\n", "after": AFTER, "tool.1": PAGE, "words": "complete -W x tool\n"}
    for name, text in texts.items():
        (place / name).write_text(text)
    package = {
        "format": "apk",
        "from": "folder",
        "version": "2.0_rc1",
        "summary": "costs $5 or $HOME",
        "description": "in\n\nsome = lines",
        "config-files": [{"path": "tool.conf", "to": "/etc/tool/tool.conf"}],
        "after-install": "after",
        "man": ["tool.1"],
        "completions": {"zsh": "words", "fish": "words"},
    }
    told = json.loads(config(IMAGES, folder={"format": "file", "path": "tool"}, package=package))
    (place / "portable.yaml").write_text(json.dumps(told, indent=1))
    project = Project(place)
    ran = project.run("build", "package")
    assert ran.status == 0, ran.stderr
    return project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Ran]:
    """The package and its cells."""
    project = build(tmp_path_factory.mktemp("apk"))
    return project, project.run("portability", "--artifact", "package")


def test_it_is_not_applicable_where_there_is_no_apk_and_unproven_where_no_image_is(made: tuple[Project, Ran]) -> None:
    project, ran = made
    found = {cell["image"]: (cell["verdict"], cell["reason"]) for cell in project.cells()}
    assert found == {
        "debian:12": ("NOT-APPLICABLE", None),
        "registry.invalid/alpine:3.22": ("UNPROVEN", "image"),
    }, ran.stdout + ran.stderr


def test_it_holds_what_its_format_asks_for_and_is_the_same_every_time(
    made: tuple[Project, Ran], tmp_path: Path
) -> None:
    project, ran = made
    (package,) = (project.folder / "dist" / "package").iterdir()
    assert package.name.startswith("tool-2.0_rc1-r1."), ran.stderr
    found = apks.read(package)
    assert found.info["pkgdesc"] == ["costs $5 or $HOME"] and found.info["pkgver"] == ["2.0_rc1-r1"]
    assert "depend" not in found.info, "a static program needs nothing"
    assert found.scripts == {".post-install": AFTER.encode(), ".post-upgrade": AFTER.encode()}
    files = found.files
    assert files["usr/bin/tool"].link == "/opt/tool/tool" and files["opt/tool/lib/link"].link == "../lib/noise"
    assert files["opt/tool/lib/noise"].data == (project.folder / "tool" / "lib" / "noise").read_bytes()
    assert files["opt/tool/tool"].mode == files["opt/tool/lib/raised"].mode == 0o755
    assert "opt/tool/lib/w[ei]rd $HOME é*" in files and f"opt/tool/lib/{'long' * 30}/{'name' * 30}" in files
    assert files["etc/tool/tool.conf"].data == b"configured\n"
    shown = [name for name, entry in files.items() if name.startswith("usr/share/") and entry.kind == "0"]
    assert shown == [
        "usr/share/doc/tool/LICENSE",
        "usr/share/fish/vendor_completions.d/tool.fish",
        "usr/share/man/man1/tool.1.gz",
        "usr/share/zsh/site-functions/_tool",
    ]
    again = project.run(
        "build", "package", "--dist", tmp_path / "again", env={"PY_PORTABLE_STORE": str(tmp_path / "s")}
    )
    assert again.status == 0, again.stderr
    assert (tmp_path / "again" / "package" / package.name).read_bytes() == package.read_bytes()
