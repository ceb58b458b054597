"""Archives of images: whole ones, broken ones and hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from py_portable.images import ImageUnavailable
from py_portable.images.registry import saved
from py_portable.images.registry.image_manifest import ImagePlatform

HERE = ImagePlatform("amd64")
LAYER = b"layer one" * 100
SECOND = b"layer two" * 100


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(*layers: bytes) -> bytes:
    told = {"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}}
    return json.dumps({**told, "rootfs": {"diff_ids": [digest(layer) for layer in layers]}}).encode()


def pack(path: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def docker(*, tags: list[str] | None = None, **changes: Any) -> dict[str, bytes]:
    told = {"Config": "c.json", "RepoTags": tags, "Layers": ["1/layer.tar", "2/layer.tar"], **changes}
    files = {"c.json": config(LAYER, SECOND), "1/layer.tar": LAYER, "2/layer.tar": SECOND}
    return {**files, "manifest.json": json.dumps([told]).encode()}


def oci(*names: str, **changes: Any) -> dict[str, bytes]:
    def entry(data: bytes, kind: str) -> dict[str, Any]:
        return {"digest": digest(data), "size": len(data), "mediaType": f"application/vnd.oci.image.{kind}"}

    blobs = [config(LAYER), LAYER]
    layers = [entry(LAYER, "layer.v1.tar")]
    manifest = {"schemaVersion": 2, "config": entry(blobs[0], "config.v1+json"), "layers": layers, **changes}
    blobs.append(json.dumps(manifest).encode())
    listed = [
        {**entry(blobs[2], "manifest.v1+json"), "annotations": {"org.opencontainers.image.ref.name": name}}
        for name in names or ("latest",)
    ]
    files = {f"blobs/sha256/{digest(data)[7:]}": data for data in blobs}
    return {**files, "index.json": json.dumps({"schemaVersion": 2, "manifests": listed}).encode()}


def read(path: Path, tmp_path: Path, ref: str | None = None, **options: Any) -> saved.Saved:
    room = tmp_path / "room"
    room.mkdir()
    return saved.read(path, ref, room, HERE, "NAME", **options)


def refused(path: Path, tmp_path: Path, ref: str | None = None) -> str:
    with pytest.raises(ImageUnavailable) as caught:
        read(path, tmp_path, ref)
    assert caught.value.what.startswith("NAME: ")
    return caught.value.what


def test_a_docker_archive(tmp_path: Path) -> None:
    found = read(pack(tmp_path / "a.tar", docker()), tmp_path)
    assert found.identity == digest(config(LAYER, SECOND))
    assert [piece.path.read_bytes() for piece in found.content.layers] == [LAYER, SECOND]
    assert found.content.config.env == {"A": "b"}
    assert {piece.path.parent for piece in found.content.layers} == {tmp_path / "room"}


def test_a_docker_archive_with_a_link_to_a_layer_and_a_packed_layer(tmp_path: Path) -> None:
    files = docker(Layers=["1/layer.tar", "3/layer.tar"])
    files["9/layer.tar"] = gzip.compress(files.pop("2/layer.tar"))
    found = read(pack(tmp_path / "a.tar", files, {"3/layer.tar": "../9/layer.tar"}), tmp_path)
    assert [piece.media_type.rpartition(".")[2] for piece in found.content.layers] == ["tar", "tar+gzip"]
    assert gzip.decompress(found.content.layers[1].path.read_bytes()) == SECOND


@pytest.mark.parametrize("wrap", [gzip.compress])
def test_a_packed_archive(wrap: Any, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", oci())
    path.write_bytes(wrap(path.read_bytes()))
    assert read(path, tmp_path).content.layers[0].path.read_bytes() == LAYER


def test_an_oci_archive_and_its_folder_are_one_image(tmp_path: Path) -> None:
    files = oci()
    folder = tmp_path / "layout"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    first = read(pack(tmp_path / "a.tar", files), tmp_path)
    assert first.identity == saved.read(folder, "latest", tmp_path, HERE, "NAME").identity
    assert f"blobs/sha256/{first.identity[7:]}" in files


def test_one_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", oci("one", "two"))
    assert read(path, tmp_path, "two").identity


def test_a_name_in_a_docker_archive_may_be_short_or_long(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", docker(tags=["docker.io/library/x:latest"]))
    assert read(path, tmp_path, "x").identity


@pytest.mark.parametrize(
    ("files", "ref", "why"),
    [
        (oci("one", "two"), None, "does not hold exactly one image: one, two"),
        (oci("one"), "two", "has no image two; there are: one"),
        (docker(tags=["x:1"]), "y:1", "has no image y:1; there are: x:1"),
        (docker(tags=None), "y:1", "there are: none with a name"),
        ({"manifest.json": b"[]"}, None, "not hold exactly one image"),
        ({"manifest.json": b"{}"}, None, "a list was expected"),
        ({"manifest.json": b"[3, null]"}, None, "not hold exactly one image"),
        ({"x": b""}, None, "neither index.json nor manifest.json"),
        (docker(Layers=["1/layer.tar", "../../etc/passwd"]), None, "it has no '../../etc/passwd'"),
        (docker(Layers=["1/layer.tar"]), None, "another number of layers"),
        (docker(Layers=["2/layer.tar", "1/layer.tar"]), None, "wrong digest: the layer '2/layer.tar'"),
        (docker(Layers=[]), None, "0 layers"),
        (docker(Layers=[7, 8]), None, "no config or no layers"),
        ({**docker(), "2/layer.tar": gzip.compress(LAYER)}, None, "wrong digest"),
        ({**docker(), "2/layer.tar": gzip.compress(SECOND)[:-9]}, None, "not a complete gzip file"),
        ({**docker(), "2/layer.tar": b"\x28\xb5\x2f\xfd"}, None, "zstd"),
        ({**oci(), f"blobs/sha256/{digest(LAYER)[7:]}": b"other"}, None, "wrong digest: the blob"),
        ({k: v for k, v in oci().items() if digest(LAYER)[7:] not in k}, None, "it has no blob"),
        (oci(layers=[{"digest": digest(LAYER), "size": 1, "mediaType": "x"}]), None, "another size"),
        ({**oci(), "index.json": b'{"manifests": [{"digest": "sha256:../x"}]}'}, None, "not hold exactly one image"),
        ({**oci(), "index.json": b'{"manifests": [{"annotations": 3}]}'}, "x", "has no image x"),
        ({**oci(), "index.json": b"x" * (5 << 20)}, None, "index.json"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(files: dict[str, bytes], ref: str | None, why: str, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", files)
    if why == "index.json":
        assert "more than 4194304 bytes" in refused(path, tmp_path, ref)
    else:
        assert why in refused(path, tmp_path, ref)


@pytest.mark.parametrize("at", [100, 700, 1500])
def test_a_truncated_archive_is_refused(at: int, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", docker())
    path.write_bytes(path.read_bytes()[:at])
    assert refused(path, tmp_path)


@pytest.mark.parametrize("data", [b"", b"no tar", bytes(10240), b"\x1f\x8b\x08rubbish" * 99])
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    assert refused(path, tmp_path)


def test_an_archive_that_is_not_there_says_where_paths_begin(tmp_path: Path) -> None:
    with pytest.raises(ImageUnavailable, match="there is no such file") as caught:
        read(tmp_path / "a.tar", tmp_path)
    assert "absolute" in str(caught.value.hint)


def test_a_header_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 5 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT).ljust(10240, b"\0"))
    assert "not a complete tar archive" in refused(path, tmp_path)


def test_names_in_an_archive_are_never_places(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    files = {"../outside": b"x", str(outside): b"x", **docker()}
    read(pack(tmp_path / "a.tar", files, {"room": "/", "1": "../.."}), tmp_path)
    assert not outside.exists()


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MAX_MEMBERS", 3)
    assert "more than 3 files" in refused(pack(tmp_path / "a.tar", oci()), tmp_path)


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MAX_PULL", 1000)
    assert "more than 1000 bytes" in refused(pack(tmp_path / "a.tar", oci()), tmp_path)


def test_a_link_in_a_folder_counts_as_missing(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    for name, data in oci().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    blob = folder / f"blobs/sha256/{digest(LAYER)[7:]}"
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    assert "it has no blob" in refused(folder, tmp_path)
