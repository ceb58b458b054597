"""The tag checker: which tags admit which, what a wheel promises, and the program's own manners."""

from __future__ import annotations

import importlib.util
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.inspect.elf.members import elf_members
from py_portable.inspect.wheel_check import check, main
from py_portable.inspect.wheel_tags import admits, expand, is_known, supported
from tests.unit.elf_builder import build_elf, build_wheel, needing

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "whl-tags-checker.py"
X86 = "manylinux_2_28_x86_64"
MUSL = build_elf(interpreter="/lib/ld-musl-x86_64.so.1", needed=["libc.musl-x86_64.so.1"])


@pytest.mark.parametrize(
    ("allowed", "tag", "loose", "exact"),
    [
        (X86, "manylinux_2_28_x86_64", True, True),
        (X86, "manylinux_2_27_x86_64", True, False),
        (X86, "manylinux_2_5_x86_64", True, False),
        (X86, "manylinux_2_29_x86_64", False, False),
        (X86, "manylinux_2_100_x86_64", False, False),
        (X86, "manylinux_1_5_x86_64", False, False),
        (X86, "manylinux_3_0_x86_64", False, False),
        (X86, "manylinux_2_17_aarch64", False, False),
        (X86, "manylinux_2_17_i686", False, False),
        (X86, "manylinux2014_x86_64", True, False),
        (X86, "manylinux2010_x86_64", True, False),
        (X86, "manylinux1_x86_64", True, False),
        (X86, "manylinux1_i686", False, False),
        (X86, "linux_x86_64", False, False),
        (X86, "any", False, False),
        (X86, "musllinux_1_1_x86_64", False, False),
        ("manylinux2014_x86_64", "manylinux_2_17_x86_64", True, False),
        ("manylinux_2_17_x86_64", "manylinux2014_x86_64", True, False),
        ("manylinux2014_x86_64", "manylinux_2_18_x86_64", False, False),
        ("manylinux2010_x86_64", "manylinux_2_12_x86_64", True, False),
        ("manylinux_2_12_x86_64", "manylinux2010_x86_64", True, False),
        ("manylinux2010_x86_64", "manylinux2014_x86_64", False, False),
        ("manylinux1_x86_64", "manylinux_2_5_x86_64", True, False),
        ("manylinux_2_5_x86_64", "manylinux1_x86_64", True, False),
        ("manylinux1_x86_64", "manylinux_2_6_x86_64", False, False),
        ("musllinux_1_2_x86_64", "musllinux_1_1_x86_64", True, False),
        ("musllinux_1_1_x86_64", "musllinux_1_2_x86_64", False, False),
        ("musllinux_1_2_x86_64", "manylinux_1_1_x86_64", False, False),
        ("any", "any", True, True),
        ("any", "linux_x86_64", False, False),
        ("linux_x86_64", "linux_x86_64", True, True),
        ("linux_x86_64", "manylinux_2_5_x86_64", False, False),
        ("linux_x86_64", "linux_aarch64", False, False),
        ("win_amd64", "win_amd64", True, True),
        ("macosx_11_0_arm64", "macosx_10_9_arm64", False, False),
    ],
)
def test_admits(allowed: str, tag: str, loose: bool, exact: bool) -> None:
    assert admits(allowed, tag) is loose
    assert supported([tag], [allowed]) is loose
    assert supported([tag], [allowed], exact=True) is exact


def test_one_admitted_tag_of_several_is_enough() -> None:
    assert supported(["manylinux_2_31_x86_64", "manylinux_2_28_x86_64"], [X86])
    assert not supported(["manylinux_2_31_x86_64", "manylinux_2_29_x86_64"], [X86])
    assert supported(["any"], [X86, "any"], exact=True)


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["x86_64", "aarch64"]))
def test_admitting_is_an_order_on_versions(ours: int, theirs: int, arch: str) -> None:
    assert admits(f"manylinux_2_{ours}_x86_64", f"manylinux_2_{theirs}_{arch}") is (arch == "x86_64" and theirs <= ours)


