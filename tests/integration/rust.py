"""Whether this machine has the Rust that the format pyoxidizer takes."""

from __future__ import annotations

import os

import pytest

from py_portable.errors import MachineError
from py_portable.formats.rust import toolchain


def _there() -> bool:
    try:
        toolchain(os.environ)
    except MachineError:
        return False
    return True


THERE = _there()
needs_rust = pytest.mark.skipif(not THERE, reason="no Rust that PyOxidizer could be compiled with")
