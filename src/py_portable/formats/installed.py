"""Starts an app from a virtual environment that pip filled on the image, offline and as root."""

from __future__ import annotations

from pathlib import Path

from py_portable import resources
from py_portable.engines.engine import Bind
from py_portable.formats import app_entry
from py_portable.formats.format import APP, Install, Made, Start

WHEELS = "/opt/wheels"
_KIT = "/opt/kit"
_SCRIPTS = ("build/install.py", *app_entry.SCRIPTS)


def installed(
    made: Made, wheels: Path, *words: str, binds: tuple[Bind, ...] = (), needs: tuple[str, ...] = ()
) -> Start:
    """Install the app of `made` from the folder `wheels`. pip refuses a wheel if the image's glibc is too old for it.

    `words` are more arguments of build/install.py, and `binds` the paths in them; `needs` is what else decides the
    start.
    """
    assert made.interpreter is not None
    python = Bind(made.interpreter, "/opt/python")
    # Without them: recorded by a kit that did not write them down.
    extras = ",".join(made.meta.get("extras") or ())
    more = " ".join(made.meta.get("with") or ())
    told = (
        made.meta["distribution"],
        made.meta["script"] or "",
        made.meta["entry_point"] or "",
        extras,
        more,
    )
    beside = (Bind(resources.path(name), f"{_KIT}/{Path(name).name}") for name in _SCRIPTS)
    install = Install(
        argv=("/opt/python/bin/python3", f"{_KIT}/install.py", WHEELS, f"{APP}/venv", *told, *words),
        binds=(python, Bind(wheels, WHEELS), *binds, *beside),
        target=APP,
    )
    decides = (*install.argv, *map(resources.sha256, _SCRIPTS), made.interpreter_digest or "", *needs)
    # By its own name, which usage lines show, if it is known before the installation.
    named = made.meta["script"] and not made.meta["entry_point"]
    program = f"{APP}/venv/bin/{made.meta['script']}" if named else f"{APP}/start"
    return Start(program, (python,), install, needs=decides)