def test_expand() -> None:
    assert expand(["Manylinux_2_17_x86_64.manylinux2014_x86_64", "any", "any"]) == (
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
        "any",
    )


@pytest.mark.parametrize(
    "tag", ["", "manylinux_2_28", "manylinux2014", "x86_64", "manylinux_2_28_x86-64", "linux", "foo"]
)
def test_tags_that_cannot_be(tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not is_known(tag)
    build_wheel(tmp_path, "foo-1.0-py3-none-any.whl")
    assert main([str(tmp_path), "any", tag]) == 2
    assert f"Error: not a platform tag: {tag}" in capsys.readouterr().err


def details(folder: Path, *allowed: str, exact: bool = False) -> list[str]:
    """All details of all findings, each of which must name the wheel."""
    return [line for finding in check(folder, allowed, exact) for line in finding.details]


def test_good_wheels(tmp_path: Path) -> None:
    build_wheel(tmp_path, "pure-1.0-py3-none-any.whl")
    build_wheel(tmp_path, "pure2-1.0-py2.py3-none-any.whl")
    build_wheel(tmp_path, "tool-1.0-1build-py3-none-manylinux1_x86_64.whl")
    build_wheel(
        tmp_path,
        "foo-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        {"foo/a.so": needing("GLIBC_2.17", "f"), "foo/weak.so": needing("GLIBC_2.38", "g", weak=True)},
    )
    build_wheel(tmp_path, "static-1.0-py3-none-manylinux_2_5_x86_64.whl", {"bin/x": build_elf(kind=2, dynamic=False)})
    build_wheel(tmp_path, "bpf-1.0-py3-none-manylinux_2_5_x86_64.whl", {"x.o": build_elf(kind=1, machine=247)})
    (tmp_path / "README.txt").write_text("not a wheel")
    assert check(tmp_path, [X86, "any"]) == []


def test_message_and_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_wheel(tmp_path, "good-1.0-cp313-cp313-manylinux_2_17_x86_64.whl")
    assert main([str(tmp_path), X86]) == 0
    assert capsys.readouterr() == ("Success: 1 wheel has supported platform tags\n", "")
    assert main([str(tmp_path), X86, "--names-only"]) == 0
    assert capsys.readouterr().out == "Success: 1 wheel has supported platform tags (not looked inside)\n"
    build_wheel(tmp_path, "bad-1.0-py3-none-linux_x86_64.whl")
    build_wheel(tmp_path, "pure-1.0-py3-none-any.whl")
    assert main([str(tmp_path), X86]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Error: wheel package without supported platform tags was found: bad-1.0-py3-none-linux_x86_64.whl.",
        "  has linux_x86_64; allowed: manylinux_2_28_x86_64",
        "Error: wheel package without supported platform tags was found: pure-1.0-py3-none-any.whl.",
        "  has any; allowed: manylinux_2_28_x86_64",
    ]
    assert main(["--exact", str(tmp_path), X86, "linux_x86_64", "any"]) == 1
    assert capsys.readouterr().out.splitlines()[0].endswith("found: good-1.0-cp313-cp313-manylinux_2_17_x86_64.whl.")


@pytest.mark.parametrize("exact", [False, True])
def test_a_smuggled_newer_glibc_is_named_with_file_symbol_and_version(tmp_path: Path, exact: bool) -> None:
    symbols = ["pthread_create", "dlopen", "dlsym", "close_range"]
    build_wheel(
        tmp_path,
        "foo-1.0-cp313-cp313-manylinux_2_28_x86_64.whl",
        {"foo/ok.so": needing("GLIBC_2.28", "f"), "foo/new.so": needing("GLIBC_2.34", *symbols)},
    )
    assert details(tmp_path, X86, exact=exact) == [
        "foo/new.so: needs GLIBC_2.34 of libc.so.6 (for close_range, dlopen, dlsym and 1 more), "
        "but manylinux_2_28_x86_64 promises glibc 2.28"
    ]


def test_the_strictest_tag_of_a_set_is_the_promise(tmp_path: Path) -> None:
    name = "foo-1.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.manylinux_2_28_x86_64.whl"
    build_wheel(tmp_path, name, {"foo/a.so": needing("GLIBC_2.28", "fcntl64")})
    (detail,) = details(tmp_path, X86)
    assert "promises glibc 2.17" in detail


@pytest.mark.parametrize(
    ("tag", "data", "message"),
    [
        (
            "manylinux_2_28_x86_64",
            needing("GLIBC_ABI_DT_RELR"),
            "x: needs GLIBC_ABI_DT_RELR of libc.so.6, but",
        ),
        (
            "manylinux_2_28_x86_64",
            needing("GLIBC_2.4", extra_tags=[(36, 0)]),
            "x: needs DT_RELR of libc.so.6, but",
        ),
        (
            "manylinux_2_28_x86_64",
            needing("GLIBC_PRIVATE", "_dl_sym"),
            "(for _dl_sym), which belongs to one particular build",
        ),
        ("manylinux_2_28_x86_64", needing("GLIBC_ABI_NEW"), "is a version that this check does not know"),
        ("manylinux_2_28_x86_64", needing("GLIBC_2.17", machine=183), "x: is made for aarch64, but"),
        ("manylinux_2_28_x86_64", build_elf(bits=32, machine=3), "x: is made for i686, but"),
        ("manylinux_2_28_x86_64", MUSL, "x: is linked against musl, but"),
        ("musllinux_1_2_x86_64", needing("GLIBC_2.4"), "x: is linked against glibc, but"),
        ("any", build_elf(), "x: is a x86_64 ELF file, but the tag any promises none"),
        ("manylinux_2_28_x86_64", build_elf()[:-1], "x: broken ELF file: cut short"),
    ],
)
def test_broken_promises(tmp_path: Path, tag: str, data: bytes, message: str) -> None:
    build_wheel(tmp_path, f"foo-1.0-py3-none-{tag}.whl", {"x": data})
    (detail,) = details(tmp_path, tag)
    assert message in detail


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("linux_x86_64", needing("GLIBC_2.99")),
        ("musllinux_1_2_x86_64", MUSL),
        ("manylinux_2_31_armv7l", build_elf(bits=32, machine=40)),
        ("manylinux_2_17_ppc64le", build_elf(machine=21)),
        ("manylinux_2_17_s390x", build_elf(machine=22, order="big")),
    ],
)
def test_kept_promises(tmp_path: Path, tag: str, data: bytes) -> None:
    build_wheel(tmp_path, f"foo-1.0-py3-none-{tag}.whl", {"x": data})
    assert details(tmp_path, tag) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (["cp313-cp313-manylinux_2_28_x86_64"], []),
        (["CP313-cp313-manylinux_2_28_x86_64"], []),
        (
            ["cp313-cp313-linux_x86_64"],
            [
                "says cp313-cp313-linux_x86_64, which the file name does not",
                "does not say cp313-cp313-manylinux_2_28_x86_64, which the file name does",
            ],
        ),
        (
            ["cp313-cp313-manylinux_2_28_x86_64", "cp312-cp312-manylinux_2_28_x86_64"],
            ["says cp312-cp312-manylinux_2_28_x86_64, which the file name does not"],
        ),
        ([], ["does not say cp313-cp313-manylinux_2_28_x86_64, which the file name does"]),
        (["x\x1b[0m"], ["says x\\x1b[0m, which the file name does not", "does not say"]),
        (
            [".".join("abcdefghij" * 9) + "-" + ".".join("abcdefghij" * 9) + "-any"],
            ["says a.b.c", "does not say"],
        ),
    ],
)
def test_the_tags_inside_agree_with_the_name(tmp_path: Path, said: Sequence[str], message: Sequence[str]) -> None:
    build_wheel(tmp_path, f"foo-1.0-cp313-cp313-{X86}.whl", tags=said)
    found = details(tmp_path, X86)
    assert len(found) == len(message)
    for line, text in zip(found, message, strict=True):
        assert line.startswith("foo-1.0.dist-info/WHEEL: ")
        assert text in line


