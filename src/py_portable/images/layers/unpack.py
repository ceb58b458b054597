"""The program that unpacks layers: `python -m py_portable.images.layers.unpack TASK LAYER…`, also under mapped ids.

Both are JSON. TASK has `root` (a folder that is empty or not there yet), `limits` (of Limits) and `owners` (of
`stack.Owners`); LAYER, the
lowest first, has `blob` (a file), `digest`, and `name` (how messages call it). The last line of stdout is JSON:
`{"ok": true, …}`, or `{"ok": false, "kind": "layer" | "machine", "what": …, "hint": …}` with exit status 1.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from py_portable.engines import beside
from py_portable.images.layers import apply, blobs
from py_portable.images.layers.bounds import Limits, Refused, shown
from py_portable.images.layers.root_tree import FOLDER, Tree
from py_portable.images.layers.tar import Reader

_OF_THE_LAYER = (
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMLINK,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
)
"""What only odd names and links can cause in a folder that nobody else changes; the rest is the machine's."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHTS = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class LayerFile:
    path: Path
    digest: str
    name: str


@dataclass(frozen=True)
class Failure(Exception):
    """How it ended, as the caller is told."""

    kind: str
    what: str
    hint: str | None = None


def unpack(layers: Sequence[LayerFile], root: Path, limits: Limits, owners: str = "given") -> apply.Tally:
    """Make `root` from the layers. Raises Failure."""
    tally = apply.Tally()
    try:
        with contextlib.ExitStack() as stack:
            # All of them first: nothing is made of an image that is not what its manifest says.
            opened = [stack.enter_context(_verified(layer)) for layer in layers]
            fd = _empty_root(root)
            stack.callback(os.close, fd)
            tree = Tree(fd, limits, {} if owners == "beside" else None, give=owners == "given")
            stack.callback(tree.forget)
            spent = 0
            for layer, stream in zip(layers, opened, strict=True):
                spent += _apply(layer, stream, tree, limits, tally, spent)
            _finish(layers, tree, tally)
            if tree.owners is not None:
                beside.write(root.parent / beside.NAME, tree.owners)
    except OSError as problem:
        raise _of_the_machine(problem, str(root)) from problem
    except MemoryError as problem:
        raise Failure("machine", "there is not enough memory to unpack the image") from problem
    return tally


def _verified(layer: LayerFile) -> BinaryIO:
    try:
        stream = layer.path.open("rb")
    except OSError as problem:
        raise Failure("layer", f"{layer.name}: its blob cannot be read: {problem.strerror}") from problem
    try:
        blobs.verify(stream, layer.digest)
    except Refused as problem:
        stream.close()
        raise Failure("layer", f"{layer.name}: {problem.reason}") from problem
    return stream


def _empty_root(root: Path) -> int:
    root.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(root, FOLDER)
    with os.scandir(fd) as found:
        empty = next(found, None) is None
    if not empty:
        os.close(fd)
        raise Failure("machine", f"{root} is not empty", "unpack into a new folder")
    return fd


def _apply(
    layer: LayerFile, stream: BinaryIO, tree: Tree, limits: Limits, tally: apply.Tally, spent: int
) -> int:
    """Unpack one layer; how many bytes of an archive it was."""
    before = os.fstat(stream.fileno())
    source = blobs.Pieces(stream, before.st_size, spent, limits)
    with contextlib.closing(source):
        try:
            apply.apply(tree, Reader(iter(source), limits), limits, tally)
        except Refused as problem:
            raise _of_the_layer(layer, problem.path, problem.reason) from problem
        except apply.At as problem:
            raise _at(problem, layer) from problem
    after = os.fstat(stream.fileno())
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise _of_the_layer(layer, None, "its blob was changed while it was read")
    return source.out


def _finish(layers: Sequence[LayerFile], tree: Tree, tally: apply.Tally) -> None:
    try:
        apply.finish(tree, tally)
    except (apply.At, Refused) as problem:
        path = problem.path or b""
        spoke = tree.folders[path].layer
        layer = layers[spoke] if spoke >= 0 else LayerFile(Path(), "", "a folder that no layer contains")
        if isinstance(problem, Refused):
            raise _of_the_layer(layer, path, problem.reason) from problem
        raise _at(problem, layer) from problem


def _of_the_layer(layer: LayerFile, path: bytes | None, reason: str) -> Failure:
    where = f"{layer.name}: {shown(path)}" if path is not None else layer.name
    return Failure("layer", f"{where}: {reason}")


def _at(problem: apply.At, layer: LayerFile) -> Failure:
    cause = problem.__cause__
    if isinstance(cause, apply.Unowned):
        return Failure(
            "machine",
            f"{layer.name}: {shown(problem.path)} belongs to {cause.uid}:{cause.gid}, and there is no such user here",
            "unpack as root, or give this user a full range of ids in /etc/subuid and /etc/subgid:"
            " run py-portable doctor",
        )
    assert isinstance(cause, OSError)
    if cause.errno in _OF_THE_LAYER:
        return _of_the_layer(layer, problem.path, (cause.strerror or str(cause)).lower())
    return _of_the_machine(cause, f"{layer.name}: {shown(problem.path)}")


def _of_the_machine(problem: OSError, where: str) -> Failure:
    reason = problem.strerror or str(problem)
    hint = None
    if problem.errno in _NO_ROOM:
        hint = "free some space, or choose a larger disk for the store: PY_PORTABLE_STORE"
    elif problem.errno in _NO_RIGHTS:
        hint = "check that the store is writable and who owns it: PY_PORTABLE_STORE"
    return Failure("machine", f"{where}: {reason}", hint)


def main(argv: Sequence[str]) -> int:
    """Do the task of the command line and tell how it ended."""
    task = json.loads(argv[1])
    given = [json.loads(word) for word in argv[2:]]
    layers = [LayerFile(Path(each["blob"]), each["digest"], each["name"]) for each in given]
    told: dict[str, Any]
    try:
        tally = unpack(layers, Path(task["root"]), Limits(**task["limits"]), task["owners"])
        told = {"ok": True, **asdict(tally)}
        for note in tally.notes:
            print(note, file=sys.stderr)
    except Failure as problem:
        told = {"ok": False, "kind": problem.kind, "what": problem.what, "hint": problem.hint}
    print(json.dumps(told), flush=True)
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
