"""The app's source as it enters a build, and what project files and sdists say of themselves."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from py_portable.errors import ConfigError, MachineError
from py_portable.lock.declared import LEGACY_BUILD, Backend, build_requires, distribution_name, said
from py_portable.lock.egg import egg_requires
from py_portable.wheels import tracked
from py_portable.wheels.app_source import copy_source, source_digest


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "src" / "app").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "src" / "app" / "__init__.py").write_text("")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or p.is_file())


LEFT_BEHIND = [
    ".git/HEAD",
    ".git",
    "build/lib/app.py",
    "dist/app.whl",
    "venv/bin/python",
    ".venv/bin/python",
    "src/app.egg-info/PKG-INFO",
    "src/app/__pycache__/x.pyc",
    "app.egg-info/PKG-INFO",
    ".mypy_cache/x",
    "node_modules/x/y.js",
    "portable.lock",
]


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_what_builds_and_tools_leave_behind_is_no_source(app: Path, tmp_path: Path, name: str) -> None:
    before = source_digest(app)
    (app / name).parent.mkdir(parents=True, exist_ok=True)
    (app / name).write_text("left behind")
    assert source_digest(app) == before
    copy_source(app, tmp_path / "copy")
    assert names(tmp_path / "copy") == ["pyproject.toml", "src/app/__init__.py"]


@pytest.mark.parametrize(
    "name",
    [
        "src/app/build/x.py",
        "src/app/dist/x.py",
        "src/app/venv/x.py",
        "src/app/build.py",
        "data/portable.lock",
        "x",
        "dist/__init__.py",
        "build/__init__.py",
        "src/app/x.pyc",
        "src/app/fixtures/sample.egg-info/PKG-INFO",
        "src/app/fixtures/.venv/bin/python",
    ],
)
def test_a_package_may_be_called_like_a_folder_of_builds(app: Path, tmp_path: Path, name: str) -> None:
    before = source_digest(app)
    (app / name).parent.mkdir(parents=True, exist_ok=True)
    (app / name).write_text("source")
    assert source_digest(app) != before
    copy_source(app, tmp_path / "copy")
    assert (tmp_path / "copy" / name).read_text() == "source"


def git(folder: Path, *words: str) -> None:
    own = ("-c", "user.name=x", "-c", "user.email=x@example.invalid", "-c", "core.fsmonitor=false")
    subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True)


def test_what_git_tracks_in_such_a_folder_is_source(app: Path, tmp_path: Path) -> None:
    for name in ("build/scripts/make.py", "dist/data.txt", "dist/old.whl"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text(name)
    (app / ".gitignore").write_text("*.whl\n")
    before = source_digest(app)
    git(app, "init", "-q")
    git(app, "add", "-A")
    assert source_digest(app) != before
    copy_source(app, tmp_path / "copy")
    assert {"build/scripts/make.py", "dist/data.txt"} < set(names(tmp_path / "copy"))
    assert "dist/old.whl" not in names(tmp_path / "copy")


def test_a_tracked_name_never_leads_out_through_a_link(app: Path, tmp_path: Path) -> None:
    (app / "dist" / "inner").mkdir(parents=True)
    (app / "dist" / "inner" / "secret").write_text("tracked")
    git(app, "init", "-q")
    git(app, "add", "-A")
    shutil.rmtree(app / "dist" / "inner")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (app / "dist" / "inner").symlink_to(tmp_path / "outside")
    copy_source(app, tmp_path / "copy")
    assert not (tmp_path / "copy" / "dist").exists()


DATA = ["greeting.txt", "ä b.txt", "odd[1]*?#.txt"]


@pytest.fixture
def checkout(app: Path) -> Path:
    """An app below the root of a repository, with data that only git knows, and a hostile configuration."""
    for name in DATA:
        (app / "src" / "app" / name).write_text("tracked")
    (app / "src" / "app" / "untracked.txt").write_text("not tracked")
    (app.parent / ".gitignore").write_text("untracked.txt\n")
    git(app.parent, "init", "-q")
    git(app.parent, "add", "-A")
    git(app.parent, "config", "core.fsmonitor", f"touch {app.parent}/ran; false")
    return app


def test_tracked_files_are_named_for_a_build_system_that_asks_git(checkout: Path, tmp_path: Path) -> None:
    assert tracked.asked_for(checkout, ["setuptools", "wheel"]) == ()
    named = tracked.asked_for(checkout, ["setuptools", "setuptools-scm"])
    assert sorted(named) == sorted(["pyproject.toml", "src/app/__init__.py", *(f"src/app/{name}" for name in DATA)])
    assert not (checkout.parent / "ran").exists()
    assert source_digest(checkout, named) != source_digest(checkout)
    assert source_digest(checkout, named) != source_digest(checkout, named[:-1])
    (checkout / "MANIFEST.in").write_text("exclude src/app/greeting.txt\n")
    copy_source(checkout, tmp_path / "copy", named)
    lines = (tmp_path / "copy" / "MANIFEST.in").read_text().splitlines()
    assert lines[-1] == "exclude src/app/greeting.txt" and "include src/app/ä?b.txt" in lines
    assert "include src/app/odd?1????.txt" in lines
    assert (checkout / "MANIFEST.in").read_text() == "exclude src/app/greeting.txt\n"


def test_setuptools_takes_the_named_files_into_the_wheel(checkout: Path, tmp_path: Path) -> None:
    """As it does from git itself: the wheel of the copy, which has no .git, holds the data."""
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "app"\nversion = "1"\n'
    )
    copy_source(checkout, tmp_path / "copy", tracked.asked_for(checkout, ["setuptools-scm"]))
    make = "import setuptools.build_meta as b; b.build_wheel('..')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path / "copy", check=True, capture_output=True)
    with zipfile.ZipFile(tmp_path / "app-1-py3-none-any.whl") as wheel:
        found = {name for name in wheel.namelist() if name.startswith("app/")}
    assert found == {"app/__init__.py", *(f"app/{name}" for name in DATA)}


def test_where_git_cannot_say_it_the_machine_lacks_something(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="takes the list of the wheel's files from git") as caught:
        tracked.asked_for(checkout, ["setuptools-scm"])
    assert caught.value.hint and "install git" in caught.value.hint
    assert tracked.asked_for(checkout, ["setuptools"]) == ()


def test_a_repository_without_its_objects_starts_no_transport(app: Path, tmp_path: Path) -> None:
    """git fetches what is missing by what the folder's own configuration names: a program."""
    (app / ".gitattributes").write_text("unwanted export-ignore\n")
    git(app, "init", "-q")
    git(app, "add", "-A")
    for word in ("core.repositoryformatversion 1", "extensions.partialClone evil", "remote.evil.promisor true"):
        git(app, "config", *word.split())
    git(app, "config", "remote.evil.url", f"ext::touch {tmp_path}/ran")
    git(app, "config", "protocol.ext.allow", "always")
    (app / ".gitattributes").unlink()
    shutil.rmtree(app / ".git" / "objects")
    (app / ".git" / "objects").mkdir()
    with contextlib.suppress(MachineError):
        tracked.asked_for(app, ["setuptools-scm"])
    assert not (tmp_path / "ran").exists()


