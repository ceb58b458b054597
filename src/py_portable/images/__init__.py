"""Images: root file systems by name, with their identity and source."""

from __future__ import annotations

from py_portable.images.debian.releases import Release, find_release, releases
from py_portable.images.debian.source import BootstrapSource
from py_portable.images.host import host
from py_portable.images.model import Image, Request, Source
from py_portable.images.problems import ImageUnavailable, SourceUnusable
from py_portable.images.resolve import SOURCES, resolve

__all__ = [
    "SOURCES",
    "BootstrapSource",
    "Image",
    "ImageUnavailable",
    "Release",
    "Request",
    "Source",
    "SourceUnusable",
    "find_release",
    "host",
    "releases",
    "resolve",
]
