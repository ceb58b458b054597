"""Interpreters by provider: each module gives the steps that make one, self-sufficient, at /opt/python."""

from __future__ import annotations

from py_portable.interpreters.manylinux import Manylinux
from py_portable.interpreters.provider import PREFIX, InterpreterRequest, Libpython, Provider
from py_portable.interpreters.source import CPythonSource
from py_portable.interpreters.standalone import Standalone
from py_portable.interpreters.system import System

PROVIDERS: dict[str, Provider] = {
    made.name: made for made in (CPythonSource(), Manylinux(), Standalone(), System())
}

SOURCE = PROVIDERS["source"]
"""The provider that is used instead if an artifact links libpython and its own provider has none."""

__all__ = ["PREFIX", "PROVIDERS", "SOURCE", "InterpreterRequest", "Libpython", "Provider"]
