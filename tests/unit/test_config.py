"""A config that fits: what becomes of each key, and where it stands."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from py_portable.config import (
    App,
    Artifact,
    Baseline,
    Build,
    ImageSpec,
    InterpreterChoice,
    Portability,
    Smoke,
    Wheels,
)
from py_portable.config.options import NoOptions
from py_portable.errors import ConfigError
from py_portable.formats import file, load_config, nuitka, parse_config, schema_text

ROOT = Path(__file__).parents[2]
SHORT = b"""\
version: 1
app: {requirement: "httpie==3.2.4"}
python: 3.10
artifacts: [wheelhouse, nuitka-onefile]
"""

FULL = """\
version: 1
app:
  source: app
  script: myapp
  extras: [tls]
  smoke:
    - {args: [run, "3"], stdout: [one, "two two"], stderr: [warned], exit: 3, timeout: 1.5}
    - {}
python: "3.13"
interpreter: {provider: source, optimize: true}
baselines:
  default: {image: debian:11, packages: [libpq-dev], before: "apt-get clean\\ntrue"}
  newer: {image: manylinux_2_28}
build: {env: {CFLAGS: -O1, EMPTY: ""}, pass-env: [TOKEN]}
wheels:
  max-glibc: 2.31
  no-binary: [psycopg2, Foo.Bar_baz, foo-bar-baz]
  metadata: {Old_Thing: ["six>=1.10", 'x; python_version < "4"']}
  build-requires: {old-thing: [setuptools<60]}
artifacts:
  binary:
    format: nuitka-onefile
    from: wheels
    include-packages: [myapp.plugins]
    include-data: [myapp]
    args: [--python-flag=-O]
    lto: true
    smoke: [{args: [--version]}]
  wheels: {format: wheelhouse, baseline: newer, python: 3.12}
  folder: {format: nuitka-standalone}
  mine: {format: file, path: ../built/app}
portability:
  images: ["debian:11", {image: "alpine:3.22", optional: true, expect: "fail:musl"}]
  probes: [no-home]
  controls: [built-too-new]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    return tmp_path


def test_every_key_arrives(folder: Path) -> None:
    config = parse_config(FULL.encode(), "portable.yaml", folder)

    own = Smoke(("run", "3"), ("one", "two two"), ("warned",), 3, 1.5)
    smoke = (own, Smoke(args=()))
    optimized = InterpreterChoice("source", True)
    assert config.app == App(folder / "app", None, "myapp", None, ("tls",), smoke)
    assert config.python == "3.13"
    assert config.interpreter == InterpreterChoice("source", True)
    assert config.baselines == {
        "default": Baseline("default", "debian:11", ("libpq-dev",), "apt-get clean\ntrue"),
        "newer": Baseline("newer", "manylinux_2_28"),
    }
    assert config.build == Build({"CFLAGS": "-O1", "EMPTY": ""}, ("TOKEN",))
    assert config.wheels == Wheels(
        max_glibc="2.31",
        no_binary=("psycopg2", "foo-bar-baz"),
        metadata={"old-thing": ("six>=1.10", 'x; python_version < "4"')},
        build_requires={"old-thing": ("setuptools<60",)},
    )
    assert config.artifacts == {
        "wheels": Artifact("wheels", "wheelhouse", "newer", "3.12", None, smoke, NoOptions(), optimized),
        "binary": Artifact(
            "binary",
            "nuitka-onefile",
            "newer",
            "3.12",
            "wheels",
            (Smoke(("--version",)),),
            nuitka.NuitkaOptions(("myapp.plugins",), ("myapp",), ("--python-flag=-O",), True),
            optimized,
        ),
        "folder": Artifact(
            "folder", "nuitka-standalone", "default", "3.13", None, smoke, nuitka.NuitkaOptions(), optimized
        ),
        "mine": Artifact("mine", "file", None, None, None, smoke, file.FileOptions(folder / "../built/app"), optimized),
    }
    assert config.portability == Portability(
        (ImageSpec("debian:11"), ImageSpec("alpine:3.22", True, "fail:musl")),
        ("no-home",),
        ("built-too-new",),
    )
    assert config.sha256 == hashlib.sha256(FULL.encode()).hexdigest()
    assert config.version == 1