def test_a_tracked_name_never_leads_out_by_its_parents(app: Path, tmp_path: Path) -> None:
    """git adds no such name, but lists one that stands in an index."""
    (app / "build" / "aa" / "aa").mkdir(parents=True)
    (app / "build" / "aa" / "aa" / "evil").write_text("x")
    git(app, "init", "-q")
    git(app, "add", "-A", "-f")
    shutil.rmtree(app / "build" / "aa")
    index = app / ".git" / "index"
    data = index.read_bytes()[:-20].replace(b"build/aa/aa/evil", b"build/../../evil")
    index.write_bytes(data + hashlib.sha1(data).digest())
    (tmp_path / "evil").write_text("a file beside the source")
    (tmp_path / "room").mkdir()
    copy_source(app, tmp_path / "room" / "copy")
    assert [path.name for path in (tmp_path / "room").iterdir()] == ["copy"]
    assert not any(".." in name for name in tracked.asked_for(app, ["setuptools-scm"]))


def test_what_is_no_checkout_names_nothing(app: Path) -> None:
    assert tracked.asked_for(app, ["setuptools-scm"]) == ()


def edit(app: Path) -> None:
    (app / "pyproject.toml").write_text("[project] ")


def executable(app: Path) -> None:
    (app / "pyproject.toml").chmod(0o755)


def move(app: Path) -> None:
    (app / "pyproject.toml").rename(app / "pyproject.tomm")