def test_a_compressed_set_may_be_written_in_one_line_inside(tmp_path: Path) -> None:
    name = "foo-1.0-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64"
    build_wheel(tmp_path, name + ".whl", tags=["py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64"])
    assert details(tmp_path, X86) == []


def test_wheels_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a-1.0-py3-none-any.whl").touch()
    (tmp_path / "b-1.0-py3-none-any.whl").write_bytes(os.urandom(1000))
    (tmp_path / "c-1.0-py3-none-any.whl").mkdir()
    (tmp_path / "d-1.0-py3-none-any.whl").symlink_to("nowhere")
    os.mkfifo(tmp_path / "e-1.0-py3-none-any.whl")
    with zipfile.ZipFile(tmp_path / "f-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("f/__init__.py", "")
    with zipfile.ZipFile(tmp_path / "g-1.0-py3-none-any.whl", "w") as archive:
        for project in ("g", "h"):
            archive.writestr(f"{project}-1.0.dist-info/WHEEL", "Tag: py3-none-any\n")
    with zipfile.ZipFile(tmp_path / "h-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("h-1.0.dist-info/WHEEL", b"\xff\xfe")
    expected = {
        "a": "cannot be read as a zip",
        "b": "cannot be read as a zip",
        "c": "is not a regular file",
        "d": "is not a regular file",
        "e": "is not a regular file",
        "f": "has no *.dist-info/WHEEL files",
        "g": "has 2 *.dist-info/WHEEL files",
        "h": "WHEEL: cannot be read",
    }
    found = check(tmp_path, ["any"])
    assert [finding.wheel[0] for finding in found] == list(expected)
    for finding in found:
        assert expected[finding.wheel[0]] in finding.details[0]
    assert check(tmp_path, ["any"], names_only=True) == []


def test_a_member_without_a_name_is_looked_at(tmp_path: Path) -> None:
    """`zipfile` ends a name at its first NUL."""
    path = tmp_path / "app-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("Qx.so", b"\x7fELF not one")
    path.write_bytes(path.read_bytes().replace(b"Qx.so", b"\0x.so"))
    (member,) = elf_members(path)
    assert member[0] == ""


@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 10_000) | st.none())
def test_damaged_wheels_never_raise(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, cut: int | None
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = build_wheel(folder, f"foo-1.0-py3-none-{X86}.whl", {"foo/a.so": needing("GLIBC_2.34", "dlopen")})
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content[: cut if cut is None else cut % len(content)])
    # Nothing but names of members and padding may change without the wheel being found bad.
    assert all(finding.details and not finding.malformed for finding in check(folder, [X86]))


