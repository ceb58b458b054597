"""Where the packages of a Debian release are fetched, once the mirrors have dropped them."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from py_portable.errors import StepError
from py_portable.images import BootstrapSource, ImageUnavailable, Request
from py_portable.images.debian import apt
from py_portable.images.debian.bootstrap import Bootstrapped
from py_portable.images.debian.package_archives import MIRROR, PackageArchive, archives
from py_portable.images.debian.recipe import BootstrapSpec
from py_portable.images.debian.releases import releases
from py_portable.images.failures import NotServed, SourceUnusable, explain
from py_portable.lock import lockfile
from py_portable.lock.lockfile import Lock
from py_portable.store import Store

BULLSEYE = releases()["11"]
AFTER = date(2026, 9, 1)
SNAPSHOT, OLD = "the snapshot of 2026-09-01", "the archive of old releases"
MACHINE = apt.AptSetup(
    apt.Mirror("http://mirror.test/debian"),
    apt.Mirror("http://mirror.test/debian-security"),
    (("Acquire::http::Proxy", "http://proxy.test"),),
)


def names(*args: Any) -> list[str]:
    return [one.name for one in archives(*args)]


def test_only_a_release_that_has_ended_is_looked_for_elsewhere() -> None:
    assert names(BULLSEYE, MACHINE, date(2026, 8, 31)) == [MIRROR]
    assert names(BULLSEYE, MACHINE, AFTER) == [MIRROR, SNAPSHOT, OLD]
    assert names(releases()["14"], MACHINE, date(2099, 1, 1)) == [MIRROR]


def test_what_is_locked_comes_first() -> None:
    assert names(BULLSEYE, MACHINE, AFTER, OLD) == [OLD, MIRROR, SNAPSHOT]
    assert names(BULLSEYE, MACHINE, AFTER, "what no kit knows") == [MIRROR, SNAPSHOT, OLD]


def test_the_lines_that_apt_is_given() -> None:
    _, snapshot, old = (
        apt.source_lines(one.setup, "bullseye", keyrings=()) for one in archives(BULLSEYE, MACHINE, AFTER)
    )
    assert [line.split()[3] for line in snapshot] == ["bullseye", "bullseye-updates", "bullseye-security"]
    assert all("/20260901T000000Z " in line and "[check-valid-until=no]" in line for line in snapshot)
    assert [line.split()[3] for line in old] == ["bullseye"]
    for one in archives(BULLSEYE, MACHINE, AFTER):
        assert one.setup.settings == MACHINE.settings, "the proxy is that of the machine"


@pytest.mark.parametrize(
    ("line", "served"),
    [
        (
            "E: Failed to fetch http://m.test/debian/pool/main/b/bash/bash_5.1_amd64.deb  404  Not Found [IP: ::1 80]",
            False,
        ),
        ("E: The repository 'http://m.test/debian bullseye Release' does not have a Release file.", False),
        ("E: Failed to fetch http://m.test/debian/pool/main/b/bash/bash_5.1_amd64.deb  Connection refused", True),
        ("E: Failed to fetch http://m.test/debian/pool/main/b/bash/bash_5.1_amd64.deb  503  Busy", True),
    ],
)
def test_what_a_mirror_does_not_serve_is_told_from_one_out_of_reach(line: str, served: bool) -> None:
    found = explain(f"I: downloading\n{line}\n", suite="bullseye")
    assert issubclass(found.error, ImageUnavailable) and issubclass(found.error, NotServed) != served


class Bench:
    """A bootstrap source, each of whose archives fails as told or serves."""

    def __init__(self, folder: Path, **failing: Exception) -> None:
        self.failing = failing
        self.asked: list[str] = []
        machine = apt.AptSetup()
        self.places = tuple(
            PackageArchive(name, apt.AptSetup(apt.Mirror(name))) for name in (MIRROR, "snapshot", "old")
        )
        self.store = Store(folder)
        self.source = BootstrapSource(lambda: machine, make=self.make, places=self.order)

    def order(self, _release: object, _setup: object, _day: date, locked: str | None) -> tuple[PackageArchive, ...]:
        return tuple(sorted(self.places, key=lambda one: one.name != locked))

    def make(self, spec: BootstrapSpec, into: Path, *, setup: apt.AptSetup, **_: object) -> Bootstrapped:
        assert setup.archive
        name = setup.archive.uri
        self.asked.append(name)
        if problem := self.failing.get("mirror" if name == MIRROR else name):
            raise problem
        (into / "root").mkdir()
        packages = (("libc6", "2.31-1", None),)
        return Bootstrapped(into / "root", f"sha256:{name}", "2.31", packages, "amd64", "t", 0.1)

    def get(self, **wishes: Any) -> Any:
        return self.source.get(Request("debian:11", **wishes), self.store, ())


GONE = NotServed("bootstrap of bullseye: the mirror does not have the packages that its index lists: 404")


def test_the_next_archive_is_taken_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, mirror=GONE)
    with caplog.at_level(logging.WARNING):
        image = bench.get()
    assert (image.archive, bench.asked) == ("snapshot", [MIRROR, "snapshot"])
    assert caplog.messages == [f"debian:11: {GONE.what}. Next: snapshot"]
    assert bench.get().archive == "snapshot" and len(bench.asked) == 2, "it is kept in the store"


def test_the_machines_mirror_has_no_name_in_the_lock(tmp_path: Path) -> None:
    assert Bench(tmp_path).get().archive is None


def test_the_archive_that_is_locked_is_asked_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.get(locked_archive="old").archive == "old" and bench.asked == ["old"]


def test_where_none_serves_all_are_named_with_the_line_to_change(tmp_path: Path) -> None:
    other = ImageUnavailable("bootstrap of bullseye: the mirror cannot be reached: no route")
    bench = Bench(tmp_path, mirror=GONE, snapshot=other, old=GONE)
    with pytest.raises(SourceUnusable) as caught:
        bench.get()
    assert caught.value.what.startswith("debian:11 cannot be bootstrapped any more: the machine's mirror: ")
    assert "; snapshot: bootstrap of bullseye: the mirror cannot be reached" in caught.value.what
    assert caught.value.hint and 'image: "debian:12"' in caught.value.hint


@pytest.mark.parametrize("problem", [ImageUnavailable("the mirror cannot be reached"), StepError("no such package")])
def test_what_says_nothing_of_the_release_ends_it_at_once(problem: Exception, tmp_path: Path) -> None:
    bench = Bench(tmp_path, mirror=problem)
    with pytest.raises(type(problem)) as caught:
        bench.get()
    assert caught.value is problem and bench.asked == [MIRROR]


def test_the_lock_keeps_the_archive_and_forgets_it_with_the_next_image_of_the_mirror() -> None:
    lock = Lock().with_images({"image debian:11": "sha256:x"}, {}, {"debian:11": "old"})
    assert lockfile.loads(lockfile.dumps(lock), "lock") == lock and lock.archives == {"debian:11": "old"}
    assert lock.with_images({}, {}, {"debian:11": None}).archives == {}
    assert "archives" not in lockfile.dumps(Lock()), "a lock of before is not written anew"
