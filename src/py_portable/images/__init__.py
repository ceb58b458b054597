"""Images: root file systems by name, with their identity and source."""

from __future__ import annotations

from py_portable.images.host import host
from py_portable.images.problems import ImageUnavailable
from py_portable.images.resolve import SOURCES, Image, Release, Source, find_release, releases, resolve

__all__ = [
    "SOURCES",
    "Image",
    "ImageUnavailable",
    "Release",
    "Source",
    "find_release",
    "host",
    "releases",
    "resolve",
]
