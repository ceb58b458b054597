"""The registry of formats: one module each. What a config may say of them is read here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from py_portable import config
from py_portable.config import Config
from py_portable.formats.apk import ApkPackage
from py_portable.formats.appimage import AppImage
from py_portable.formats.bundle import Bundle
from py_portable.formats.deb import DebPackage
from py_portable.formats.dh_virtualenv import DhVirtualenv
from py_portable.formats.file import File
from py_portable.formats.format import APP, Format, House, Install, Made, Parent, Stage, Start, artifact_node
from py_portable.formats.nuitka import NuitkaOnefile, NuitkaStandalone
from py_portable.formats.onefile import Onefile
from py_portable.formats.pex import Pex
from py_portable.formats.pyoxidizer import PyOxidizer
from py_portable.formats.rpm import RpmPackage
from py_portable.formats.wheel import Wheel
from py_portable.formats.wheelhouse import Wheelhouse
from py_portable.store import digest, file_mode

FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        Wheelhouse(),
        NuitkaStandalone(),
        NuitkaOnefile(),
        Bundle(),
        PyOxidizer(),
        Onefile(),
        Pex(),
        AppImage(),
        DebPackage(),
        RpmPackage(),
        ApkPackage(),
        DhVirtualenv(),
        File(),
        Wheel(),
    )
}


def load_config(path: Path) -> Config:
    """`config.load` with all formats."""
    return config.load(path, FORMATS)


def parse_config(text: bytes, name: str, base: Path) -> Config:
    """`config.parse` with all formats."""
    return config.parse(text, name, base, FORMATS)


def schema_text() -> str:
    """The JSON Schema of portable.yaml, with a branch for each format."""
    return config.schema_text(FORMATS)


def foreign(path: Path, meta: Mapping[str, str] | None = None) -> Made:
    """What somebody else made, to be proven as it lies there."""
    return Made(path.name, File.name, path, meta or {}, sha256=digest(path), mode=file_mode(path))


__all__ = [
    "APP",
    "FORMATS",
    "Format",
    "House",
    "Install",
    "Made",
    "Parent",
    "Stage",
    "Start",
    "artifact_node",
    "foreign",
    "load_config",
    "parse_config",
    "schema_text",
]
