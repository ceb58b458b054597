"""Images go from the plan's job to the others as they are, and only those that are wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from py_portable.ci.github import handing
from py_portable.errors import ConfigError
from py_portable.images.names import Names
from py_portable.store import Store

KEYS = {name: f"{number:x}" * 64 for number, name in enumerate(("one", "two", "base", "step"), 10)}


def make(store: Store, name: str, **meta: object) -> None:
    def build(work: Path) -> Mapping[str, object]:
        (work / "out" / "root").mkdir()
        (work / "out" / "root" / name).write_text(name)
        (work / "out" / "root" / name).chmod(0o4755)
        return meta

    store.make(KEYS[name], build)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two images, one on top of a third, and an entry that is no image."""
    made = Store(tmp_path / "store")
    make(made, "one", identity="sha256:1")
    make(made, "two", identity="sha256:2", base="sha256:b")
    make(made, "base", identity="sha256:b", base=None)
    make(made, "step")
    Names(made.cache("derived")).set("two's name", KEYS["two"])
    Names(made.cache("images")).set("another's", KEYS["step"])
    return made


ASKED = {"image one": {"sha256:1"}, "baseline default": {"sha256:2"}, "image gone": {"sha256:3"}}
WANTED = {"image one": "sha256:1", "baseline default": "sha256:2", "image gone": "sha256:3"}


def test_images_arrive_with_their_bases_and_names_and_nothing_else_does(store: Store, tmp_path: Path) -> None:
    assert handing.pack(store.root, WANTED, tmp_path / "plan") == 3
    there = Store(tmp_path / "there")
    assert handing.unpack(tmp_path, there, ASKED) == 3
    for name in ("one", "two", "base"):
        entry = there.get(KEYS[name])
        assert entry
        there.verify(entry)
    assert there.get(KEYS["step"]) is None
    assert Names(there.cache("derived")).get("two's name") == KEYS["two"]
    assert Names(there.cache("images")).get("another's") is None
    # What is there stays, also where it is handed once more: nobody looks into the archives again.
    for archive in (tmp_path / "plan").glob("*.tar"):
        archive.write_bytes(b"no tar, and more than the nothing that is one")
    assert handing.unpack(tmp_path, there, ASKED) == 3
    (name,) = there.cache("derived").iterdir()
    name.unlink()
    with pytest.raises(ConfigError, match="cannot be unpacked"):
        handing.unpack(tmp_path, there, ASKED)


def test_a_shard_takes_its_own(store: Store, tmp_path: Path) -> None:
    handing.pack(store.root, WANTED, tmp_path / "plan")
    there = Store(tmp_path / "there")
    assert handing.unpack(tmp_path, there, {name: ASKED[name] for name in ("image one", "image gone")}) == 1
    assert there.get(KEYS["one"]) and not there.get(KEYS["two"])
    assert handing.unpack(tmp_path, there, {}) == 0


def test_where_no_image_is_made_none_is_handed(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    assert handing.pack(tmp_path / "no store", WANTED, tmp_path / "plan") == 0
    assert handing.unpack(tmp_path / "plan", Store(tmp_path / "store"), ASKED) == 0
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("paths", [["../store/CACHEDIR.TAG"], ["cache/passes/" + KEYS["one"]], []])
def test_what_is_no_path_of_a_store_is_not_taken_for_there(paths: list[str], store: Store, tmp_path: Path) -> None:
    handing.pack(store.root, WANTED, tmp_path)
    told = json.loads((tmp_path / handing.INDEX).read_text())
    told["image one"]["image-003.tar"] = paths
    (tmp_path / handing.INDEX).write_text(json.dumps(told))
    there = Store(tmp_path / "there")
    (there.cache("passes") / KEYS["one"]).touch()
    with pytest.raises(ConfigError, match="under its key"):
        handing.unpack(tmp_path, there, {"image one": {"sha256:1"}})
    assert not list(there.root.glob("objects/*/*"))


@pytest.mark.parametrize(
    "told",
    ["[]", "{", '{"image one": {"../x": []}}', '{"image one": 7}', '{"image one": {"image-009.tar": []}}'],
)
def test_an_index_names_what_lies_beside_it(told: str, tmp_path: Path) -> None:
    (tmp_path / handing.INDEX).write_text(told)
    with pytest.raises(ConfigError, match="not a list of images"):
        handing.unpack(tmp_path, Store(tmp_path / "store"), ASKED)


def test_the_index_is_by_nodes_of_the_plan(store: Store, tmp_path: Path) -> None:
    handing.pack(store.root, WANTED, tmp_path)
    told = json.loads((tmp_path / handing.INDEX).read_text())
    assert {name: len(files) for name, files in told.items()} == {"image one": 1, "baseline default": 2}
