"""The registry of formats: one module each."""

from __future__ import annotations

from collections.abc import Callable

from py_portable.formats import pyoxidizer
from py_portable.formats.bundle import Bundle
from py_portable.formats.file import File
from py_portable.formats.format import APP, Format, House, Install, Made, Stage, Start
from py_portable.formats.nuitka import NuitkaOnefile, NuitkaStandalone
from py_portable.formats.pyoxidizer import PyOxidizer
from py_portable.formats.wheel import Wheel
from py_portable.formats.wheelhouse import Wheelhouse

FORMATS: dict[str, Format] = {
    made.name: made
    for made in (Wheelhouse(), NuitkaStandalone(), NuitkaOnefile(), Bundle(), PyOxidizer(), File(), Wheel())
}

OWN_TOOLS: dict[str, Callable[[], dict[str, str]]] = {PyOxidizer.name: pyoxidizer.pins}
"""What the lock says of the tools that only one format takes: name -> version and digest."""

__all__ = ["APP", "FORMATS", "OWN_TOOLS", "Format", "House", "Install", "Made", "Stage", "Start"]