def link(app: Path) -> None:
    (app / "link").symlink_to("pyproject.toml")


def link_to_folder(app: Path) -> None:
    (app / "link").symlink_to("src")


@pytest.mark.parametrize("change", [edit, executable, move, link, link_to_folder])
def test_a_change_of_the_source_is_another_digest(app: Path, change: Callable[[Path], None]) -> None:
    before = source_digest(app)
    change(app)
    assert source_digest(app) != before


def test_where_a_link_points_matters_and_what_stands_there_does_not(app: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("one")
    (app / "link").symlink_to(outside)
    before = source_digest(app)
    outside.write_text("two")
    assert source_digest(app) == before
    (app / "link").unlink()
    (app / "link").symlink_to("elsewhere")
    assert source_digest(app) != before


def test_times_owners_and_the_place_do_not_matter(app: Path, tmp_path: Path) -> None:
    before = source_digest(app)
    os.utime(app / "pyproject.toml", (1, 1))
    (app / "pyproject.toml").chmod(0o600)
    (app / "empty").mkdir()
    app.rename(tmp_path / "moved")
    assert source_digest(tmp_path / "moved") == before


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert source_digest(tmp_path / "a") == source_digest(tmp_path / "b")
    copy_source(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "x"


def test_links_are_never_followed_out(app: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (app / "folder").symlink_to(outside)
    (app / "file").symlink_to(outside / "secret")
    (app / "dangling").symlink_to("nowhere")
    (app / "circle").symlink_to(".")
    copy_source(app, tmp_path / "copy")
    assert names(tmp_path / "copy") == [
        "circle",
        "dangling",
        "file",
        "folder",
        "pyproject.toml",
        "src/app/__init__.py",
    ]
    for name in ("folder", "file", "dangling", "circle"):
        assert (tmp_path / "copy" / name).readlink() == (app / name).readlink()


def test_modes_of_files_are_kept_and_things_that_are_no_files_are_left_out(app: Path, tmp_path: Path) -> None:
    executable(app)
    os.mkfifo(app / "pipe")
    copy_source(app, tmp_path / "copy")
    assert (tmp_path / "copy" / "pyproject.toml").stat().st_mode & 0o777 == 0o755
    assert not (tmp_path / "copy" / "pipe").exists()


def test_a_copy_has_the_digest_of_its_original(app: Path, tmp_path: Path) -> None:
    link(app)
    executable(app)
    copy_source(app, tmp_path / "copy")
    assert source_digest(tmp_path / "copy") == source_digest(app)


# ------------------------------------------------------------------------------------- what sources say

EGG = """\

six>=1.10
  attrs

[tls]
pyOpenSSL

[:python_version < "3.8"]
typing

[tls:sys_platform == "linux" or sys_platform == "darwin"]
keyring[a,b]>=1

# a comment
[empty]
"""


def test_sections_of_requires_txt_become_markers() -> None:
    assert egg_requires(EGG) == (
        "six>=1.10",
        "attrs",
        'pyOpenSSL ; extra == "tls"',
        'typing ; (python_version < "3.8")',
        'keyring[a,b]>=1 ; (sys_platform == "linux" or sys_platform == "darwin") and extra == "tls"',
    )
    assert [Requirement(line).name for line in egg_requires(EGG)] == [
        "six",
        "attrs",
        "pyOpenSSL",
        "typing",
        "keyring",
    ]


def test_an_or_of_a_section_does_not_swallow_its_extra() -> None:
    last = Requirement(egg_requires(EGG)[-1])
    assert last.marker is not None
    assert not last.marker.evaluate({"sys_platform": "linux", "extra": ""})
    assert last.marker.evaluate({"sys_platform": "darwin", "extra": "tls"})


@given(st.text())
def test_any_requires_txt_gives_lines(text: str) -> None:
    assert all("\n" not in line for line in egg_requires(text))


def sdist(folder: Path, members: Mapping[str, str], name: str = "x-1.0.tar.gz") -> Path:
    path = folder / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for member, text in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("name", ["x-1.0.tar.gz", "x-1.0.zip"])
def test_an_sdist_tells_its_dependencies_and_its_build_system(tmp_path: Path, name: str) -> None:
    path = sdist(
        tmp_path,
        {
            "x-1.0/PKG-INFO": "Name: x\n",
            "x-1.0/src/x.egg-info/requires.txt": "six\n[a]\nattrs\n",
            "x-1.0/tests/data/y.egg-info/requires.txt": "wrong\n",
            "x-1.0/pyproject.toml": '[build-system]\nrequires = ["setuptools", "cython"]\n',
            "x-1.0/vendor/pyproject.toml": '[build-system]\nrequires = ["wrong"]\n',
        },
        name,
    )
    assert said(path).requires == ("six", 'attrs ; extra == "a"')
    assert said(path).backend.requires == ("setuptools", "cython")


def test_an_sdist_of_another_tool_tells_its_dependencies_in_its_metadata(tmp_path: Path) -> None:
    path = sdist(
        tmp_path,
        {"x-1.0/PKG-INFO": "Name: x\nRequires-Dist: six (>=1)\nRequires-Dist: attrs\n\nRequires-Dist: no\n"},
    )
    assert said(path).requires == ("six (>=1)", "attrs")


def test_an_sdist_with_metadata_and_no_requirements_has_none_and_one_without_does_not_say(
    tmp_path: Path,
) -> None:
    assert said(sdist(tmp_path, {"x-1.0/PKG-INFO": "Name: x\n"})).requires == ()
    silent = said(sdist(tmp_path, {"x-1.0/setup.py": ""}, "y-1.0.tar.gz"))
    assert silent.requires is None
    assert silent.backend == Backend(LEGACY_BUILD)


NEW = "Metadata-Version: 2.2\nName: X_y\nVersion: 1.5\n"


@pytest.mark.parametrize(
    ("members", "requires"),
    [
        # What is not dynamic in metadata of 2.2 and later is final (PEP 643).
        ({"PKG-INFO": f"{NEW}Requires-Dist: a\n", "pyproject.toml": '[project]\nname = "x"\ndependencies = ["b"]'}, ("a",)),
        ({"PKG-INFO": f"{NEW}Dynamic: Requires-Dist\n", "pyproject.toml": '[project]\nname = "x"\ndependencies = ["b"]'}, ("b",)),
        ({"pyproject.toml": '[project]\nname = "x"\n[project.optional-dependencies]\ne = ["c; os_name == \'nt\'"]'}, ('c ; (os_name == "nt") and extra == "e"',)),
        ({"pyproject.toml": '[project]\nname = "x"\ndynamic = ["dependencies"]'}, None),
        ({"pyproject.toml": '[project]\nname = "x"\ndynamic = ["optional-dependencies"]'}, None),
        ({"pyproject.toml": '[tool.poetry]\nname = "x"\n'}, None),
        ({"setup.cfg": "[metadata]\nname = x\n"}, None),
    ],
)  # fmt: skip
def test_what_is_final_is_taken_and_what_is_dynamic_is_not_guessed(
    tmp_path: Path, members: Mapping[str, str], requires: tuple[str, ...] | None
) -> None:
    path = sdist(tmp_path, {f"./x-1.0/{name}": text for name, text in members.items()})
    assert said(path).requires == requires


@pytest.mark.parametrize("name", ["tally.tar.gz", "tally-main.tar.gz", "tally-1.0-1.tar.gz", "v1.zip"])
@pytest.mark.parametrize("member", ["PKG-INFO", "pyproject.toml"])
def test_the_name_of_a_project_is_what_its_metadata_says_and_not_what_its_file_is_called(
    tmp_path: Path, name: str, member: str
) -> None:
    text = NEW if member == "PKG-INFO" else '[project]\nname = "X_y"\nversion = "1.5"\n'
    found = said(sdist(tmp_path, {f"tally-1.0/{member}": text}, name))
    assert (found.name, found.version) == ("x-y", "1.5")


@pytest.mark.parametrize("name", ["x.whl", "x-1.0-1.0.whl", "tally-1.0.whl"])
def test_a_file_that_is_only_named_like_a_wheel_is_a_config_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match="is not the name of a wheel"):
        said(tmp_path / name)


def wheel_file(folder: Path, members: Mapping[str, str]) -> Path:
    path = folder / "x-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return path


def test_a_wheel_says_its_dependencies_in_the_one_metadata_that_it_has(tmp_path: Path) -> None:
    path = wheel_file(
        tmp_path,
        {
            "x-1.0.dist-info/METADATA": f"{NEW}Requires-Python: >=3.9\nRequires-Dist: a\n",
            "x/vendored/y-1.dist-info/METADATA": "Name: y\nVersion: 1\n",
        },
    )
    found = said(path)
    assert (found.name, found.requires, found.requires_python, found.asks) == ("x-y", ("a",), ">=3.9", False)
    with pytest.raises(ConfigError, match="holds 0 METADATA files"):
        said(wheel_file(tmp_path, {"x.py": ""}))


@pytest.mark.parametrize(
    ("files", "asks"),
    [
        ({"setup.py": "setup()"}, False),
        ({"setup.py": "setup(setup_requires=['pbr'])"}, True),
        ({"setup.cfg": "[options]\nsetup_requires = pbr\n"}, True),
        ({"pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]'}, True),
        ({"pyproject.toml": '[build-system]\nrequires = ["meson-python"]\nbuild-backend = "mesonpy"'}, True),
        ({"pyproject.toml": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"'}, False),
        ({"pyproject.toml": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[tool.hatch.build.hooks.mypyc]\ndependencies = ["mypy"]'}, True),
        ({"pyproject.toml": '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"'}, False),
        ({"pyproject.toml": '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"'}, False),
    ],
)  # fmt: skip
def test_a_backend_is_asked_what_it_requires_unless_it_is_known_to_require_nothing(
    tmp_path: Path, files: Mapping[str, str], asks: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert said(tmp_path).asks is asks


def test_metadata_that_is_too_large_is_passed_over(tmp_path: Path) -> None:
    assert said(sdist(tmp_path, {"x-1.0/PKG-INFO": "x" * (5 << 20)})).requires is None


@pytest.mark.parametrize(
    "text",
    [
        "build-system = 3",
        '[build-system]\nrequires = "setuptools"',
        "[build-system]\nrequires = [1]",
        "[build-system]\nbuild-backend = 3",
        '[build-system]\nbackend-path = "."',
        '[project]\ndependencies = "six"',
        "[project]\ndependencies = [3]",
        '[project]\ndependencies = ["no requirement"]',
        "[project]\noptional-dependencies = []",
        "[[[",
        "a" * 9,
    ],
)
def test_a_broken_project_file_of_an_sdist_is_a_config_error_or_says_nothing(tmp_path: Path, text: str) -> None:
    path = sdist(tmp_path, {"x-1.0/pyproject.toml": text})
    try:
        assert said(path).backend == Backend(LEGACY_BUILD)
    except ConfigError as problem:
        assert problem.where == "x-1.0.tar.gz"


MEMBERS = {"x-1.0/PKG-INFO": "Name: x\n" * 50, "x-1.0/pyproject.toml": "[build-system]\n" + "# x\n" * 50}


@pytest.mark.parametrize("name", ["x-1.0.tar.gz", "x-1.0.zip"])
@given(data=st.data())
def test_a_damaged_sdist_is_a_config_error_or_still_readable(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    path = sdist(tmp_path_factory.getbasetemp(), MEMBERS, name)
    content = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        said(path)
    except ConfigError as problem:
        assert problem.where == name


def test_a_folder_tells_its_build_system_and_its_name(app: Path) -> None:
    (app / "pyproject.toml").write_text('[project]\nname = "My_App"\n[build-system]\nrequires = ["flit_core"]\n')
    assert build_requires(app) == ("flit_core",)
    assert distribution_name(app) == "my-app"
    (app / "pyproject.toml").unlink()
    (app / "setup.py").write_text("")
    assert build_requires(app) == LEGACY_BUILD
    assert distribution_name(app) is None
    (app / "setup.cfg").write_text("[metadata]\nname = Other_App\n")
    assert distribution_name(app) == "other-app"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"x",
        b"project = 1",
        b"[project]\nname = 3",
        b"[project]\ndynamic = 'dependencies'",
        b"[" * 9999,
        b"",
    ],
    ids=lambda data: data[:20].decode("latin-1"),
)
def test_whatever_a_project_file_holds_there_is_no_crash(app: Path, data: bytes) -> None:
    (app / "pyproject.toml").write_bytes(data)
    try:
        said(app)
    except ConfigError as problem:
        assert problem.where == str(app / "pyproject.toml")


def test_a_folder_that_is_no_project_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a Python project"):
        said(tmp_path)
