"""Layers of an image to a root file system; the work is done by a program of its own (`images/unpack.py`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from py_portable.base import process
from py_portable.errors import MachineError
from py_portable.images.failures import ImageUnavailable
from py_portable.images.layers import blobs
from py_portable.images.layers.bounds import Limits
from py_portable.store.faults import room

DEFAULTS = Limits()
Owners = Literal["given", "beside", "mine"]
"""Whose the files become: those of the layers; the caller's, with theirs kept beside the root (`engines/beside.py`); or
just the caller's."""


class LayerError(ImageUnavailable):
    """A layer is damaged, hostile, or in a format that cannot be unpacked."""


@dataclass(frozen=True)
class Layer:
    """A layer as it lies in a file: `digest` is `sha256:…` or `sha512:…`, `media_type` as in the manifest."""

    path: Path
    digest: str
    media_type: str


def unpack(
    layers: Sequence[Layer],
    root: Path,
    *,
    prefix: tuple[str, ...] = (),
    log: Path | None = None,
    timeout: float = 1800.0,
    limits: Limits = DEFAULTS,
    owners: Owners = "given",
) -> None:
    """Make `root` (a folder that is empty or not there yet) from the layers, the lowest first.

    `prefix` maps ids for an ordinary user (`engines/ids.py`); `timeout` is in seconds. `owners` says whose the
    files are to be. What is left out (device
    nodes, attributes that the kernel refuses) is written to `log`. Raises LayerError, which names layer and path,
    or MachineError; the root is of no use then and belongs to the ids of the prefix.
    """
    if len(layers) > limits.layers:
        raise LayerError(f"the image has {len(layers)} layers; the limit is {limits.layers}")
    for number, layer in enumerate(layers, 1):
        if not blobs.is_layer(layer.media_type.partition(";")[0].strip()):
            raise LayerError(
                f"{_name(layer, number, len(layers))}: its type {layer.media_type!r:.120} cannot be unpacked",
                hint="layers are tar archives, plain or compressed with gzip or zstd; encrypted layers and"
                " artifacts that are not images cannot be unpacked",
            )
    outcome = process.run(
        [
            *prefix,
            sys.executable,
            "-P",
            "-m",
            "py_portable.images.layers.unpack",
            *_task(layers, root, limits, owners),
        ],
        env=_environment(),
        timeout=timeout,
        log=log,
        shown=[*prefix, "py_portable.images.layers.unpack", str(root), *(layer.digest for layer in layers)],
    )
    if outcome.timed_out:
        raise LayerError(
            f"the layers were not unpacked within {timeout:.0f} s",
            log=log,
            hint="is the disk slow or stalled?",
        )
    told = _told(outcome.stdout.text)
    if not outcome.ok and told and told.get("ok") is False:
        _raise(told, root, log)
    process.require(outcome, what="unpacking the layers", error=MachineError)


def _raise(told: Mapping[str, object], root: Path, log: Path | None) -> None:
    what, hint = str(told.get("what")), told.get("hint")
    if told.get("kind") == "layer":
        raise LayerError(what, log=log, hint="the cause is the image, its registry, or the transfer")
    lines = [room(root), *([str(hint)] if hint else [])]
    raise MachineError(f"the image cannot be unpacked: {what}", log=log, hint="\n".join(lines))


def _name(layer: Layer, number: int, count: int) -> str:
    return f"layer {number} of {count} ({layer.digest[:19]})"


def _task(layers: Sequence[Layer], root: Path, limits: Limits, owners: Owners) -> list[str]:
    """One word for each layer: the kernel bounds the length of a word much lower than that of all words."""
    named = [(layer, _name(layer, number, len(layers))) for number, layer in enumerate(layers, 1)]
    return [
        json.dumps({"root": str(root.absolute()), "limits": asdict(limits), "owners": owners}),
        *(
            json.dumps({"blob": str(layer.path.absolute()), "digest": layer.digest, "name": name})
            for layer, name in named
        ),
    ]


def _environment() -> dict[str, str]:
    # The package may be on PYTHONPATH only, and the prefix may start in another folder.
    source = Path(__file__).resolve().parents[3]
    search = os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"}


def _told(text: str) -> dict[str, object] | None:
    """The last line of the program's output, where it is what the program tells."""
    try:
        told = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return told if isinstance(told, dict) else None
