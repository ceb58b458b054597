"""The command line with one more image source: `local/NAME` is the root file system in $LOCAL_IMAGE.

Its Python in /opt/python is the interpreter too, so that none has to be compiled.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py_portable.cli import main
from py_portable.images.model import Image, Request
from py_portable.interpreters import source
from py_portable.steps.context import Context
from py_portable.store import Store, digest

ROOT = Path(os.environ["LOCAL_IMAGE"])


class LocalFolder:
    name = "folder"

    def claims(self, name: str) -> bool:
        return name.startswith("local/")

    def get(self, request: Request, store: Store, prefix: tuple[str, ...]) -> Image:
        identity = digest(ROOT / "etc")  # the whole of it would take seconds each time
        return Image(
            request.name, ROOT, identity, "archive", "2.31", None, env={"TOLD_BY_IMAGE": 'a "b" $c \\d'}
        )


def take_interpreter(ctx: Context) -> Mapping[str, Any]:
    (prefix,) = (ROOT / "opt/python").glob("cp313-*")
    shutil.copytree(prefix, ctx.out, symlinks=True, dirs_exist_ok=True)
    return {"version": "3.13", "provider": "source", "optimized": False}


importlib.import_module("py_portable.images.resolve").SOURCES["folder"] = LocalFolder()
source.compile_source = take_interpreter

if __name__ == "__main__":
    main(sys.argv[1:])
