"""What registries say about images, and what hostile ones might."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.images import ImageUnavailable
from py_portable.images.registry import image_manifest
from py_portable.images.registry.image_manifest import Descriptor, ImagePlatform, here

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
AMD64 = here("x86_64")
BLOB = {"digest": DIGEST, "size": 3, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/opt/bin:/bin", "EMPTY=", "A=b=c"]},
    "rootfs": {"diff_ids": [OTHER]},
}


def raw(told: object) -> bytes:
    return json.dumps(told).encode()


def index(*platforms: str) -> bytes:
    entries = []
    for number, text in enumerate(platforms):
        system, architecture, *variant = text.split("/")
        told = {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})}
        entries.append({**BLOB, "digest": f"sha256:{number:064x}", "platform": told})
    return raw({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})


@pytest.mark.parametrize(
    ("machine", "platforms", "chosen"),
    [
        ("x86_64", ("linux/arm64/v8", "linux/amd64"), 1),
        ("x86_64", ("windows/amd64", "linux/amd64"), 1),
        ("x86_64", ("unknown/unknown", "linux/amd64", "linux/amd64"), 1),
        ("aarch64", ("linux/amd64", "linux/arm64/v8"), 1),
        ("aarch64", ("linux/arm/v7", "linux/arm64"), 1),
        ("armv7l", ("linux/arm/v5", "linux/arm/v7", "linux/arm/v6"), 1),
        ("armv6l", ("linux/arm/v7", "linux/arm/v5"), 1),
        ("s390x", ("linux/amd64", "linux/s390x"), 1),
    ],
)
def test_the_entry_for_this_machine_is_chosen(machine: str, platforms: tuple[str, ...], chosen: int) -> None:
    found = image_manifest.choose(index(*platforms), here(machine), "x")
    assert found.digest == f"sha256:{chosen:064x}"


@pytest.mark.parametrize(
    ("machine", "platforms", "there"),
    [
        ("x86_64", ("linux/arm64/v8", "windows/amd64", "unknown/unknown"), "linux/arm64/v8, windows/amd64"),
        ("armv6l", ("linux/arm/v7",), "linux/arm/v7"),
        ("x86_64", (), "it names none"),
    ],
)
def test_an_architecture_that_is_not_there_is_named(machine: str, platforms: tuple[str, ...], there: str) -> None:
    with pytest.raises(ImageUnavailable) as caught:
        image_manifest.choose(index(*platforms), here(machine), "x:1")
    assert caught.value.what == f"x:1: no image for linux/{here(machine).architecture}; there are: {there}"


def test_a_manifest_is_read() -> None:
    found = image_manifest.manifest(raw({"schemaVersion": 2, "config": BLOB, "layers": [BLOB, BLOB]}), "x")
    assert found.config == Descriptor(DIGEST, 3, BLOB["mediaType"])  # type: ignore[arg-type]
    assert len(found.layers) == 2 and found.size == 9


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "is not a JSON object"),
        ({"schemaVersion": 1}, "the format of 2014"),
        ({"mediaType": "application/evil", "layers": [BLOB]}, "an unknown kind"),
        ({"config": BLOB, "layers": []}, "names no layers"),
        ({"config": BLOB, "layers": {}}, "names no layers"),
        ({"config": BLOB, "layers": [BLOB] * 300}, "300 layers"),
        ({"config": None, "layers": [BLOB]}, "an empty entry"),
        ({"config": {**BLOB, "digest": "sha256:../../etc"}, "layers": [BLOB]}, "has the digest"),
        ({"config": {**BLOB, "size": -1}, "layers": [BLOB]}, "no size"),
        ({"config": {**BLOB, "size": True}, "layers": [BLOB]}, "no size"),
        ({"config": {**BLOB, "size": 1 << 30}, "layers": [BLOB]}, "its config has 1073741824 bytes"),
        ({"config": BLOB, "layers": [{**BLOB, "size": 1 << 40}]}, "1099511627779 bytes"),
    ],
)  # fmt: skip
def test_a_broken_manifest_says_how(told: object, why: str) -> None:
    with pytest.raises(ImageUnavailable) as caught:
        image_manifest.manifest(raw(told), "x:1")
    assert caught.value.what.startswith("x:1: ") and why in caught.value.what


def test_a_kind_that_is_no_text_is_no_index() -> None:
    assert not image_manifest.is_index(raw({"mediaType": [None]}), "x")
    assert image_manifest.is_index(raw({"manifests": []}), "x")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"{" + b" " * image_manifest.MAX_MANIFEST + b"}"])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(ImageUnavailable, match="manifest or config"):
        image_manifest.is_index(data, "x")


def test_a_config_is_read() -> None:
    found = image_manifest.config(raw(CONFIG), AMD64, "x")
    assert found.env == {"PATH": "/opt/bin:/bin", "EMPTY": "", "A": "b=c"}
    assert found.diff_ids == (OTHER,)
    assert image_manifest.config(raw({**CONFIG, "config": None}), AMD64, "x").env == {}


@pytest.mark.parametrize(
    "env",
    ["PATH", ["PATH"], ["=x"], ["A B=x"], ["A=x\0y"], ["LD\n=x"], [1], ["A=" + "x" * 200_000], ["A=1"] * 600],
)
def test_a_hostile_environment_is_refused(env: object) -> None:
    with pytest.raises(ImageUnavailable, match="its environment"):
        image_manifest.config(raw({**CONFIG, "config": {"Env": env}}), AMD64, "x")


@pytest.mark.parametrize("rootfs", [None, {}, {"diff_ids": "x"}, {"diff_ids": ["sha256:1"]}])
def test_a_config_without_layers_is_refused(rootfs: object) -> None:
    with pytest.raises(ImageUnavailable, match="names no layers"):
        image_manifest.config(raw({**CONFIG, "rootfs": rootfs}), AMD64, "x")


@pytest.mark.parametrize("change", [{"architecture": "arm64"}, {"os": "windows"}, {"architecture": None}])
def test_a_config_for_another_machine_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ImageUnavailable, match="no image for linux/amd64"):
        image_manifest.config(raw({**CONFIG, **change}), AMD64, "x")


def test_other_bytes_than_asked_for_are_refused() -> None:
    assert image_manifest.checked(b"a", image_manifest.digest_of(b"a"), "x") == b"a"
    with pytest.raises(ImageUnavailable, match="x: wrong digest"):
        image_manifest.checked(b"b", image_manifest.digest_of(b"a"), "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(DIGEST),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["digest", "size", "config", "layers", "manifests", "platform", "os", "architecture",
                         "rootfs", "diff_ids", "Env", "mediaType", "variant"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_any_json_is_read_or_refused(told: object) -> None:
    for read in (image_manifest.choose, image_manifest.config):
        try:
            read(raw(told), ImagePlatform("amd64"), "x")
        except ImageUnavailable:
            continue
    for look in (image_manifest.manifest, image_manifest.is_index):
        try:
            look(raw(told), "x")
        except ImageUnavailable:
            continue
