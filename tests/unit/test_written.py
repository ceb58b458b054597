"""A layer made of what a job wrote, and where a hostile one could lead what comes after it."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from pathlib import Path

import pytest

from py_portable.engines import stage, written
from py_portable.engines.bubblewrap import Bubblewrap
from py_portable.engines.chroot import Chroot
from py_portable.engines.containers import docker
from py_portable.engines.engine import Bind, Engine, Job
from py_portable.engines.inside import Inside
from py_portable.engines.native import Native
from py_portable.errors import MachineError

FIRST = 1_879_048_192
OWN = (os.geteuid(), os.getegid())


def left_by(layer: Path, *members: tarfile.TarInfo, first: int = FIRST) -> None:
    """What stage.sh leaves."""
    layer.mkdir()
    with tarfile.open(written.archive(layer), "w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    (layer / "written.tar.ids").write_text(f"{first} 65536\n")


def member(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"./{name}")
    info.type, info.mode = kind, 0o755
    info.uid, info.gid = FIRST + OWN[0], FIRST + OWN[1]
    info.size = 1 if kind == tarfile.REGTYPE else 0
    for key, value in more.items():
        setattr(info, key, value)
    return info


def test_owners_are_those_that_files_had_inside(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    left_by(layer, member("etc", tarfile.DIRTYPE), member("etc/raised", mode=0o4755), member("etc/plain", mode=0o640))
    written.settle(layer, ())
    made = written.root(layer) / "etc" / "raised"
    assert (made.stat().st_uid, made.stat().st_gid, made.stat().st_mode & 0o7777) == (*OWN, 0o4755)
    assert (written.root(layer) / "etc" / "plain").stat().st_mode & 0o7777 == 0o640
    assert sorted(path.name for path in layer.iterdir()) == ["root", "written.tar.ids"]


def test_what_the_engine_put_there_is_no_part_of_it(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    names = ("proc", "dev", "tmp", "tmp/left", "run", "run/py-portable", "run/py-portable/cell-run", "opt", "run/more")
    left_by(layer, *(member(name, tarfile.DIRTYPE) for name in names), member("device", tarfile.CHRTYPE, devmajor=1))
    written.settle(layer, ("/run/py-portable",))
    root = written.root(layer)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["opt", "run", "run/more"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (struct.pack("<6I", 0x03000001, 0x2000, 0, 0, 0, FIRST), struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0)),
        (struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0), struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0)),
        (b"other", b"other"),
    ],
)
def test_capabilities_are_given_by_root_of_the_machine(given: bytes, kept: bytes) -> None:
    info = member("ping")
    info.pax_headers = {
        "SCHILY.xattr.security.capability": given.decode("utf-8", "surrogateescape"),
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.origin": "elsewhere",
        "SCHILY.xattr.user.note": "mine",
        "SCHILY.xattr.security.selinux": "label",
    }
    found = written._inside(info, FIRST, 65536).pax_headers
    assert found["SCHILY.xattr.security.capability"].encode("utf-8", "surrogateescape") == kept
    assert {name.removeprefix("SCHILY.xattr.") for name in found} == {
        "security.capability",
        "trusted.overlay.opaque",
        "user.note",
    }


def test_a_stage_that_left_nothing_has_no_layer(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    with pytest.raises(MachineError, match="could not be packed"):
        written.settle(tmp_path / "layer", ())


def test_a_listing_with_any_names() -> None:
    text = b"etc\0d\x00755\x000\x000\x004096\x00170.5\0\0a\nb\xff\0f\x004755\x005\x006\x003\x00171.0\0\0"
    found = written.nodes(text + b"l\0l\x00777\x000\x000\x009\x00172\0../x\0")
    assert [(name, node.kind, node.mode, node.size, node.changed, node.link) for name, node in found.items()] == [
        ("etc", "folder", 0o755, 0, 0, ""),
        ("a\nb\udcff", "file", 0o4755, 3, 171, ""),
        ("l", "link", 0o777, 0, 172, "../x"),
    ]


def layers(folder: Path, *names: str) -> tuple[Path, ...]:
    made = tuple(folder / name for name in names)
    for layer in made:
        written.root(layer).mkdir(parents=True)
    return made


def test_links_of_layers_are_followed_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "run").mkdir(parents=True)
    one, two = layers(tmp_path, "one", "two")
    (written.root(one) / "run").symlink_to("/etc/../../var")
    assert stage.inside(root, "/run/x") == "/run/x"
    assert stage.inside(root, "/run/x", layers=(one,)) == "/var/x"
    # The topmost layer that has the name is what counts.
    (written.root(two) / "run").mkdir()
    assert stage.inside(root, "/run/x", layers=(one, two)) == "/run/x"
    assert stage.inside(root, "/run/x", layers=(two, one)) == "/var/x"
    (written.root(one) / "loop").symlink_to("loop")
    with pytest.raises(stage.LinkLoop):
        stage.inside(root, "/loop", layers=(one,))


def test_a_link_of_a_layer_may_not_lead_what_is_shown_to_the_helpers(tmp_path: Path) -> None:
    (layer,) = layers(tmp_path, "layer")
    (written.root(layer) / "opt").symlink_to("/run")
    job = Job(
        "proof",
        tmp_path,
        ("/x",),
        binds=(Bind(tmp_path, "/opt/py-portable/in"), Bind(tmp_path, "/run/py-portable")),
        layers=(layer,),
    )
    with pytest.raises(stage.Overlap):
        stage.apart(job)


def test_a_layer_that_cannot_be_looked_at_gets_no_start(tmp_path: Path) -> None:
    # Root looks into every folder; a name that is too long is one that nobody can look at.
    (layer,) = layers(tmp_path, "layer")
    (written.root(layer) / "opt").mkdir()
    with pytest.raises(stage.LinkLoop, match="cannot be looked at"):
        stage.inside(tmp_path, f"/opt/{'x' * 300}", layers=(layer,))


@pytest.mark.parametrize("engine", [Native(), Inside()])
def test_native_keeps_no_layer_and_takes_none(engine: Engine, tmp_path: Path) -> None:
    for job in (
        Job("build", Path("/"), ("true",), layer=tmp_path),
        Job("proof", Path("/"), ("true",), layers=(tmp_path,)),
    ):
        with pytest.raises(MachineError, match="nothing is installed there") as caught:
            engine.run(job, timeout=1)
        assert caught.value.hint and "bubblewrap" in caught.value.hint
    with pytest.raises(MachineError, match="nothing is installed there"):
        engine.listing(Path("/"), ())
    engine.forget(tmp_path)


@pytest.mark.parametrize("engine", [Bubblewrap(), Chroot()])
def test_layers_lie_between_the_root_and_what_is_written(engine: Engine, tmp_path: Path) -> None:
    one, two = layers(tmp_path, "one", "two")
    job = Job("build", tmp_path, ("true",), layers=(one, two), layer=tmp_path / "new", helpers=Path("/helpers"))
    words = engine.argv(job)
    at = words.index("layer1:layer0:lower")
    assert words[at + 1] == str(tmp_path / "new" / "written.tar")
    assert words[at + 2 : at + 8] == ("image", str(one / "root"), "layer0", "image", str(two / "root"), "layer1")
    assert str(stage.PROOF_BYTES) in words, "it may write as much as a cell"


def test_a_layer_of_docker_is_an_image_of_its_own(tmp_path: Path) -> None:
    words = docker(Path("/helpers")).argv(Job("proof", tmp_path, ("/x",), layers=(tmp_path / "one", tmp_path / "two")))
    with_home = docker(Path("/helpers")).argv(
        Job("proof", tmp_path, ("/x",), home="/home/cell", layers=(tmp_path / "one", tmp_path / "two"))
    )
    (image,) = (word for word in words if word.startswith("localhost/py-portable-layer:"))
    (homely,) = (word for word in with_home if word.startswith("localhost/py-portable-layer:"))
    assert homely.startswith(f"{image}-")
    other = docker(Path("/helpers")).argv(Job("proof", tmp_path, ("/x",), layers=(tmp_path / "one",)))
    assert image not in other
