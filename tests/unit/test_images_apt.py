"""Reading the machine's apt configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.images.debian import apt

CODENAMES = ("bullseye", "bookworm", "trixie", "forky")
KEYRING = Path("/keys/all.gpg")


def mirrors(text: str, *, deb822: bool = True) -> tuple[str | None, str | None]:
    sources = apt.parse_deb822(text) if deb822 else apt.parse_list(text)
    archive, security = apt.find_mirrors(sources, CODENAMES)
    return (archive.uri if archive else None, security.uri if security else None)


DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.test/debian/
# a comment inside
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.test/debian
Suites: bookworm bookworm-updates
Components: main

types: deb
uris: http://mirror.test/debian-security
suites: bookworm-security
components: main
"""


def test_deb822_gives_archive_and_security() -> None:
    assert mirrors(DEB822) == ("http://mirror.test/debian", "http://mirror.test/debian-security")


def test_a_deb822_stanza_is_read_whole() -> None:
    first = apt.parse_deb822(DEB822)[0]
    assert first.types == ("deb", "deb-src")
    assert first.suites == ("bookworm", "bookworm-updates")
    assert first.options == {"signed-by": "/usr/share/keyrings/debian-archive-keyring.gpg"}


def test_a_key_inside_a_stanza_keeps_its_lines() -> None:
    text = "Types: deb\nURIs: http://m.test/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN\n .\n x\n"
    assert apt.parse_deb822(text)[0].options["signed-by"] == "-----BEGIN\n.\nx"


def test_one_line_style() -> None:
    text = """
# deb http://commented.test/debian bookworm main
deb [ arch=amd64 signed-by=/a.gpg trusted=yes ] http://m.test/debian bookworm main contrib # why
deb-src http://m.test/debian bookworm main
deb http://m.test/debian bookworm-updates main
deb cdrom:[Debian 12]/ bookworm main
deb http://s.test/debian-security/ bookworm-security/updates main
deb http://s.test/debian-security bookworm-security main
nonsense
"""
    sources = apt.parse_list(text)
    assert sources[0].options == {"arch": "amd64", "signed-by": "/a.gpg", "trusted": "yes"}
    assert sources[0].components == ("main", "contrib")
    assert mirrors(text, deb822=False) == ("http://m.test/debian", "http://s.test/debian-security")


@pytest.mark.parametrize(
    "line",
    [
        "deb http://archive.test/ubuntu jammy main",
        "deb [signed-by=/k.gpg] https://vendor.test/linux bookworm stable",
        "deb [signed-by=/k.gpg] https://vendor.test/apt bookworm main",
        "deb https://vendor.test/apt bookworm-pgdg main",
        "deb cdrom:[Debian]/ bookworm main",
        "deb-src http://m.test/debian bookworm main",
    ],
)
def test_what_is_no_debian_mirror(line: str) -> None:
    assert mirrors(line, deb822=False) == (None, None)


def test_another_vendor_that_names_its_suites_alike_does_not_win() -> None:
    text = """
deb [signed-by=/vendor.gpg] https://vendor.test/node bookworm main
deb http://m.test/mirrors/main bookworm main
deb http://m.test/mirrors/main bookworm-updates main
"""
    assert mirrors(text, deb822=False)[0] == "http://m.test/mirrors/main"


def test_the_lines_of_another_suite() -> None:
    setup = apt.AptSetup(
        apt.Mirror("http://m.test/debian", signed_by="/own.gpg"),
        apt.Mirror("http://m.test/debian-security", trusted=True, check_valid_until=False),
    )
    assert apt.source_lines(setup, "bullseye", keyrings=[KEYRING]) == (
        'deb [signed-by="/own.gpg,/keys/all.gpg"] http://m.test/debian bullseye main',
        'deb [signed-by="/own.gpg,/keys/all.gpg"] http://m.test/debian bullseye-updates main',
        'deb [signed-by="/keys/all.gpg" trusted=yes check-valid-until=no]'
        " http://m.test/debian-security bullseye-security main",
    )
    assert apt.source_lines(apt.AptSetup(), "bullseye", keyrings=[KEYRING]) == ()


def test_settings_that_travel_and_those_that_do_not() -> None:
    dump = """\
Acquire::http::Proxy "http://me:secret@proxy.test:3128";
Acquire::https::CAInfo "/etc/ssl/own.pem";
Acquire::https::Verify-Peer "true";
Acquire::Check-Valid-Until "false";
Acquire::Languages "en";
Acquire::GzipIndexes "true";
APT::Install-Recommends "1";
DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb || true";
Acquire::http::Proxy::plain.test "DIRECT";
Dir::Etc "etc/apt";
"""
    kept = apt.kept_settings(apt.parse_dump(dump))
    assert [name for name, _ in kept] == [
        "Acquire::http::Proxy",
        "Acquire::https::CAInfo",
        "Acquire::https::Verify-Peer",
        "Acquire::Check-Valid-Until",
        "Acquire::http::Proxy::plain.test",
    ]
    assert apt.AptSetup(settings=kept).ca_bundle == Path("/etc/ssl/own.pem")
    assert "secret" not in repr(apt.AptSetup(apt.Mirror("http://me:secret@m.test/debian"), settings=kept))


def test_the_real_apt_config_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = tmp_path / "etc"
    (etc / "parts.d").mkdir(parents=True)
    (etc / "auth.conf").touch()
    (etc / "parts.d" / "one.sources").write_text(DEB822)
    (etc / "parts.d" / "old.sources.disabled").write_text(DEB822.replace("mirror.test", "disabled.test"))
    (etc / "my.list").write_text("deb http://other.test/debian trixie main\n")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc "{etc}";\nDir::Etc::sourcelist "my.list";\nDir::Etc::sourceparts "parts.d";\n'
        'Acquire::http::Proxy "http://proxy.test:1";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    setup = apt.read(CODENAMES)
    assert setup.archive is not None and setup.archive.uri == "http://mirror.test/debian"
    assert setup.security is not None and setup.security.uri == "http://mirror.test/debian-security"
    assert ("Acquire::http::Proxy", "http://proxy.test:1") in setup.settings
    assert ("Dir::Etc::netrc", str(etc / "auth.conf")) in setup.netrc


@given(st.text(alphabet="deb:/[]= \n#\"'-signedURIsTypSuiCompn.", max_size=300))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for source in (*apt.parse_list(text), *apt.parse_deb822(text)):
        assert source.uris and source.suites
    apt.parse_dump(text)
    apt.find_mirrors(apt.parse_list(text), CODENAMES)
