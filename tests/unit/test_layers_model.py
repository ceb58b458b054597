"""Random layers against a model in memory, and damaged ones: nothing outside the root is ever touched.

The model knows names, nodes and which layer put a node under a name; no paths, no descriptors, no caches.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable.images.layers.bounds import Limits
from py_portable.images.layers.unpack import Failure, unpack
from tests.unit.layer_builder import NEEDED, Member, archive, folder, member, put, seen
from tests.unit.test_tar import SEED, resum

SHM = Path("/dev/shm")
MODES = {"file": 0o640, "folder": 0o751}


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip(NEEDED)


@dataclass(frozen=True)
class Step:
    kind: str
    path: str
    target: str = ""
    number: int = 0


class Refusal(Exception):
    """The model says that the layer is refused."""


@dataclass
class Node:
    kind: str
    mode: int = 0o755
    time: int = 0
    what: bytes | None = None
    spoke: int = -1
    below: dict[str, Slot] = field(default_factory=dict)


@dataclass
class Slot:
    node: Node
    layer: int


class Model:
    def __init__(self) -> None:
        self.root = Node("folder")
        self.layer = -1

    def parts(self, path: str) -> list[str]:
        found = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in found:
            raise Refusal
        return found

    def walk(self, parts: list[str], make: bool) -> list[str] | None:
        at: list[str] = []
        for part in parts:
            self.links = 40
            step = self.enter(at, part, make, direct=True)
            if step is None:
                return None
            at = step
        return at

    def enter(self, at: list[str], name: str, make: bool, direct: bool) -> list[str] | None:
        parent = self.node(at)
        slot = parent.below.get(name)
        if slot is not None and slot.node.kind == "symlink":
            self.links -= 1
            if self.links < 0:
                raise Refusal
            target = (slot.node.what or b"").decode()
            here = [] if target.startswith("/") else at
            for part in target.split("/"):
                if part in ("", "."):
                    continue
                if part == "..":
                    here = here[:-1]
                    continue
                step = self.enter(here, part, make, direct=False)
                if step is None:
                    return None
                here = step
            return here
        if slot is None or slot.node.kind != "folder":
            if not make:
                return None
            if slot is not None and not direct:
                raise Refusal
            self.place([*at, name], Node("folder"))
        return [*at, name]

    def node(self, at: list[str]) -> Node:
        here = self.root
        for name in at:
            here = here.below[name].node
        return here

    def place(self, at: list[str], node: Node | None) -> None:
        """Put a node there (None: only note that this layer spoke of what is there), and claim what is above."""
        here = self.root
        for name in at[:-1]:
            here.below[name].layer = self.layer
            here = here.below[name].node
        if node is None:
            here.below[at[-1]].layer = self.layer
        else:
            here.below[at[-1]] = Slot(node, self.layer)

    def hide(self, node: Node) -> None:
        for name, slot in list(node.below.items()):
            if slot.layer == self.layer:
                self.renew(slot.node)
            else:
                del node.below[name]

    def renew(self, node: Node) -> None:
        if node.kind == "folder":
            if node.spoke != self.layer:
                node.mode, node.time = 0o755, 0
            self.hide(node)

    def apply(self, layer: list[Step]) -> None:
        self.layer += 1
        for step in layer:
            self.step(step)

    def good(self, layers: list[list[Step]]) -> Iterator[list[Step]]:
        """The layers without the entries that are refused."""
        for layer in layers:
            self.layer += 1
            kept = []
            for step in layer:
                before = deepcopy(self.root)
                try:
                    self.step(step)
                    kept.append(step)
                except Refusal:
                    self.root = before
            yield kept

    def step(self, step: Step) -> None:
        parts = self.parts(step.path)
        if not parts:
            if step.kind != "folder":
                raise Refusal
            self.root.mode, self.root.time = MODES["folder"], step.number
            return
        *above, name = parts
        if step.kind in ("whiteout", "opaque"):
            at = self.walk(above, make=False)
            if at is None:
                return
            parent = self.node(at)
            if step.kind == "opaque":
                self.hide(parent)
            elif name in parent.below:
                if parent.below[name].layer == self.layer:
                    self.renew(parent.below[name].node)
                else:
                    del parent.below[name]
            return
        at = self.walk(above, make=True)
        assert at is not None
        here = self.node(at).below.get(name)
        match step.kind:
            case "folder" if here is not None and here.node.kind == "folder":
                here.node.mode, here.node.time, here.node.spoke = MODES["folder"], step.number, self.layer
                self.place([*at, name], None)
            case "folder":
                self.place([*at, name], Node("folder", MODES["folder"], step.number, None, self.layer))
            case "file":
                self.place([*at, name], Node("file", MODES["file"], step.number, b"%d" % step.number))
            case "symlink":
                if not step.target:
                    raise Refusal
                self.place([*at, name], Node("symlink", 0, step.number, step.target.encode()))
            case "link":
                self.link(at, name, step)

    def link(self, at: list[str], name: str, step: Step) -> None:
        target = self.parts(step.target)
        if not target:
            raise Refusal
        inside = self.walk(target[:-1], make=False)
        if inside is None or target[-1] not in self.node(inside).below:
            raise Refusal
        node = self.node(inside).below[target[-1]].node
        if node.kind == "folder" or [*at, name] == inside[: len(at) + 1]:
            raise Refusal
        self.place([*at, name], node)

    def seen(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        names: dict[int, list[str]] = {}

        def look(path: str, node: Node) -> None:
            found[path or "."] = (node.kind, node.mode, float(node.time), node.what)
            if node.kind != "folder":
                names.setdefault(id(node), []).append(path)
            for name, slot in node.below.items():
                look(f"{path}/{name}" if path else name, slot.node)

        look("", self.root)
        for same in names.values():
            for path in same if len(same) > 1 else ():
                found[path] += (frozenset(same),)
        return found


# Few names, so that entries meet: a link that nothing goes through tests nothing.
PATHS = st.one_of(
    st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "b/b"]),
    st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join),
    st.sampled_from(["./a", "/b/c", "a/", "b/./a", "./", "a/../b", "../a", "c"]),
)
TARGETS = st.one_of(
    PATHS,
    st.sampled_from(["/", ".", "..", "/a", "/b", "/b/a", "../b", "../a", "../../a", "a/../b", "../../../outside", ""]),
)
KINDS = [
    "file",
    "file",
    "file",
    "folder",
    "folder",
    "symlink",
    "symlink",
    "symlink",
    "link",
    "whiteout",
    "opaque",
]
STEPS = st.builds(Step, st.sampled_from(KINDS), PATHS, TARGETS, st.integers(1, 1000))
THROUGH = st.tuples(PATHS, TARGETS, STEPS).map(
    lambda given: [
        Step("symlink", given[0], given[1], 1),
        replace(given[2], path=f"{given[0].rstrip('/')}/{given[2].path}"),
    ]
)
LAYER = st.lists(st.one_of(STEPS.map(lambda step: [step]), THROUGH), min_size=1, max_size=6).map(
    lambda groups: [step for group in groups for step in group]
)


def as_member(step: Step) -> Member:
    above, _, name = step.path.rstrip("/").rpartition("/")
    above = f"{above}/" if above or step.path.startswith("/") else ""
    match step.kind:
        case "whiteout":
            return member(f"{above}.wh.{name}")
        case "opaque":
            return member(f"{above}.wh..wh..opq")
        case "folder":
            return folder(step.path, mode=MODES["folder"], mtime=step.number)
        case "file":
            return member(step.path, data=b"%d" % step.number, mode=MODES["file"], mtime=step.number)
        case "symlink":
            return member(step.path, tarfile.SYMTYPE, linkname=step.target, mtime=step.number)
        case _:
            return member(step.path, tarfile.LNKTYPE, linkname=step.target)


@contextmanager
def guarded() -> Iterator[Path]:
    """A place to unpack in; what lies beside it has to be the same afterwards."""
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as name:
        top = Path(name)
        for precious in ("outside", "a", "b", "in/a"):
            (top / precious).mkdir(parents=True)
            (top / precious / "a").write_text("precious")
        before = state(top)
        yield top / "in"
        assert state(top) == before


def state(top: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted(top.rglob("*")):
        if path.relative_to(top).parts[:2] not in {("in", "root"), ("in", "blobs"), ("in",)}:
            told = path.lstat()
            found[str(path)] = (
                told.st_ino,
                told.st_mode,
                told.st_mtime_ns,
                told.st_ctime_ns,
                told.st_nlink,
                told.st_uid,
            )
    return found


def attempt(where: Path, layers: list[bytes]) -> bool:
    (where / "blobs").mkdir()
    limits = Limits(file_bytes=1 << 20, total_bytes=1 << 24)
    try:
        unpack([put(where / "blobs", data) for data in layers], where / "root", limits)
    except Failure as problem:
        assert problem.kind == "layer", problem
        return False
    return True


def grouped(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Hard links as the set of their names, as the model tells them."""
    sets: dict[object, set[str]] = {}
    for path, what in found.items():
        if len(what) > 4:
            sets.setdefault(what[4], set()).add(path)
    return {path: (*what[:4], frozenset(sets[what[4]])) if len(what) > 4 else what for path, what in found.items()}