@pytest.mark.parametrize(
    "name",
    [
        "foo.whl",
        "foo-1.0-any.whl",
        "foo-1.0-py3-none-any.WHL",
        "foo-not.a.version!-py3-none-any.whl",
        "foo-1.0\n-py3-none-any.whl",
        "foo-1.0-x-py3-none-any.whl",
        "f oo-1.0-py3-none-any.whl",
        "foo-1.0-1\x1b]0;x\x07-py3-none-any.whl",
    ],
)
def test_malformed_names(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).touch()
    build_wheel(tmp_path, "bad-1.0-cp313-cp313-linux_x86_64.whl")
    assert main([str(tmp_path), X86]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert sum("Error: malformed wheel name: " in line for line in lines) == 1
    assert all(line.isprintable() for line in lines)
    assert sum("without supported platform tags was found: bad-1.0" in line for line in lines) == 1


def test_names_are_printed_on_one_line_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_wheel(tmp_path, f"foo-1.0-py3-none-{X86}.whl", {"a\n\x1b[31m.so": needing("GLIBC_2.34", "f\ng")})
    assert main([str(tmp_path), X86]) == 1
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    assert "a\\n\\x1b[31m.so: needs GLIBC_2.34 of libc.so.6 (for f\\ng)" in out


@pytest.mark.parametrize("name", ["::error file=x::forged", "a##[add-mask]b", "##vso[task]x"])
def test_no_name_in_a_wheel_is_obeyed_by_the_log_of_a_ci(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    build_wheel(tmp_path, f"foo-1.0-py3-none-{X86}.whl", {name: needing("GLIBC_2.34", "f")})
    assert main([str(tmp_path), X86]) == 1
    _, second = capsys.readouterr().out.splitlines()
    assert "needs GLIBC_2.34" in second
    assert not second.strip().startswith("::") and "##" not in second


def test_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing"), X86]) == 2
    assert "not a readable folder: No such file or directory" in capsys.readouterr().err
    assert main([str(tmp_path), X86]) == 2
    assert capsys.readouterr().err == f"Error: {tmp_path}: no wheels in this folder\n"
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file"), X86]) == 2
    assert "not a readable folder: Not a directory" in capsys.readouterr().err
    for argv in ([], [str(tmp_path)], [str(tmp_path), X86, "--unknown"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2


def test_options_stand_anywhere(tmp_path: Path) -> None:
    build_wheel(tmp_path, "good-1.0-cp313-cp313-manylinux_2_17_x86_64.whl")
    for argv in (["--exact", str(tmp_path), X86, "any"], [str(tmp_path), "--exact", X86, "any"],
                 [str(tmp_path), X86, "--exact", "any"], [str(tmp_path), X86, "any", "--exact"]):  # fmt: skip
        assert main(argv) == 1
        assert main([word for word in argv if word != "--exact"]) == 0


def test_the_script_is_up_to_date() -> None:
    made = subprocess.run([sys.executable, ROOT / "scripts" / "make-tags-checker", "--check"], check=False)
    assert made.returncode == 0, "run scripts/make-tags-checker"


def test_the_script_works_alone(tmp_path: Path) -> None:
    packaging = importlib.util.find_spec("packaging")
    assert packaging is not None
    assert packaging.origin is not None
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "packaging").symlink_to(Path(packaging.origin).parent)
    copy = tmp_path / "elsewhere.py"
    copy.write_bytes(SCRIPT.read_bytes())
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    name = f"foo-1.0-cp313-cp313-{X86}.whl"
    build_wheel(wheels, name, {"foo/new.so": needing("GLIBC_2.34", "dlopen")})

    def run(libraries: str) -> subprocess.CompletedProcess[str]:
        # -S: neither this project nor its libraries are there, only what PYTHONPATH says.
        argv = [sys.executable, "-S", str(copy), str(wheels), X86]
        env = {"PYTHONPATH": libraries}
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=env)

    done = run(str(libraries))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        f"Error: wheel package without supported platform tags was found: {name}.",
        f"  foo/new.so: needs GLIBC_2.34 of libc.so.6 (for dlopen), but {X86} promises glibc 2.28",
    ]
    done = run("")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Error: the Python library `packaging` is missing\n" in done.stderr


def test_a_terminal_that_lacks_the_letters_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "na\u00efve-1.0-py3-none-linux_x86_64.whl").touch()
    argv = [sys.executable, SCRIPT, tmp_path, X86, "--names-only"]
    env = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert "was found: na\\xefve-1.0-py3-none-linux_x86_64.whl." in done.stdout


def test_the_number_of_members_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py_portable.inspect.elf.members.MAX_MEMBERS", 1)
    build_wheel(tmp_path, "foo-1.0-py3-none-any.whl")
    assert details(tmp_path, "any") == ["more than 1 members"]


@pytest.mark.parametrize(("stated", "bad"), [(0xFFFFFFFE, False), (400, True), (5, True)])
def test_the_stated_size_of_a_member_is_not_believed(tmp_path: Path, stated: int, bad: bool) -> None:
    path = build_wheel(tmp_path, f"foo-1.0-py3-none-{X86}.whl", {"foo/a.so": needing("GLIBC_2.4", "f")})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", content, entry + 24, stated)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = details(tmp_path, X86)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
    assert [detail.startswith("foo/a.so: cannot be unpacked: ") for detail in found] == [True] * bad
