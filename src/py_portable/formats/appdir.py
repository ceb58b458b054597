"""The folder in an AppImage: the program's own folder, and around it what desktops and software centers look for.

AppRun                          a link to the program
ID.desktop, NAME.svg, .DirIcon  what a desktop shows
usr/bin/NAME                    a link to the program
usr/lib/NAME/                   the program's own folder
usr/share/                      the same desktop file and icon where systems have them, and the AppStream metadata
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path

from py_portable.errors import StepError

PNG = b"\x89PNG\r\n\x1a\n"
_ICON_KEY = re.compile(r"^Icon\s*=\s*(\S.*?)\s*$", re.MULTILINE)
_DESKTOP = """\
[Desktop Entry]
Type=Application
Name={title}
Comment={summary}
Exec={name}
Icon={name}
Terminal={terminal}
Categories={categories}
"""
_METAINFO = """\
<?xml version="1.0" encoding="UTF-8"?>
<component type="{kind}">
  <id>{id}</id>
  <metadata_license>CC0-1.0</metadata_license>
  <name>{title}</name>
  <summary>{summary}</summary>
  <description>
    <p>{title}: {summary}. It comes as one file that starts on old and new systems, and nothing is installed for it.</p>
  </description>
  <launchable type="desktop-id">{id}.desktop</launchable>
  <provides>
    <binary>{name}</binary>
  </provides>
  <content_rating type="oars-1.1"/>
</component>
"""
_ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256" viewBox="0 0 256 256">
  <rect x="8" y="8" width="240" height="240" rx="48" fill="{colour}"/>
  <text x="128" y="172" font-family="sans-serif" font-size="132" font-weight="bold" text-anchor="middle"
        fill="#fff">{letter}</text>
</svg>
"""


@dataclass(frozen=True)
class About:
    """What people read of the app."""

    name: str
    id: str
    title: str
    summary: str
    categories: tuple[str, ...]
    terminal: bool
    icon: bytes | None = None
    """A PNG or SVG image instead of the made one, as the next two are texts instead of the made ones."""
    desktop: str | None = None
    metainfo: str | None = None


def make(folder: Path, program: str, into: Path, about: About) -> str:
    """Fill the new folder `into`; returns where in it `program`, a path in `folder`, is. Raises StepError."""
    own = f"usr/lib/{about.name}"
    shutil.copytree(folder, into / own, symlinks=True)
    desktop = about.desktop if about.desktop is not None else desktop_file(about)
    image = about.icon if about.icon is not None else icon(about).encode()
    suffix = "png" if image.startswith(PNG) else "svg"
    name = icon_name(desktop)
    size = "256x256" if suffix == "png" else "scalable"
    _write(into / f"{about.id}.desktop", desktop.encode())
    _write(into / "usr/share/applications" / f"{about.id}.desktop", desktop.encode())
    _write(into / f"{name}.{suffix}", image)
    _write(into / "usr/share/icons/hicolor" / size / "apps" / f"{name}.{suffix}", image)
    text = about.metainfo if about.metainfo is not None else metainfo(about)
    _write(into / "usr/share/metainfo" / f"{about.id}.appdata.xml", text.encode())
    (into / ".DirIcon").symlink_to(f"{name}.{suffix}")
    (into / "AppRun").symlink_to(f"{own}/{program}")
    (into / "usr/bin").mkdir()
    (into / "usr/bin" / about.name).symlink_to(f"../lib/{about.name}/{program}")
    for path in (into, *(path for path in into.rglob("*") if not path.is_relative_to(into / own))):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return f"{own}/{program}"


def desktop_file(about: About) -> str:
    return _DESKTOP.format(
        title=_plain(about.title),
        summary=_plain(about.summary),
        name=about.name,
        terminal=str(about.terminal).lower(),
        categories="".join(f"{one};" for one in about.categories),
    )


def metainfo(about: About) -> str:
    return _METAINFO.format(
        kind="console-application" if about.terminal else "desktop-application",
        id=escape(about.id, quote=False),
        name=escape(about.name, quote=False),
        title=escape(about.title, quote=False),
        summary=escape(about.summary, quote=False),
    )


def icon(about: About) -> str:
    """The first letter of the title, on a colour that depends on the name."""
    hue = int.from_bytes(hashlib.sha256(about.name.encode()).digest()[:2], "big") % 360
    return _ICON.format(colour=f"hsl({hue}, 45%, 40%)", letter=escape(about.title[:1].upper(), quote=False))


def icon_name(desktop: str) -> str:
    """The icon that the desktop file names, which has to lie beside it. Raises StepError."""
    found = _ICON_KEY.search(desktop)
    name = found[1] if found else ""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,100}", name):
        raise StepError(
            "the desktop file names no icon that could lie beside it", hint="write into it: Icon=NAME"
        )
    return name


def _plain(text: str) -> str:
    """As a value of a desktop file: of one line, and with its backslashes kept."""
    return " ".join(text.split()).replace("\\", "\\\\")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        raise StepError(f"{path.name} is there already", where=str(path))
    path.write_bytes(data)