@given(st.lists(LAYER, min_size=1, max_size=3), st.sampled_from([True, True, True, False]))
@settings(max_examples=600, deadline=20_000)
def test_layers_come_out_as_the_model_says(layers: list[list[Step]], good: bool) -> None:
    # A mark is a name of its own: `./` and `a/../b` say nothing that a whiteout could be of.
    layers = [
        [s for s in layer if s.kind not in ("whiteout", "opaque") or not s.path.endswith(("./", "../b", "../a"))]
        for layer in layers
    ]
    if good:
        # One bad entry is enough to refuse them all, and most random layers have one.
        layers = list(Model().good(layers))
    model = Model()
    try:
        for layer in layers:
            model.apply(layer)
    except Refusal:
        expected = None
    else:
        expected = model.seen()
    with guarded() as where:
        unpacked = attempt(where, [archive(map(as_member, layer)) for layer in layers])
        assert unpacked == (expected is not None)
        if expected is not None:
            assert grouped(seen(where / "root")) == expected


@given(
    LAYER,
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), max_size=6),
    st.booleans(),
)
@settings(max_examples=300, deadline=20_000)
def test_a_damaged_layer_is_refused_or_unpacked_and_stays_inside(
    steps: list[Step], changes: list[tuple[int, int]], seed: bool
) -> None:
    data = bytearray(archive(map(as_member, steps)))
    if seed:
        data[:0] = SEED[:-1024]
    for at, value in changes:
        data[at % len(data)] = value
    lower = archive(
        [member("a", tarfile.SYMTYPE, linkname="../../outside"), member("b", tarfile.SYMTYPE, linkname="/")]
    )
    with guarded() as where:
        attempt(where, [lower, resum(bytes(data)), bytes(data)])


@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", SEED[:512]]))
@settings(max_examples=200, deadline=20_000)
def test_any_blob_is_refused_or_unpacked(data: bytes, start: bytes) -> None:
    with guarded() as where:
        attempt(where, [start + data])