def test_an_artifact_comes_after_the_one_it_is_made_from(folder: Path) -> None:
    config = parse_config(FULL.encode(), "portable.yaml", folder)
    assert list(config.artifacts) == ["wheels", "binary", "folder", "mine"]


def test_what_is_left_out_has_its_default() -> None:
    config = parse_config(SHORT, "portable.yaml", Path("/nowhere"))

    smoke = (Smoke(("--help",), (), (), 0, 20.0),)
    assert config.app == App(None, "httpie==3.2.4", None, None, (), smoke)
    assert config.python == "3.10"
    assert config.interpreter == InterpreterChoice("source", False)
    assert config.baselines == {"default": Baseline("default", "debian:11", (), None)}
    assert config.build == Build({}, ())
    assert config.wheels == Wheels(None, (), {}, {})
    assert list(config.artifacts) == ["wheelhouse", "nuitka-onefile"]
    assert config.artifacts["wheelhouse"] == Artifact(
        "wheelhouse", "wheelhouse", "default", "3.10", None, smoke, NoOptions()
    )
    assert [image.name for image in config.portability.images] == ["debian:11", "debian:12", "debian:13"]
    assert config.portability.probes == config.portability.controls == ()
    assert config.path == Path("/nowhere/portable.yaml")
    assert config.base == Path("/nowhere")


def test_versions_are_plain_text_however_they_are_written() -> None:
    config = parse_config(SHORT.replace(b"3.10", b"3.10 # as it stands"), "portable.yaml", Path("/nowhere"))
    assert type(config.python) is str
    assert json.dumps(config.python) == '"3.10"'


def test_words_that_other_parsers_take_for_something_else_stay_words() -> None:
    env = b"{on: off, yes: no, A: 1:30, B: 2024-01-01, C: 0x1f, D: 1_000, E: .inf, F: 1e3}"
    text = SHORT + b"build:\n  env: " + env + b"\n"
    assert parse_config(text, "portable.yaml", Path("/nowhere")).build.env == {
        "on": "off",
        "yes": "no",
        "A": "1:30",
        "B": "2024-01-01",
        "C": "0x1f",
        "D": "1_000",
        "E": ".inf",
        "F": "1e3",
    }


def test_an_alias_stands_for_its_whole_value() -> None:
    text = (
        b"version: 1\napp: {requirement: httpie}\npython: '3.13'\n"
        b"artifacts:\n  a: &a {format: nuitka-onefile, lto: true}\n  b: *a\n"
    )
    config = parse_config(text, "portable.yaml", Path("/nowhere"))
    assert config.artifacts["b"].options.lto is True
    assert config.where(("artifacts", "b")) == "portable.yaml:5:6"
    assert config.where(("artifacts", "b"), key=True) == "portable.yaml:6:3"


@pytest.mark.parametrize(
    ("path", "key", "place"),
    [
        (("version",), False, "1:10"),
        (("version",), True, "1:1"),
        (("app", "smoke", 0, "stdout", 1), False, "7:40"),
        (("artifacts", "binary"), True, "21:3"),
        (("artifacts", "binary", "from"), False, "23:11"),
        (("artifacts", "binary", "from"), True, "23:5"),
        (("artifacts", "folder", "lto"), False, "30:11"),
        (("portability", "images", 1, "expect"), False, "33:72"),
        (("nothing", "such"), False, "1:1"),
        ((), False, "1:1"),
    ],
)
def test_where(folder: Path, path: tuple[str | int, ...], key: bool, place: str) -> None:
    assert parse_config(FULL.encode(), "p.yaml", folder).where(path, key=key) == f"p.yaml:{place}"


def test_an_artifact_of_a_bare_list_is_found_by_its_name() -> None:
    config = parse_config(SHORT, "p.yaml", Path("/nowhere"))
    assert config.where(("artifacts", "nuitka-onefile", "lto")) == "p.yaml:4:25"


def test_the_newest_glibc_is_what_is_written_else_the_baselines(folder: Path) -> None:
    assert parse_config(FULL.encode(), "p.yaml", folder).max_glibc("newer") == "2.31"
    text = SHORT + b"baselines: {default: {image: debian:12}, far: {image: fedora:40}}\n"
    config = parse_config(text, "p.yaml", folder)
    assert config.max_glibc("default") == "2.36"
    assert config.max_glibc("far") is None


