"""The scripts that run inside sandboxes, loaded as modules."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from py_portable import resources


def script(name: str) -> ModuleType:
    """resources/build/NAME.py, which may import those that lie beside it."""
    folder = str(resources.path("build"))
    spec = importlib.util.spec_from_file_location(name, resources.path(f"build/{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    # Last, and only meanwhile: what is called `app` there is nothing of the tests'.
    sys.path.append(folder)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
        del sys.modules[name]
        if before:
            sys.modules[name] = before
    return module
