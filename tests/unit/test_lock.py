"""The lock as data, and which of the files on offer it takes."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from py_portable.errors import ConfigError
from py_portable.lock.choose import choose, platforms, supported
from py_portable.lock.index.offers import Offer
from py_portable.lock.lockfile import Lock, LockedFile, LockedHouse, LockedPackage, dumps, load, loads
from py_portable.lock.named import Named

HERE = Path(__file__).parents[2]
SHA = "0123456789abcdef" * 4
TARGET: dict[str, Any] = {"python": "3.13", "max_glibc": "2.31", "arch": "x86_64"}


def file(name: str = "a-1.0.tar.gz") -> LockedFile:
    return LockedFile("a", "1.0", name, SHA, 3)


FILES = st.builds(
    LockedFile,
    st.text(max_size=5),
    st.text(max_size=5),
    st.from_regex(r"[a-z0-9_+-][a-z0-9_.+-]{0,8}", fullmatch=True),
    st.text("0123456789abcdef", min_size=64, max_size=64),
    st.none() | st.integers(0, 1 << 40),
)
HOUSES = st.builds(
    LockedHouse,
    st.text(max_size=8),
    st.lists(st.builds(LockedPackage, FILES, st.lists(FILES, max_size=2).map(tuple)), max_size=2).map(tuple),
    st.lists(FILES, max_size=2).map(tuple),
)
NAMED = st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2)
LOCKS = st.builds(Lock, images=NAMED, pins=NAMED, houses=st.dictionaries(st.text(max_size=5), HOUSES, max_size=2))


@given(LOCKS)
def test_a_lock_survives_being_written_and_read(lock: Lock) -> None:
    assert loads(dumps(lock), "portable.lock") == lock
    assert dumps(loads(dumps(lock), "portable.lock")) == dumps(lock)


def test_every_lock_is_of_its_schema() -> None:
    schema = json.loads((HERE / "schemas" / "lock.schema.json").read_text("utf-8"))
    packed = replace(file(), origin="path:../a")
    house = LockedHouse(SHA, (LockedPackage(packed, (file(),)),), (file(),), seen=SHA, python="3.13.5")
    whole = Lock({"image x": f"sha256:{SHA}"}, {"tool": "1"}, {"default/3.13": house}, {"x": f"sha256:{SHA}"})
    written = [(HERE / name).read_text("utf-8") for name in ("portable.lock", "release/portable.lock")]
    for text in (dumps(whole), *written):
        jsonschema.validate(json.loads(text), schema)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_lock_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "portable.lock"
    path.write_bytes(data)
    try:
        assert isinstance(load(path), Lock)
    except ConfigError as problem:
        assert (problem.where or "").startswith("portable.lock")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def places(told: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = told.items() if isinstance(told, dict) else enumerate(told) if isinstance(told, list) else ()
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


GOOD = json.loads(
    dumps(
        Lock(
            {"image debian:11": "sha256:x"},
            {"cpython 3.13": "3.13.5"},
            {"default/3.13": LockedHouse("x", (LockedPackage(file(), (file(),)),), (file(),))},
        )
    )
)


@given(st.sampled_from(places(GOOD)), JSON)
def test_a_lock_with_one_thing_changed_is_a_lock_of_right_types_or_a_config_error(
    path: tuple[Any, ...], value: Any
) -> None:
    told = json.loads(json.dumps(GOOD))
    if not path:
        told = value
    else:
        place = told
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    try:
        lock = loads(json.dumps(told), "portable.lock")
    except ConfigError:
        return
    for house in lock.houses.values():
        assert isinstance(house.inputs, str)
        for one in (*house.app_build, *(f for p in house.packages for f in (p.file, *p.build))):
            assert all(isinstance(text, str) for text in (one.name, one.version, one.file, one.sha256))
            assert one.size is None or type(one.size) is int
    assert all(isinstance(text, str) for text in (*lock.images.values(), *lock.pins.values()))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/etc/passwd", "../x", "a/b", "a/", "./a", "a\0b", "a\nb", "\ud800", "a/../b", "//x"],
    ids=ascii,
)
def test_a_file_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a file name"):
        file(name)
    told = json.loads(json.dumps(GOOD))
    told["houses"]["default/3.13"]["packages"][0]["file"]["file"] = name
    with pytest.raises(ConfigError, match="half of a character" if "\ud800" in name else "is not a lock"):
        loads(json.dumps(told), "portable.lock")


@pytest.mark.parametrize("sha256", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, ["0"] * 64, None])
def test_a_digest_that_is_none_is_refused(sha256: Any) -> None:
    told = json.loads(json.dumps(GOOD))
    told["houses"]["default/3.13"]["packages"][0]["build"][0]["sha256"] = sha256
    with pytest.raises(ConfigError):
        loads(json.dumps(told), "portable.lock")


def test_errors_of_a_lock_say_where_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        loads('{\n "version": 1,\n oops', "portable.lock")
    assert caught.value.where == "portable.lock:3:2"
    assert caught.value.hint == "delete the file and run: py-portable lock"
    with pytest.raises(ConfigError, match="has version 2, expected 1"):
        loads('{"version": 2}', "portable.lock")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"version": ' + "9" * 5000 + "}"], ids=["deep", "long number"])
def test_json_that_is_too_much_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        loads(text, "portable.lock")


def test_no_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert load(tmp_path / "portable.lock") == Lock()


def test_a_folder_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_lock_with_more_in_it_is_another_one() -> None:
    house = LockedHouse("x", ())
    lock = Lock().with_house("h", house).with_images({"a": "1"}).with_images({"b": "2"})
    assert lock == Lock({"a": "1", "b": "2"}, {}, {"h": house})
    assert Lock() == Lock({}, {}, {})


# ------------------------------------------------------------------------------------------------- choose


def offer(file: str, name: str = "a", sha256: str = SHA) -> Offer:
    return Offer(name, "1.0", file, f"https://host/{file}", sha256, 1)


def chosen(*files: str, no_binary: tuple[str, ...] = (), **target: str) -> str:
    (found,) = choose([offer(f) for f in files], no_binary=no_binary, **TARGET | target)
    return found.file


@pytest.mark.parametrize(
    ("files", "best"),
    [
        (["a-1.0.tar.gz", "a-1.0-py3-none-any.whl"], "a-1.0-py3-none-any.whl"),
        (
            ["a-1.0-py3-none-any.whl", "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"],
            "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        ),
        (
            ["a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl", "a-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"],
            "a-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        ),
        (
            ["a-1.0-cp313-cp313-manylinux_2_34_x86_64.whl", "a-1.0-cp313-cp313-manylinux2014_x86_64.whl"],
            "a-1.0-cp313-cp313-manylinux2014_x86_64.whl",
        ),
        (
            ["a-1.0-cp38-abi3-manylinux_2_31_x86_64.whl", "a-1.0-cp313-cp313t-manylinux_2_31_x86_64.whl"],
            "a-1.0-cp38-abi3-manylinux_2_31_x86_64.whl",
        ),
        (["a-1.0-cp313-cp313-manylinux1_x86_64.whl"], "a-1.0-cp313-cp313-manylinux1_x86_64.whl"),
        (
            ["a-1.0-cp313-cp313-manylinux_2_12_x86_64.manylinux2010_x86_64.whl", "a-1.0.tar.gz"],
            "a-1.0-cp313-cp313-manylinux_2_12_x86_64.manylinux2010_x86_64.whl",
        ),
        (["a-1.0-cp313-cp313-manylinux_2_35_x86_64.whl", "a-1.0.tar.gz"], "a-1.0.tar.gz"),
        (["a-1.0-cp313-cp313-manylinux_2_17_aarch64.whl", "a-1.0.tar.gz"], "a-1.0.tar.gz"),
        (["a-1.0-cp313-cp313-musllinux_1_2_x86_64.whl", "a-1.0.tar.gz"], "a-1.0.tar.gz"),
        (["a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", "a-1.0.tar.gz"], "a-1.0.tar.gz"),
        (["not a wheel.whl", "a-1.0.tar.gz"], "a-1.0.tar.gz"),
    ],
)
def test_the_best_fitting_file_is_taken(files: list[str], best: str) -> None:
    assert chosen(*files) == chosen(*reversed(files)) == best


def test_what_is_to_be_compiled_is_taken_as_an_sdist_however_its_name_is_written() -> None:
    offers = [offer("a_b-1.0-py3-none-any.whl", "a-b"), offer("a_b-1.0.tar.gz", "a-b")]
    assert choose(offers, no_binary=["A.b"], **TARGET)[0].file == "a_b-1.0.tar.gz"


def test_one_file_for_each_package_in_the_order_of_their_names() -> None:
    offers = [offer("b-1.0.tar.gz", "b"), offer("a-1.0.tar.gz"), offer("b-1.0-py3-none-any.whl", "b")]
    assert [f.file for f in choose(offers, no_binary=(), **TARGET)] == [
        "a-1.0.tar.gz",
        "b-1.0-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("files", "no_binary", "what"),
    [
        (
            ["a-1.0-cp313-cp313-manylinux_2_34_x86_64.whl"],
            (),
            "a 1.0 has no wheel for CPython 3.13, x86_64, glibc 2.31 and no sdist",
        ),
        (["a-1.0-py3-none-any.whl"], ("a",), "a 1.0 has no sdist to compile"),
    ],
)
def test_a_package_that_offers_nothing_that_fits_is_a_config_error(
    files: list[str], no_binary: tuple[str, ...], what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(*files, no_binary=no_binary)
    assert caught.value.what == what
    assert caught.value.hint


@pytest.mark.parametrize(
    ("arch", "tags"),
    [
        ("x86_64", ["manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_16_x86_64"]),
        ("aarch64", ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_16_aarch64"]),
    ],
)
def test_platforms_begin_with_the_most_demanding(arch: str, tags: list[str]) -> None:
    assert platforms("2.17", arch)[:3] == tags


def test_the_oldest_names_are_for_the_oldest_architectures_only() -> None:
    assert "manylinux1_x86_64" in platforms("2.31", "x86_64")
    assert "manylinux2010_i686" in platforms("2.31", "i686")
    assert [t for t in platforms("2.31", "aarch64") if "manylinux1" in t or "2010" in t] == []


def test_a_distribution_tag_of_linux_alone_is_not_portable() -> None:
    assert not [tag for tag in supported("3.13", "2.31", "x86_64") if tag.platform.startswith("linux_")]


def test_what_an_index_of_uv_is_told_is_handed_on_as_it_was_said() -> None:
    table = {
        "name": "own",
        "url": 'https://index.example/"simple"',
        "explicit": True,
        "ignore-error-codes": [401, 403],
        "cache-control": "max-age=1",
    }
    wanted = Named((Requirement("one>=1"),), {}, {"one": "own"}, {"index": [table]}, frozenset())
    assert wanted.project is not None
    assert tomllib.loads(wanted.project)["tool"]["uv"]["index"] == [table]
