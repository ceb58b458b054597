"""Names of images: references, archives, aliases and mirrors."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.config.glibc import known_glibc
from py_portable.errors import ConfigError
from py_portable.images import ImageUnavailable
from py_portable.images.registry import aliases, mirrors
from py_portable.images.registry.reference import MAX_NAME, Reference, is_archive, parse, parse_archive

DIGEST = "sha256:" + "0123456789abcdef" * 4
SCRIPT = Path(__file__).parents[2] / "scripts/refresh-images"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ubuntu", Reference("ubuntu")),
        ("ubuntu:20.04", Reference("ubuntu", None, "20.04")),
        ("opensuse/leap:15.6", Reference("opensuse/leap", None, "15.6")),
        (f"alpine@{DIGEST}", Reference("alpine", None, None, DIGEST)),
        ("quay.io/pypa/manylinux_2_28_x86_64:2025.01.01-1",
         Reference("pypa/manylinux_2_28_x86_64", "quay.io", "2025.01.01-1")),
        (f"localhost:5000/a/b-c__d.e:T_1@{DIGEST}", Reference("a/b-c__d.e", "localhost:5000", "T_1", DIGEST)),
        ("localhost/x", Reference("x", "localhost")),
        ("10.0.0.7:80/x", Reference("x", "10.0.0.7:80")),
        ("HUB/x", Reference("x", "HUB")),
        ("oci:1.0", Reference("oci", None, "1.0")),
    ],
)  # fmt: skip
def test_references(text: str, expected: Reference) -> None:
    assert parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the repository is missing"),
        ("quay.io/", "the repository is missing"),
        (":tag", "the repository is missing"),
        ("Ubuntu", "'Ubuntu' cannot be part of a repository's name; repositories are written in lower case"),
        ("-v", "'-v' cannot be part of a repository's name"),
        ("a//b", "there is nothing between two of its slashes"),
        ("a/../b", "'..' cannot be part of a repository's name"),
        ("a b", "'a b' cannot be part of a repository's name"),
        ("a:", "'' is not a tag"),
        ("a:-x", "'-x' is not a tag"),
        ("a:" + "x" * 129, "is not a tag"),
        ("a@sha256:00", "write after @ sha256: and 64 lower-case hexadecimal digits"),
        (f"a@{DIGEST.upper()}", "write after @ sha256:"),
        ("a@sha512:" + "0" * 128, "digests must be sha256, not sha512"),
        ("me:secret@quay.io/x", "write after @ sha256:"),
        ("h_x.io/a", "'h_x.io' is not a host name"),
        ("h.io:0/a", "'0' is not a port"),
        ("h.io:99999/a", "'99999' is not a port"),
        ("h.io:http/a", "'http' is not a port"),
        ("[::1]:5000/a", "is not a host name"),
        ("https://quay.io/a", "is not a port"),
        ("a" * 64, "64 hexadecimal digits name an image on one machine only"),
        ("a/" + "b" * MAX_NAME, "registry and repository have more than 255 letters"),
        ("a\n", "cannot be part"),
        ("é", "cannot be part"),
    ],
)  # fmt: skip
def test_what_is_no_reference_says_why(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert why in caught.value.what
    assert "\n" not in caught.value.what


PART = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
HOST = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?\.){1,2}[a-z]{2,5}", fullmatch=True)


@given(
    registry=st.none() | HOST | st.builds(lambda h, p: f"{h}:{p}", HOST | st.just("localhost"), st.integers(1, 65535)),
    parts=st.lists(PART, min_size=1, max_size=4),
    tag=st.none() | st.builds("_{}".format, st.text("aZ0_.-", max_size=127)),
    digest=st.none() | st.just(DIGEST),
)
def test_a_reference_is_read_as_it_is_written(
    registry: str | None, parts: list[str], tag: str | None, digest: str | None
) -> None:
    made = Reference("/".join(parts), registry, tag, digest)
    if len(made.name) > MAX_NAME or re.fullmatch(r"[0-9a-f]{64}", made.name):
        return
    # Without a registry, a first part with a dot would be one.
    if registry is None and len(parts) > 1 and ("." in parts[0] or parts[0] == "localhost"):
        return
    assert parse(str(made)) == made
    assert parse(str(made.pinned(DIGEST))) == Reference(made.repository, registry, None, DIGEST)


@given(st.text() | st.text("aZ0._/:@+-", max_size=60))
def test_any_text_is_a_reference_or_a_refusal(text: str) -> None:
    try:
        found = parse(text)
    except ConfigError:
        return
    assert str(found) == text
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", text)


@pytest.mark.parametrize(
    ("text", "path", "ref"),
    [
        ("docker-archive:/a/b.tar", "/a/b.tar", None),
        ("oci-archive:b.tar:name:tag", "b.tar", "name:tag"),
        ("oci:./folder:latest", "folder", "latest"),
        ("oci-archive:/mit Leerzeichen/ü.tar", "/mit Leerzeichen/ü.tar", None),
    ],
)
def test_archives(text: str, path: str, ref: str | None) -> None:
    found = parse_archive(text)
    assert (str(found.path), found.ref, found.kind) == (path, ref, text.partition(":")[0])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("docker-archive:", "there is no path"),
        ("docker-archive:a\n", "control character"),
        ("docker-archive:a:", "the text after the path is not the name of an image"),
        ("docker-archive:a:b c", "the text after the path is not the name of an image"),
        ("oci-archive:" + "a" * 2000, "its path has more than 1000 letters"),
        ("tarball:x", "it does not begin with"),
    ],
)
def test_what_is_no_archive_says_why(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of an archive") as caught:
        parse_archive(text)
    assert why in caught.value.what


def test_a_repository_called_oci_is_no_folder() -> None:
    assert not is_archive("oci:1.0") and is_archive("oci:./1.0")


# --- aliases


@pytest.mark.parametrize("alias", ["manylinux2014", "manylinux_2_28", "manylinux_2_34", "musllinux_1_2"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_an_alias_is_the_image_for_this_machine_with_a_dated_tag(alias: str, machine: str) -> None:
    found = aliases.expand(parse(alias), machine)
    assert (found.registry, found.repository) == ("quay.io", f"pypa/{alias}_{machine}")
    assert re.fullmatch(r"20[0-9]{2}\.[01][0-9]\.[0-3][0-9]-[0-9]+", found.tag or "")
    assert aliases.expand(parse(f"{alias}_{machine}"), "riscv64") == found
    assert known_glibc(alias) == known_glibc(str(found))
    assert (known_glibc(alias) is None) == alias.startswith("musllinux")


def test_a_tag_or_digest_behind_an_alias_takes_the_place_of_the_dated_tag() -> None:
    name = "quay.io/pypa/manylinux_2_28_x86_64"
    assert str(aliases.expand(parse("manylinux_2_28:2024.01.01-1"), "x86_64")) == f"{name}:2024.01.01-1"
    assert str(aliases.expand(parse(f"manylinux_2_28@{DIGEST}"), "x86_64")) == f"{name}@{DIGEST}"


@pytest.mark.parametrize("text", ["manylinux_2_99", "manylinux_2_28_s390x", "x.io/manylinux_2_28", "ubuntu:1"])
def test_other_names_stay_as_they_are(text: str) -> None:
    assert aliases.expand(parse(text), "x86_64") == parse(text)


def test_an_alias_without_an_image_for_this_machine_says_so() -> None:
    with pytest.raises(ImageUnavailable, match="manylinux_2_28: no image for sparc64"):
        aliases.expand(parse("manylinux_2_28"), "sparc64")


def test_the_refresh_script_reads_both_forms_of_a_pin() -> None:
    script = runpy.run_path(str(SCRIPT))
    text = "".join(
        f"[{machine}]\n"
        f"manylinux2014 = quay.io/pypa/manylinux2014_{machine}:2024.11.02-1\n"
        f"manylinux_2_28 = quay.io/pypa/manylinux_2_28_{machine}@{DIGEST}  # 2026.10.26-1\n"
        f"manylinux_2_34 = quay.io/pypa/manylinux_2_34_{machine}@{DIGEST}  # 2026.10.26-1\n"
        f"musllinux_1_2 = quay.io/pypa/musllinux_1_2_{machine}@{DIGEST}  # 2026.10.26-1\n"
        for machine in ("x86_64", "aarch64")
    )
    made = script["render"]("9.9", text)
    assert 'x86_64 = "quay.io/pypa/manylinux2014_x86_64:2024.11.02-1"' in made
    assert 'aarch64 = "quay.io/pypa/manylinux_2_28_aarch64:2026.10.26-1"' in made
    with pytest.raises(ValueError, match="not understood"):
        script["render"]("9.9", text.replace("# 2026", "; 2026"))


# --- mirrors


def mirrored(name: str, value: str) -> str:
    return str(mirrors.apply(parse(name), mirrors.read({mirrors.VARIABLE: value})))


@pytest.mark.parametrize(
    ("name", "value", "asked"),
    [
        ("quay.io/pypa/x:1", "quay.io/=r.example/quay/", "r.example/quay/pypa/x:1"),
        ("quay.io/pypa/x:1", "quay.io=r.example", "r.example/pypa/x:1"),
        ("quay.io/pypa/x:1", "quay.io/=r.example/a/ quay.io/pypa/=r.example/b/", "r.example/b/x:1"),
        ("quay.io/pypa/x:1", "quay.io/pypa/=localhost:5000/ quay.io/=r.example/", "localhost:5000/x:1"),
        ("ubuntu:20.04", "docker.io/=r.example/hub/", "r.example/hub/library/ubuntu:20.04"),
        ("ubuntu:20.04", "docker.io/library/=r.example/hub/", "r.example/hub/ubuntu:20.04"),
        ("opensuse/leap:15.6", "docker.io/=r.example/", "r.example/opensuse/leap:15.6"),
        (f"docker.io/library/x@{DIGEST}", "docker.io/=r.example/", f"r.example/library/x@{DIGEST}"),
        ("ubuntu:20.04", "quay.io/=r.example/", "ubuntu:20.04"),
        ("quay.io/pypas/x", "quay.io/pypa=r.example/y", "quay.io/pypas/x"),
        ("quay.io.evil/x", "quay.io=r.example", "quay.io.evil/x"),
        ("ubuntu", "", "ubuntu"),
    ],
)
def test_the_longest_prefix_is_rewritten(name: str, value: str, asked: str) -> None:
    assert mirrored(name, value) == asked


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("quay.io/", "quay.io/: expected PREFIX=REPLACEMENT"),
        ("=x", "expected PREFIX=REPLACEMENT"),
        ("quay.io/=", "quay.io/: expected PREFIX=REPLACEMENT"),
        ("quay.io/=r.example", "quay.io/: either both sides end with a slash, or neither does"),
        ("quay=r.example", "a prefix begins with the host name of a registry"),
        ("quay.io/=/etc/", "a prefix begins with the host name of a registry"),
        ("quay.io/=-v/", "a prefix begins with the host name of a registry"),
        ("quay.io/=a.example/ quay.io/=b.example/", "the prefix appears twice"),
    ],
)
def test_a_malformed_mirror_names_the_variable(value: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mirrors.read({mirrors.VARIABLE: value})
    assert caught.value.where == "PY_PORTABLE_MIRRORS"
    assert why in caught.value.what


@pytest.mark.parametrize("value", ["quay.io/=https://me:secret@r.example/", "quay.io/=me:secret@r.example/"])
def test_a_login_among_the_mirrors_is_not_shown(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mirrors.read({mirrors.VARIABLE: value})
    assert "secret" not in caught.value.render()


def test_a_mirror_that_makes_no_reference_is_named() -> None:
    with pytest.raises(ConfigError, match="PY_PORTABLE_MIRRORS"):
        mirrored("quay.io/" + "a" * 240, "quay.io/=registry.example/" + "b" * 20 + "/")


@given(st.text(alphabet="abq.io/:=@ -", max_size=40))
def test_any_value_is_read_or_refused(value: str) -> None:
    try:
        found = mirrors.read({mirrors.VARIABLE: value})
    except ConfigError:
        return
    assert len(found) <= len(value.split())
