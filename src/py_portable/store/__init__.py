"""The content-addressed store. A killed run, a full disk and two runs at the same time do not damage it."""

from __future__ import annotations

from py_portable.store.entry import Entry, Examined
from py_portable.store.faults import DamagedError, StoreError
from py_portable.store.layout import default_root
from py_portable.store.manifest import ManifestRow
from py_portable.store.restore import Part
from py_portable.store.store import Store
from py_portable.store.walk import digest, file_mode, manifest

__all__ = [
    "DamagedError",
    "Entry",
    "Examined",
    "ManifestRow",
    "Part",
    "Store",
    "StoreError",
    "default_root",
    "digest",
    "file_mode",
    "manifest",
]
