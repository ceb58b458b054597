"""Images: root file systems by name, with their identity and source."""

from __future__ import annotations

from py_portable.images.debian.releases import Release, find_release, releases
from py_portable.images.failures import ImageUnavailable, SourceUnusable
from py_portable.images.find import SOURCES, resolve
from py_portable.images.from_debian import BootstrapSource
from py_portable.images.host import host
from py_portable.images.image import Image, ImageSource, Request

__all__ = [
    "SOURCES",
    "BootstrapSource",
    "Image",
    "ImageSource",
    "ImageUnavailable",
    "Release",
    "Request",
    "SourceUnusable",
    "find_release",
    "host",
    "releases",
    "resolve",
]
