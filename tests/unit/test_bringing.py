"""`bring`: the kit's bundle with its helpers, from a folder, an archive, a URL; and whatever else it may be given."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from py_portable import __version__
from py_portable.commands import bring as bring_command
from py_portable.engines import static_helpers
from py_portable.engines.static_helpers.stored import brought, helpers
from py_portable.errors import ConfigError
from py_portable.formats.folder_archive import pack
from py_portable.store import Store


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Of a machine that the kit has no helpers for; it takes no time. Returns where it has compiled to."""
    asked: list[Path] = []

    def put(out: Path) -> None:
        asked.append(out)
        out.mkdir(parents=True, exist_ok=True)
        for name in static_helpers.NAMES:
            (out / name).write_text("compiled")

    monkeypatch.setattr(static_helpers, "compiled", lambda: None)
    monkeypatch.setattr(static_helpers, "put", put)
    return asked


def bundle(folder: Path, version: str = __version__) -> Path:
    place = folder / "py-portable"
    place.mkdir(parents=True)
    (place / "py-portable").write_text(f"#!/bin/sh\necho py-portable, version {version}\n")
    (place / "py-portable").chmod(0o755)
    (place / "link").symlink_to("py-portable")
    return place


def archive(folder: Path, of: Path) -> tuple[str, str]:
    path = folder / "kit.tar.zst"
    pack(of, path, epoch=0)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_and_an_archive_become_the_same_kit(tmp_path: Path, compiler: list[Path]) -> None:
    made = bundle(tmp_path / "made")
    packed, sha256 = archive(tmp_path, made)
    for number, (what, digest) in enumerate(((str(made), ""), (packed, ""), (packed, sha256))):
        kit = tmp_path / str(number) / "kit"
        bring_command.bring(what, digest, kit)
        assert sorted(p.name for p in kit.iterdir()) == ["link", "py-portable", "share"]
        assert (kit / "link").readlink() == Path("py-portable")
        assert (kit / "py-portable").stat().st_mode & 0o777 == 0o755
        assert (brought(kit) / "cell-run").is_file()
        assert list(kit.parent.iterdir()) == [kit]
    assert len(compiler) == 3
    assert not (made / "share").exists()


def test_where_the_kit_has_helpers_none_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_helpers, "compiler", lambda: pytest.fail("a compiler was looked for"))
    bring_command.bring(str(bundle(tmp_path / "made")), "", tmp_path / "kit")
    assert sorted(p.name for p in (tmp_path / "kit").iterdir()) == ["link", "py-portable"]


def test_helpers_that_a_bundle_has_are_not_compiled_and_an_old_kit_gives_way(
    tmp_path: Path, compiler: list[Path]
) -> None:
    made = bundle(tmp_path / "made")
    static_helpers.put(brought(made))
    (tmp_path / "kit").mkdir()
    for _ in range(2):
        bring_command.bring(str(made), "", tmp_path / "kit")
    assert len(compiler) == 1


def test_the_kit_takes_the_helpers_that_were_brought_and_else_compiles(
    tmp_path: Path, compiler: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    static_helpers.put(brought(tmp_path / "prefix"))
    assert helpers(Store(tmp_path / "store")) == brought(tmp_path / "prefix")
    # Half of them is none.
    (brought(tmp_path / "prefix") / "canary").unlink()
    assert tmp_path / "store" in helpers(Store(tmp_path / "store")).parents


def refused(what: str, sha256: str, into: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        bring_command.bring(what, sha256, into)
    return raised.value.render()


def test_what_is_no_kit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    made, old = bundle(tmp_path / "made"), bundle(tmp_path / "old", "0.0.1")
    packed, sha256 = archive(tmp_path, made)
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "keep").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    for what, digest, said in (
        ("", "", "no bundle of py-portable is named"),
        (str(tmp_path / "nowhere"), "", "there is no such file"),
        (str(tmp_path / "text"), "", "cannot be read as an archive"),
        (packed, "0" * 64, f"its sha256 is {sha256[:12]}"),
        (str(tmp_path / "other"), "", "does not contain a folder with py-portable in it"),
        (str(old), "", f"is not py-portable {__version__}"),
        ("https://example.invalid/kit.tar.zst", "", "needs its SHA-256"),
        ("https://example.invalid/kit.tar.zst", "$(x)", "needs its SHA-256"),
    ):
        assert said in refused(what, digest, out / "kit")
        assert list(out.iterdir()) == []
    assert f"py-portable-{__version__}-" in refused("", "", out / "kit")
    assert "was not made by `py-portable bring`" in refused(str(made), "", tmp_path / "other")
    assert (tmp_path / "other" / "keep").read_text() == "mine"
