"""Publishing: which wheel is taken, what cibuildwheel is told, what keeps an upload back, what twine's words mean."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cibuildwheel.oci_container import OCIContainerEngineConfig
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from py_portable.base.redact import scrub, without
from py_portable.base.tarball import Bounds
from py_portable.commands.publish import objections
from py_portable.config import Config
from py_portable.engines.daemon import Daemon
from py_portable.errors import ConfigError, MachineError, StepError, UnmetError
from py_portable.formats import APP, FORMATS, Made, parse_config
from py_portable.formats.wheel import WheelOptions
from py_portable.images import Image
from py_portable.lock.declared import build_backend
from py_portable.lock.lockfile import Lock, LockedFile, LockedHouse
from py_portable.plan.assemble import assemble, houses
from py_portable.plan.cell import PLAIN, CellId
from py_portable.plan.selection import Selection, narrow
from py_portable.wheels import cibuildwheel, given, published, sdist, twine
from py_portable.wheels.app_source import source_digest
from py_portable.wheels.cibuildwheel_engine import engine_option, environment, tag_of
from tests.unit.index_server import wheel
from tests.unit.written import written

TARGET = {"python": "3.13", "max_glibc": "2.31", "arch": "x86_64"}
GOOD = "my_app-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"


@pytest.mark.parametrize(
    ("others", "best"),
    [
        ([GOOD], GOOD),
        ([GOOD, "my_app-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"], GOOD),
        ([GOOD, "my_app-1.0-cp313-cp313-manylinux_2_35_x86_64.whl"], GOOD),
        (
            [GOOD, "my_app-1.0-cp313-cp313-musllinux_1_2_x86_64.whl", "my_app-1.0-cp313-cp313-win_amd64.whl"],
            GOOD,
        ),
        ([GOOD, "my_app-1.0-cp313-cp313-manylinux_2_17_aarch64.whl"], GOOD),
        ([GOOD, "my_app-1.0-cp39-abi3-manylinux_2_17_x86_64.whl"], GOOD),
        ([GOOD, "my_app-1.0-py3-none-any.whl", "other-1.0-cp313-cp313-manylinux_2_28_x86_64.whl"], GOOD),
        ([GOOD, "my_app-1.0-cp313-cp313-linux_x86_64.whl", "not a wheel.whl"], GOOD),
        (["my_app-1.0-cp313-cp313-linux_x86_64.whl"], "my_app-1.0-cp313-cp313-linux_x86_64.whl"),
        (["my_app-1.0-cp39-abi3-manylinux1_x86_64.whl"], "my_app-1.0-cp39-abi3-manylinux1_x86_64.whl"),
        # The highest build number, as a number; a wheel without one comes last.
        ([GOOD, GOOD.replace("1.0-", "1.0-2-"), GOOD.replace("1.0-", "1.0-10-")], GOOD.replace("1.0-", "1.0-10-")),
    ],
)
def test_the_wheel_that_pip_would_take_is_taken(others: list[str], best: str) -> None:
    assert given.best(others, "My.App", **TARGET) == best
    assert given.best(others[::-1], "My.App", **TARGET) == best


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no wheel of My.App for CPython 3.13, x86_64, glibc 2.31"),
        (["my_app-1.0-cp313-cp313-manylinux_2_35_x86_64.whl"], "has no wheel"),
        (["my_app-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"], "has no wheel"),
        (["other-1.0-py3-none-any.whl"], "has no wheel"),
        (
            [GOOD, GOOD.replace("1.0", "1.1")],
            "has several wheels that fit CPython 3.13, x86_64, glibc 2.31 equally well",
        ),
    ],
)
def test_none_or_several_that_fit_are_an_error(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given.best(names, "My.App", **TARGET)
    assert caught.value.what.startswith(message)
    assert all(name in (caught.value.tail or "") for name in names)


def test_a_folder_that_is_not_there_or_holds_a_link_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        given.choose(tmp_path / "none", "my-app", **TARGET)
    (tmp_path / GOOD).symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="is not a regular file"):
        given.choose(tmp_path, "my-app", **TARGET)


def test_a_given_wheel_that_changes_under_the_run_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(tmp_path / GOOD, "w") as archive:
        archive.writestr("my_app.py", "")
    chosen = given.choose(tmp_path, "my-app", **TARGET)
    given.taken(chosen.path, chosen.sha256, tmp_path / "out")
    (tmp_path / GOOD).write_bytes(b"two")
    with pytest.raises(StepError, match="changed during the run"):
        given.taken(chosen.path, chosen.sha256, tmp_path / "out")


@hypothesis_given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), max_size=4))
def test_cibuildwheel_reads_the_engine_as_it_was_meant(values: list[str]) -> None:
    create = ("--rm", "--network=none", *(f"--env=A={value}" for value in values))
    read = OCIContainerEngineConfig.from_config_string(engine_option("docker", create))
    assert (read.name, read.create_args, read.disable_host_mount) == ("docker", create, True)


def test_the_container_engine_sees_only_what_says_how_it_is_reached() -> None:
    told = environment(
        {
            "PATH": "/bin",
            "DOCKER_HOST": "unix:///x",
            "TWINE_PASSWORD": "x",
            "CIBW_BUILD": "*",
            "GITHUB_TOKEN": "x",
        }
    )
    assert told == {"PATH": "/bin", "DOCKER_HOST": "unix:///x"}


def test_a_variable_of_several_lines_cannot_be_brought_into_a_daemon(tmp_path: Path) -> None:
    image = Image("x", tmp_path, "sha256:" + "a" * 64, "archive", "2.28", None, env={"BAD": "one\nRUN two"})
    with pytest.raises(StepError, match="several lines"):
        tag_of(Daemon("docker", "1", False), image)


def test_pythons_are_named_as_cibuildwheel_names_them() -> None:
    assert cibuildwheel.identifiers(["3.9", "3.13"], "x86_64") == [
        "cp39-manylinux_x86_64",
        "cp313-manylinux_x86_64",
    ]


def test_an_image_without_pythons_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        cibuildwheel.laid_out(tmp_path, "debian:11", ["3.13"])
    assert "no /opt/python" in caught.value.what
    assert "manylinux_2_28" in (caught.value.hint or "")
    (tmp_path / "opt/python").mkdir(parents=True)
    (tmp_path / "opt/python/cp313-cp313").symlink_to("/opt/_internal/cpython-3.13")
    cibuildwheel.laid_out(tmp_path, "debian:11", ["3.13"])
    with pytest.raises(ConfigError, match=r"no /opt/python/cp311-cp311") as caught:
        cibuildwheel.laid_out(tmp_path, "debian:11", ["3.13", "3.11"])
    assert "cp313-cp313" in (caught.value.hint or "")


# ------------------------------------------------------------------------------------------------- sdists


def packed(folder: Path, *members: tuple[str, bytes | None, str]) -> Path:
    """An sdist; a member is (name, content or None for a link, where a link leads)."""
    path = folder / "app-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data, link in members:
            info = tarfile.TarInfo(name)
            info.size = len(data or b"")
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info, io.BytesIO(data or b""))
    return path


def test_an_sdist_is_unpacked(tmp_path: Path) -> None:
    sdist.unpack(packed(tmp_path, ("app-1.0/setup.py", b"x", "")), tmp_path / "out")
    assert (tmp_path / "out/app-1.0/setup.py").read_bytes() == b"x"


@pytest.mark.parametrize(
    "member",
    [("../out-of-it", b"x", ""), ("app-1.0/link", None, "/etc/passwd"), ("app-1.0/link", None, "../../x")],
)
def test_an_sdist_that_leaves_its_folder_is_refused(tmp_path: Path, member: tuple[str, bytes | None, str]) -> None:
    with pytest.raises(StepError, match="cannot be unpacked"):
        sdist.unpack(packed(tmp_path, member), tmp_path / "deep" / "out")
    assert not (tmp_path / "deep" / "out-of-it").exists()


def test_an_encrypted_sdist_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app-1.0/setup.py", "x")
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(StepError, match="cannot be unpacked"):
        sdist.unpack(path, tmp_path / "out")


def test_an_sdist_that_grows_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdist, "SDIST_BOUNDS", Bounds(file_bytes=10))
    with pytest.raises(StepError, match="the limit is 10"):
        sdist.unpack(packed(tmp_path, ("app-1.0/a", b"x" * 11, "")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with zipfile.ZipFile(tmp_path / "app-1.0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app-1.0/a", bytes(300 << 20))
    with pytest.raises(StepError, match="zip bomb"):
        sdist.unpack(tmp_path / "app-1.0.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("at", "new"),
    [(6, b"\1"), (6, b"\x40"), (8, b"\x4d"), (45, bytes(25))],
    ids=["encrypted", "strong", "method", "data"],
)
def test_a_zip_that_cannot_be_read_is_refused(tmp_path: Path, at: int, new: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "app-1.0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app-1.0/PKG-INFO", "Metadata-Version: 2.1\nName: app\n" * 50)
    data = bytearray((tmp_path / "app-1.0.zip").read_bytes())
    directory = data.index(b"PK\1\2")
    for place in (at, *([directory + at + 2] if at < 30 else [])):
        data[place : place + len(new)] = new
    (tmp_path / "app-1.0.zip").write_bytes(data)
    with pytest.raises(StepError, match="cannot be unpacked"):
        sdist.unpack(tmp_path / "app-1.0.zip", tmp_path / "out")


def test_the_build_backend_is_read(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    assert build_backend(tmp_path) == ("setuptools.build_meta:__legacy__", ())
    (tmp_path / "pyproject.toml").write_text('[build-system]\nbuild-backend = "own"\nbackend-path = ["."]\n')
    assert build_backend(tmp_path) == ("own", (".",))
    (tmp_path / "pyproject.toml").write_text('[build-system]\nbuild-backend = ["own"]\n')
    with pytest.raises(ConfigError, match="build-backend is not text"):
        build_backend(tmp_path)


# --------------------------------------------------------------------------------------------------- plan

CONFIG: dict[str, Any] = {
    "version": 1,
    "app": {"source": "app", "extras": ["fast"]},
    "python": "3.13",
    "baselines": {"default": {"image": "debian:11"}},
    "wheels": {"publish": {"pythons": ["3.13", "3.11"]}},
    "artifacts": {"house": {"format": "wheelhouse"}},
}
BUILD = (LockedFile("setuptools", "80", "setuptools-80-py3-none-any.whl", "0" * 64, 1),)
LOCK = Lock(houses={f"default/{python}": LockedHouse("x", (), BUILD) for python in ("3.13", "3.11")})


def config(base: Path, **wheels: Any) -> Config:
    (base / "app").mkdir(exist_ok=True)
    (base / "app" / "pyproject.toml").write_text('[project]\nname = "My.App"\nversion = "1"\n')
    told = CONFIG | {"wheels": CONFIG["wheels"] | wheels}
    return parse_config(json.dumps(told).encode(), "portable.yaml", base)


def test_each_python_is_an_artifact_with_a_wheelhouse_to_be_proven_with(tmp_path: Path) -> None:
    one = config(tmp_path)
    made = {name: (a.format, a.python, a.options) for name, a in one.artifacts.items()}
    assert made["publish-3.11"] == ("wheel", "3.11", WheelOptions(extras=("fast",)))
    assert list(made) == ["house", "publish-3.13", "publish-3.11"]
    assert houses(one) == [("default", "3.13"), ("default", "3.11")]
    assert one.where(("artifacts", "publish-3.11")).startswith("portable.yaml:1:")
    plan = written(assemble(one, LOCK))
    assert plan.nodes["artifact publish-3.11"].all_needs == (str(published.NODE), "wheelhouse 3.11 (default)")
    assert plan.nodes[str(published.NODE)].all_needs == (
        "baseline default",
        "wheel of the app 3.13 (default)",
        str(published.SDIST),
    )


def test_without_publish_nothing_of_it_is_planned(tmp_path: Path) -> None:
    plan = written(narrow(assemble(config(tmp_path), LOCK), Selection(("house",))))
    assert not [name for name in plan.nodes if "publish" in name]
    assert (
        str(published.SDIST)
        not in written(assemble(config(tmp_path, publish={"pythons": ["3.13"], "sdist": False}), LOCK)).nodes
    )


def test_given_wheels_take_the_place_of_everything_that_compiles_the_app(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    for python in ("313", "311"):
        path = tmp_path / f"given/my_app-1-cp{python}-cp{python}-manylinux_2_17_x86_64.whl"
        path.write_bytes(wheel("my-app", "1"))
    one = config(tmp_path, use="given")
    nodes = written(assemble(one, LOCK)).nodes
    assert nodes["wheel of the app 3.11 (default)"].all_needs == ()
    assert nodes[str(published.NODE)].all_needs == (str(published.SDIST),)
    before = nodes["wheel of the app 3.11 (default)"].params  # type: ignore[union-attr]
    path.write_bytes(wheel("my-app", "1", ["click"]))
    after = written(assemble(one, LOCK)).nodes["wheel of the app 3.11 (default)"].params  # type: ignore[union-attr]
    assert before != after and before["sha256"] != after["sha256"]
    path.unlink()
    with pytest.raises(ConfigError, match=r"no wheel of my-app for CPython 3\.11"):
        written(assemble(one, LOCK))


def test_the_published_wheel_is_what_a_cell_installs(tmp_path: Path) -> None:
    meta = {"distribution": "my-app", "script": None, "entry_point": None, "sha256": "ab", "extras": ["fast"]}
    made = Made(
        "publish-3.13",
        "wheel",
        tmp_path / GOOD,
        meta,
        interpreter=tmp_path / "python",
        interpreter_digest="sha256:i",
        wheelhouse=tmp_path / "house",
        wheelhouse_digest="sha256:w",
    )
    start = FORMATS["wheel"].start(made)
    assert start.install is not None
    assert start.install.argv[-4:] == ("fast", "", f"/opt/published/{GOOD}", "ab")
    assert (tmp_path / GOOD, f"/opt/published/{GOOD}") in [(b.source, b.target) for b in start.install.binds]
    assert start.install.target == APP
    # What a PASS is remembered by knows of the dependencies too.
    assert start.needs != FORMATS["wheel"].start(replace(made, wheelhouse_digest="sha256:x")).needs


# --------------------------------------------------------------------------------------------- objections

SHA = "sha256:one"
WANTED = [CellId("publish-3.13", "debian:11", PLAIN, ("--help",))]


def cell(verdict: str, **other: Any) -> dict[str, Any]:
    told = {
        "artifact": "publish-3.13",
        "sha256": SHA,
        "image": "debian:11",
        "condition": "plain",
        "argv": ["--help"],
        "verdict": verdict,
        "detail": "why",
    }
    return told | other


@pytest.mark.parametrize(
    ("cells", "failed", "unproven"),
    [
        ([cell("PASS")], 0, 0),
        ([cell("PASS"), cell("FAIL", artifact="binary")], 0, 0),
        ([cell("PASS"), cell("UNPROVEN", image="debian:12", optional=True)], 0, 0),
        ([cell("PASS"), cell("XFAIL", image="alpine:3")], 0, 0),
        ([cell("PASS"), cell("XPASS", condition="control:built-too-new")], 0, 0),
        ([], 0, 2),
        ([cell("PASS", sha256="sha256:other")], 0, 2),
        ([cell("PASS", image="debian:12")], 0, 1),
        ([cell("UNPROVEN")], 0, 2),
        ([cell("PASS"), cell("UNPROVEN", condition="read-only")], 0, 1),
        ([cell("FAIL")], 1, 1),
        ([cell("PASS"), cell("XPASS", image="alpine:3")], 1, 0),
    ],
)
def test_only_what_was_proven_goes_out(cells: list[dict[str, Any]], failed: int, unproven: int) -> None:
    told = objections(cells, {"publish-3.13": SHA}, WANTED)
    assert (len(told[0]), len(told[1])) == (failed, unproven), told


# -------------------------------------------------------------------------------------------------- twine

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "y",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("repository", "environ", "login"),
    [
        (None, {}, "none"),
        (None, {"TWINE_PASSWORD": "x"}, "environment"),
        (None, GITHUB, "trusted-publishing"),
        ("testpypi", GITHUB, "trusted-publishing"),
        (None, GITHUB | {"TWINE_PASSWORD": "x"}, "environment"),
        (None, GITHUB | {"TWINE_USERNAME": "somebody"}, "none"),
        (None, {"GITHUB_ACTIONS": "true"}, "none"),
        (None, {"GITLAB_CI": "true"}, "none"),
        (None, {"GITLAB_CI": "true", "PYPI_ID_TOKEN": "x"}, "trusted-publishing"),
        ("https://own.example/legacy/", GITHUB, "none"),
        ("own", GITHUB, "pypirc"),
        ("own", GITHUB | {"TWINE_PASSWORD": "x"}, "environment"),
    ],
)
def test_the_login_comes_the_way_twine_looks_for_it(
    repository: str | None, environ: dict[str, str], login: str, home: Path
) -> None:
    (home / ".pypirc").write_text(
        "[distutils]\nindex-servers = own testpypi\n[own]\nrepository = https://own.example/\npassword = hidden\n"
    )
    aim = twine.target(repository, environ)
    assert aim.login == login
    assert "hidden" not in repr(aim) + aim.told()


def test_the_environment_names_the_repository_where_nothing_else_does(home: Path) -> None:
    environ = {"TWINE_REPOSITORY_URL": "https://own.example/legacy/"}
    assert twine.target(None, environ).url == "https://own.example/legacy/"
    assert twine.target("testpypi", environ).url != "https://own.example/legacy/"


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("unknown", "Missing 'unknown' section"),
        ("https://me:s3cret@own.example/", "contains a login"),
        ("ftp://own.example/", "Invalid repository URL"),
    ],
)
def test_a_repository_that_cannot_be_is_a_config_error(repository: str, message: str, home: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        twine.target(repository, {})
    assert "s3cret" not in caught.value.render()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("ERROR    HTTPError: 403 Forbidden from https://own.example:4045/x", "refused the login"),
        ("ERROR    HTTPError: 401 Unauthorized from https://own.example/", "refused the login"),
        ("ERROR    HTTPError: 404 Not Found from https://own.example/", "does not accept uploads"),
        ("ERROR    HTTPError: 400 File already exists. from https://own.example/", "exists already"),
        ("ERROR    HTTPError: 400 Bad Request from https://own.example/", "refused a file"),
        ("ERROR    HTTPError: 503 Service Unavailable from https://own.example/", "itself failed"),
        ("requests.exceptions.ConnectionError: Max retries exceeded with url: /400", "cannot be reached"),
        ("requests.exceptions.SSLError: certificate verify failed", "not trusted"),
        ("ERROR    UnsupportedConfiguration: The configured repository …", "--skip-existing"),
        ("ERROR    SomethingNew: 1", "twine's output above says why"),
    ],
)
def test_a_failed_upload_is_named(line: str, what: str) -> None:
    assert what in twine.cause(["Uploading a.whl", "WARNING  Error during upload. 403", line])[0]


def test_a_strict_check_that_fails_names_the_wheel(tmp_path: Path) -> None:
    (tmp_path / GOOD).write_bytes(wheel("my-app", "1.0"))
    with pytest.raises(UnmetError) as caught:
        twine.strict_check([tmp_path / GOOD])
    assert caught.value.what == f"twine check --strict fails: {GOOD}"
    assert "long_description" in (caught.value.tail or "")


def test_a_tool_that_is_not_installed_is_named_with_the_line_that_mends_it() -> None:
    with pytest.raises(MachineError) as caught:
        twine.require("no_such_tool")
    assert caught.value.hint == "pip install 'py-portable[publish]'"


def test_secrets_are_taken_out_of_text_and_files(tmp_path: Path) -> None:
    assert without("a s3cret of s3cret-more at https://u:p@h/", ["s3cret", "s3cret-more", "of"]) == (
        "a *** of *** at https://***@h/"
    )
    (tmp_path / "log").write_text("a s3cret of s3cret-more")
    scrub(tmp_path / "log", ["s3cret", "s3cret-more"])
    assert (tmp_path / "log").read_text() == "a *** of ***"
    scrub(tmp_path / "none", ["s3cret"])


def test_a_source_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"x")
    assert len(source_digest(tmp_path / "a.whl")) == 64