def test_one_baseline_needs_no_particular_name() -> None:
    text = SHORT + b"baselines: {old: {image: debian:11}}\n"
    assert parse_config(text, "p.yaml", Path("/nowhere")).artifacts["wheelhouse"].baseline == "old"


@pytest.mark.parametrize("script", ["http", "2to3", "g++", "_x", "a.b-c_d", "python3.13"])
def test_a_script_is_any_plain_file_name(script: str) -> None:
    text = SHORT.replace(b'4"}', f'4", script: "{script}"}}'.encode())
    assert parse_config(text, "p.yaml", Path("/nowhere")).app.script == script


def test_the_same_smoke_arguments_may_stand_in_lists_of_different_owners() -> None:
    text = SHORT.replace(b'4"}', b'4", smoke: [{args: [a, b]}, {args: ["a b"]}]}').replace(
        b"[wheelhouse, nuitka-onefile]",
        b"{one: {format: wheelhouse, smoke: [{args: [a, b]}]}, two: {format: wheelhouse}}",
    )
    config = parse_config(text, "p.yaml", Path("/nowhere"))
    assert [smoke.args for smoke in config.artifacts["two"].smoke] == [("a", "b"), ("a b",)]
    assert [smoke.args for smoke in config.artifacts["one"].smoke] == [("a", "b")]


def test_a_config_cannot_be_changed() -> None:
    config = parse_config(SHORT, "p.yaml", Path("/nowhere"))
    with pytest.raises(FrozenInstanceError):
        config.python = "3.9"  # type: ignore[misc]


def test_the_byte_order_mark_counts_for_nothing() -> None:
    config = parse_config(b"\xef\xbb\xbf" + SHORT, "p.yaml", Path("/nowhere"))
    assert config.where(("version",), key=True) == "p.yaml:1:1"


def test_windows_line_ends_count_once() -> None:
    config = parse_config(SHORT.replace(b"\n", b"\r\n"), "p.yaml", Path("/nowhere"))
    assert config.where(("artifacts",), key=True) == "p.yaml:4:1"


def test_the_sample_app() -> None:
    config = load_config(ROOT / "portable.yaml")
    assert {name: artifact.format for name, artifact in config.artifacts.items()} == {
        "wheels": "wheelhouse",
        "folder": "nuitka-standalone",
        "binary": "nuitka-onefile",
        "tree": "bundle",
    }
    assert config.app.source == ROOT / "examples" / "myapp"
    assert config.app.smoke == (
        Smoke(("run",), ("psycopg2 works!", "pycurl works!", "myextension works!"), (), 0, 20.0),
    )
    assert config.wheels.no_binary == ("pycurl", "psycopg2")
    assert config.max_glibc("default") == "2.31"
    assert config.portability.controls == ("built-too-new",)


def test_a_file_is_named_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "portable.yaml").write_text("version: 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "sub" / "portable.yaml")
    assert caught.value.where == "sub/portable.yaml:1:10"
    assert caught.value.exit_code == 2


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(Path("portable.yaml"))
    assert str(caught.value) == "Error: portable.yaml: there is no such file\n  next: run: py-portable init"


def test_things_that_are_not_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("loop").symlink_to("loop")
    said = {}
    for name in (".", "fifo", "/dev/zero", "loop", "x" * 300):
        with pytest.raises(ConfigError) as caught:
            load_config(Path(name))
        said[name[:9]] = str(caught.value).replace(name, name[:9])
    assert said == {
        ".": "Error: .: is not a regular file",
        "fifo": "Error: fifo: is not a regular file",
        "/dev/zero": "Error: /dev/zero: is not a regular file",
        "loop": "Error: loop: cannot be read: Too many levels of symbolic links",
        "xxxxxxxxx": "Error: xxxxxxxxx: cannot be read: File name too long",
    }


def test_the_schema_is_shipped_as_it_stands_in_the_repository() -> None:
    assert (ROOT / "schemas").is_symlink()
    assert not (ROOT / "schemas").readlink().is_absolute()
    assert schema_text() == (ROOT / "schemas" / "portable.schema.json").read_text("utf-8")
