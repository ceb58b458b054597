"""The registry of formats: one module each."""

from __future__ import annotations

from py_portable.formats.base import APP, Format, House, Install, Made, Start
from py_portable.formats.bundle import Bundle
from py_portable.formats.file import File
from py_portable.formats.nuitka import NuitkaOnefile, NuitkaStandalone
from py_portable.formats.pyoxidizer import PyOxidizer
from py_portable.formats.wheel import Wheel
from py_portable.formats.wheelhouse import Wheelhouse

FORMATS: dict[str, Format] = {
    made.name: made
    for made in (Wheelhouse(), NuitkaStandalone(), NuitkaOnefile(), Bundle(), PyOxidizer(), File(), Wheel())
}

__all__ = ["APP", "FORMATS", "Format", "House", "Install", "Made", "Start"]
