"""What is read of a Debian package before anything of it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.errors import ConfigError
from py_portable.formats import FORMATS, Made
from py_portable.formats.deb_file import depends, elves, is_deb, look
from tests.debs import deb, raw_deb

SCRIPT = "#!/bin/sh\necho hello\n"


def made(path: Path, **meta: str) -> Made:
    return Made(path.name, "file", path, meta, sha256=f"sha256:{path}")


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_its_name_programs_and_elf_files_are_seen(tmp_path: Path, compression: str) -> None:
    program = Path(sys.executable).resolve().read_bytes()
    package = deb(
        tmp_path,
        {"usr/bin/hello": SCRIPT, "usr/lib/hand-made/bin/real": program, "usr/share/doc/hello": "hello"},
        links={"usr/bin/real": "../lib/hand-made/bin/real"},
        compression=compression,
        version="1:2.0-3",
    )
    assert is_deb(package)
    found = look(package, "sha256:of")
    assert (found.name, found.version) == ("hand-made", "1:2.0-3")
    assert found.programs == ("/usr/bin/hello", "/usr/bin/real")
    assert found.elves == {"/usr/lib/hand-made/bin/real", "/usr/bin/real"}
    assert found.floor and found.floor.startswith("2.")
    assert [len(data) for data in elves(package)] == [len(program)]


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("libc6 (>= 2.36), python3 (>= 3.11), python3 (<< 3.12)", ("libc6", "python3")),
        (
            "exim4 | mail-transport-agent, libc6:any (>= 2), debconf (>= 0.5) | debconf-2.0",
            ("debconf", "exim4", "libc6"),
        ),
        ("", ()),
    ],
)
def test_what_it_depends_on_is_read_by_name(tmp_path: Path, field: str, names: tuple[str, ...]) -> None:
    more = {"Depends": field} if field else {}
    assert depends(deb(tmp_path, {"usr/bin/hello": SCRIPT}, fields=more), f"sha256:{field}") == names


def test_it_is_installed_started_and_removed_by_the_images_dpkg(tmp_path: Path) -> None:
    package = deb(tmp_path, {"usr/bin/hello": SCRIPT})
    start = FORMATS["file"].start(made(package))
    assert (start.program, start.binds, start.is_elf) == ("/usr/bin/hello", (), False)
    assert start.install and start.install.remove
    assert start.install.target is None and start.install.manager == "/usr/bin/dpkg"
    assert start.install.argv == ("/usr/bin/dpkg", "--install", "/run/py-portable-packages/package.deb")
    assert start.install.remove.argv == ("/usr/bin/dpkg", "--purge", "hand-made")
    assert start.sources == (package,) and start.install.older is None


def test_an_older_package_comes_first_and_is_part_of_the_question(tmp_path: Path) -> None:
    package, older = deb(tmp_path, {"usr/bin/hello": SCRIPT}, version="2"), deb(tmp_path, {"usr/bin/hello": SCRIPT})
    start = FORMATS["file"].start(made(package, older=str(older), older_sha256="sha256:older"))
    assert start.install and start.install.older
    assert start.install.older.argv[-1] == "/run/py-portable-packages/older.deb"
    assert start.sources == (package, older) and "sha256:older" in start.needs
    other = deb(tmp_path, {"usr/bin/hello": SCRIPT}, name="another")
    with pytest.raises(
        ConfigError, match=r"it is the package another, and hand-made_2_all\.deb is the package hand-made"
    ):
        FORMATS["file"].start(made(package, older=str(other), older_sha256="sha256:other"))


def test_which_program_is_started(tmp_path: Path) -> None:
    two = deb(tmp_path, {"usr/bin/one": SCRIPT, "usr/bin/two": SCRIPT, "usr/lib/x/bin/three": SCRIPT})
    with pytest.raises(ConfigError, match="several programs in /usr/bin") as caught:
        FORMATS["file"].start(made(two))
    assert caught.value.hint and caught.value.hint.endswith(": one, two") and "--program" in caught.value.hint
    assert FORMATS["file"].start(made(two, script="two")).program == "/usr/bin/two"
    assert FORMATS["file"].start(made(two, script="/usr/lib/x/bin/three")).program == "/usr/lib/x/bin/three"
    with pytest.raises(ConfigError, match="the package has no /usr/bin/three"):
        FORMATS["file"].start(made(two, script="three"))
    named = deb(tmp_path, {"usr/bin/named": SCRIPT, "usr/bin/two": SCRIPT}, name="named")
    assert FORMATS["file"].start(made(named)).program == "/usr/bin/named"
    none = deb(tmp_path, {"usr/share/x": "x"}, name="none")
    with pytest.raises(ConfigError, match="no program in /usr/bin"):
        FORMATS["file"].start(made(none))


@given(cut=st.integers(0, 2000), at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_damaged_package_is_an_error_with_its_path_and_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(_sound(tmp_path_factory))
    data[at % len(data)] = byte
    path = folder / "damaged.deb"
    path.write_bytes(data[: len(data) - cut])
    is_deb(path)
    try:
        look(path, f"sha256:{folder}")
    except ConfigError as problem:
        assert problem.where == str(path)
    list(elves(path))


_SOUND: list[bytes] = []


def _sound(factory: pytest.TempPathFactory) -> bytes:
    if not _SOUND:
        _SOUND.append(deb(factory.mktemp("sound"), {"usr/bin/hello": SCRIPT}).read_bytes())
    return _SOUND[0]


def test_what_is_no_package_is_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("!<arch>\n")
    assert not is_deb(tmp_path / "text") and not is_deb(tmp_path) and not is_deb(tmp_path / "none")
    (tmp_path / "x.deb").write_bytes(b"!<arch>\ndebian-binary")
    with pytest.raises(ConfigError, match="it is damaged or not a Debian package"):
        look(tmp_path / "x.deb", "sha256:x")


@pytest.mark.parametrize("name", ["./usr/../../etc/passwd", "../x", "./usr/bin/.."])
def test_a_path_that_leads_out_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    package = raw_deb(tmp_path / "out.deb", {name: b"spoilt"})
    with pytest.raises(ConfigError, match="leads out of where it is installed"):
        look(package, f"sha256:{name}")
