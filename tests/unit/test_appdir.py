"""What desktops and software centers find in an AppImage is what they can read, whatever the app is called."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from py_portable.config import Config
from py_portable.config.options import told
from py_portable.errors import ConfigError, StepError
from py_portable.formats import FORMATS, appdir, appimage, parse_config
from py_portable.formats.appdir import About
from py_portable.formats.format import Parent
from py_portable.steps.identity import NodeId
from tests.unit.test_onefile_pack import tree
from tests.unit.test_onefile_runtime import needs

CONFIG = """\
version: 1
python: "3.13"
app: {source: ., script: myapp}
artifacts:
  folder: {format: bundle}
  image: {format: appimage, from: folder, OPTIONS}
"""


def about(**told: Any) -> About:
    return appimage._about(appimage._told(appimage.AppImageOptions(**told)), "my-app")


def made(tmp_path: Path, told: About) -> Path:
    folder = tree(tmp_path / "folder", {"lib/x": b"x"})
    assert appdir.make(folder, "start", tmp_path / "AppDir", told) == "usr/lib/my-app/start"
    return tmp_path / "AppDir"


def checked(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs("desktop-file-validate")
@needs("appstreamcli")
@pytest.mark.parametrize(
    "told",
    [
        {},
        {
            "id": "org.example.myapp",
            "title": "My <App> & \\Co",
            "summary": "Counts words & more",
            "categories": ("Development", "Building"),
        },
        {"id": "org.example.myapp", "title": "Wörter", "terminal": False},
    ],
)
def test_programs_of_desktops_accept_it(tmp_path: Path, told: dict[str, Any]) -> None:
    folder = made(tmp_path, about(**told))
    for path in folder.rglob("*.desktop"):
        checked("desktop-file-validate", path)
    checked("appstreamcli", "validate-tree", "--no-net", folder)
    (icon,) = folder.glob("*.svg")
    checked("xmllint", "--noout", icon) if _has("xmllint") else None


def _has(program: str) -> bool:
    return any(os.access(Path(folder) / program, os.X_OK) for folder in os.environ["PATH"].split(":"))


def test_the_program_is_found_where_appimages_have_it(tmp_path: Path) -> None:
    folder = made(tmp_path, about())
    for name in ("AppRun", "usr/bin/my-app"):
        assert (folder / name).is_symlink()
        assert (folder / name).resolve() == folder / "usr/lib/my-app/start"
        assert subprocess.run([folder / name], capture_output=True, text=True).stdout == "started\n"
    assert (folder / ".DirIcon").resolve() == folder / "my-app.svg"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {
        *("AppRun", ".DirIcon", "local.portable.my-app.desktop", "my-app.svg", "usr/bin/my-app"),
        *("usr/lib/my-app/start", "usr/lib/my-app/lib/x"),
        "usr/share/applications/local.portable.my-app.desktop",
        "usr/share/icons/hicolor/scalable/apps/my-app.svg",
        "usr/share/metainfo/local.portable.my-app.appdata.xml",
    }


def test_files_of_ones_own_go_in_as_they_are(tmp_path: Path) -> None:
    image = appdir.PNG + zlib.compress(b"pixels")
    (tmp_path / "icon").write_bytes(image)
    (tmp_path / "desktop").write_text("[Desktop Entry]\nType=Application\nName=x\nExec=x\nIcon = nice.icon\n")
    (tmp_path / "metainfo").write_text("<component/>\n")
    own = {name: tmp_path / name for name in ("icon", "desktop", "metainfo")}
    folder = made(tmp_path, about(**own))
    assert (folder / "nice.icon.png").read_bytes() == image
    assert (folder / "usr/share/icons/hicolor/256x256/apps/nice.icon.png").read_bytes() == image
    assert (folder / "local.portable.my-app.desktop").read_bytes() == (tmp_path / "desktop").read_bytes()
    metainfo = folder / "usr/share/metainfo/local.portable.my-app.appdata.xml"
    assert metainfo.read_bytes() == (tmp_path / "metainfo").read_bytes()
    # What they say, and not where they lie, decides whether it is made again.
    told = appimage._told(appimage.AppImageOptions(**own))
    assert str(tmp_path) not in str(told) and base64.b64decode(told["icon"]) == image


@pytest.mark.parametrize("text", ["", "[Desktop Entry]\nName=x\n", "Icon=../x\n", "Icon=/usr/x.png\n", "Icon=.x\n"])
def test_a_desktop_file_without_an_icon_that_can_lie_beside_it_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "desktop").write_text(text)
    with pytest.raises(StepError, match="names no icon"):
        made(tmp_path, about(desktop=tmp_path / "desktop"))


@pytest.mark.parametrize(
    ("key", "data", "said"),
    [
        ("icon", b"GIF89a", "neither a PNG nor an SVG image"),
        ("desktop", b"\xff\xfe", "not UTF-8"),
        ("metainfo", b"x" * (appimage.MAX_TEXT_BYTES + 1), "is longer than"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, key: str, data: bytes, said: str) -> None:
    (tmp_path / key).write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        about(**{key: tmp_path / key})


def parsed(folder: Path, options: str) -> Config:
    (folder / "pyproject.toml").write_text("[project]\nname = 'myapp'\nversion = '1'\n")
    return parse_config(CONFIG.replace("OPTIONS", options).encode(), "portable.yaml", folder)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ("id: myapp", "id"),
        ("id: org..x", "id"),
        ("id: ../../x.y", "id"),
        ('title: "two\\nlines"', "title"),
        ("summary: Ends.", "summary"),
        ("categories: [a;b]", "categories"),
        ("icon: missing.png", "icon"),
        ("runtime: {path: missing}", "runtime"),
        ("runtime: {}", "runtime"),
        ("runtime: {url: 'https://example.org/x'}", "runtime"),
        (f"runtime: {{path: portable.yaml, url: 'https://example.org/x', sha256: {'0' * 64}}}", "runtime"),
    ],
)
def test_what_cannot_be_is_an_error_of_the_config(tmp_path: Path, options: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        parsed(tmp_path, options)


def test_another_runtime_is_a_step_of_its_own(tmp_path: Path) -> None:
    """Its digest decides what is made again, and not where it lies or comes from."""
    (tmp_path / "mine").write_bytes(b"program")
    artifact = parsed(tmp_path, "runtime: {path: mine}").artifacts["image"]
    parent = Parent(artifact, NodeId("artifact", "folder"))
    taken, made_ = FORMATS["appimage"].steps(artifact, None, parent)
    assert made_.needs == (parent.node, taken.name) and made_.params["runtime"] is None
    assert taken.params == {"sha256": hashlib.sha256(b"program").hexdigest()}
    assert taken.locals == {"path": str(tmp_path / "mine")}
    assert str(tmp_path) not in str(told(artifact.options))
    other = parsed(tmp_path, f"runtime: {{url: 'https://example.org/x', sha256: {taken.params['sha256']}}}")
    # It mounts itself, and cells have no FUSE.
    assert FORMATS["appimage"].expect(artifact, "debian:11") == "fail:fuse"
    assert FORMATS["appimage"].expect(parsed(tmp_path, "title: X").artifacts["image"], "debian:11") is None
    again, _ = FORMATS["appimage"].steps(other.artifacts["image"], None, parent)
    assert again.params == taken.params and again.locals == {"url": "https://example.org/x"}


def test_the_config_has_its_keys(tmp_path: Path) -> None:
    options = (
        parsed(tmp_path, "id: org.example.x, title: X, categories: [Game], terminal: false").artifacts["image"].options
    )
    assert (options.id, options.title, options.categories, options.terminal) == ("org.example.x", "X", ("Game",), False)
