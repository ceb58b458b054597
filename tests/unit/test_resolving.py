"""What a lock holds: whatever the app requires, however it names it, or an error that says where and what to do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.errors import ConfigError, PortableError, StepError
from py_portable.lock.backend import Answer
from py_portable.lock.index import files
from py_portable.lock.index.ask import NOTHING_RUNS, ResolveError, stand_in
from py_portable.lock.index.constraints import constraints
from py_portable.lock.index.source_archive import pack
from py_portable.lock.lockfile import LockedHouse, LockedPackage
from py_portable.project import backends
from py_portable.store import Store
from tests.unit.askers import Answers
from tests.unit.index_server import sdist, serving, sha256, wheel
from tests.unit.test_index import locked_names, resolver

BBB = wheel("bbb", "2.0")
FILES = {
    "aaa-1.0-py3-none-any.whl": wheel("aaa", "1.0", ["bbb>=2"]),
    "bbb-2.0-py3-none-any.whl": BBB,
    "bbb-2.1-py3-none-any.whl": wheel("bbb", "2.1"),
    "late-1.0-py3-none-any.whl": wheel("late", "1.0"),
    "link-1.0-py3-none-any.whl": wheel("link", "1.0", ["bbb @ https://example.org/bbb-2.0-py3-none-any.whl"]),
    "setuptools-99.0-py3-none-any.whl": wheel("setuptools", "99.0"),
    "wheel-9.0-py3-none-any.whl": wheel("wheel", "9.0"),
    "helper-1.0-py3-none-any.whl": wheel("helper", "1.0"),
}
PROJECT = '[project]\nname = "{name}"\nversion = "0.4"\n'
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    with serving(FILES) as (host, _):
        yield host


@pytest.fixture
def asks(environ: dict[str, str], index: str) -> dict[str, str]:
    return environ | {"PIP_INDEX_URL": f"http://{index}/simple"}


def project(folder: Path, name: str, more: str = "", **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name) + more)
    for file, text in texts.items():
        (folder / f"{file}.py").write_text(text)
    return folder


def depends(*lines: str) -> str:
    return f"dependencies = {list(lines)!r}\n"


def repository(folder: Path, *, tag: str | None = None) -> str:
    for words in (
        ["init", "--quiet"],
        ["add", "-A"],
        ["commit", "--quiet", "-m", "one"],
        *([["tag", tag]] if tag else []),
    ):
        subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True)
    done = subprocess.run([*GIT, "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def origins(house: Any) -> list[str | None]:
    return [package.file.origin for package in house.packages]


# ------------------------------------------------------------------------------------- named by address


def test_a_sibling_folder_is_carried_with_what_it_requires_and_changes_the_lock(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    project(tmp_path / "inner", "inner", depends("aaa"))
    sources = '[tool.uv.sources]\ninner = {path = "../inner"}\n'
    sibling = project(tmp_path / "sibling", "Sib_Ling", depends("inner") + sources, sibling="VALUE = 1")
    sources = '[tool.uv.sources]\nsib-ling = {path = "../sibling", editable = true}\n'
    project(tmp_path / "app", "app", depends("sib-ling") + sources)
    locking = resolver(tmp_path, store, asks, app={"source": "app"})
    house = locking.resolve()
    assert locked_names(house) == [
        "aaa-1.0-py3-none-any.whl",
        "bbb-2.1-py3-none-any.whl",
        "inner-0.4.tar.gz",
        "sib_ling-0.4.tar.gz",
    ]
    assert origins(house) == [None, None, "path:inner", "path:sibling"]
    assert [f.name for f in house.packages[3].build] == ["setuptools", "wheel"]
    assert resolver(tmp_path, store, asks, app={"source": "app"}).holds(house)
    (sibling / "sibling.py").write_text("VALUE = 2")
    assert not resolver(tmp_path, store, asks, app={"source": "app"}).holds(house)


def test_what_was_packed_is_made_again_where_a_store_does_not_have_it(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    project(tmp_path / "sibling", "sibling")
    project(tmp_path / "app", "app", depends(f"sibling @ file://{tmp_path}/sibling"))
    house = resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
    other = Store(tmp_path / "other")
    file = house.packages[0].file
    assert files.placed(other, file) is None
    assert resolver(tmp_path, other, asks, app={"source": "app"}).provide(house)
    placed = files.placed(other, file)
    assert placed is not None and files.sha256_of(placed) == file.sha256
    # A kit that packs otherwise than the one that made the lock: to go on would be to build something else.
    odd = LockedHouse("", (LockedPackage(replace(file, sha256="0" * 64)),))
    assert not resolver(tmp_path, other, asks, app={"source": "app"}).provide(odd)


def test_a_member_of_a_workspace_is_found(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    project(tmp_path / "packages" / "core", "the-core")
    sources = "[tool.uv.sources]\nthe-core = {workspace = true}\n"
    project(tmp_path / "packages" / "app", "app", depends("the-core") + sources)
    house = resolver(tmp_path, store, asks, app={"source": "packages/app"}).resolve()
    assert origins(house) == ["path:packages/core"]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_address_is_fetched_and_pinned_and_its_login_is_not_kept(
    store: Store, environ: dict[str, str], tmp_path: Path, kind: str
) -> None:
    name = "far-1.0-py3-none-any.whl" if kind == "wheel" else "far-1.0.tar.gz"
    data = (
        wheel("far", "1.0", ["bbb"])
        if kind == "wheel"
        else sdist("far", "1.0", {"pyproject.toml": PROJECT.format(name="far") + depends("bbb")})
    )
    with serving({**FILES, name: data}, "user:s3cr3t") as (host, _):
        asks = environ | {"PIP_INDEX_URL": f"http://user:s3cr3t@{host}/simple"}
        line = f"far[x] @ http://user:s3cr3t@{host}/files/{name}#sha256={sha256(data)}"
        project(tmp_path / "app", "app", depends(line))
        house = resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
        (far,) = [p for p in house.packages if p.file.name == "far"]
        assert [p.file.name for p in house.packages] == ["bbb", "far"]
        assert (far.file.sha256, far.file.origin) == (sha256(data), f"http://{host}/files/{name}")
        # Where the store does not have it, it comes from there again, and nothing else does.
        other = Store(tmp_path / "other")
        target = {"python": "3.13", "max_glibc": "2.31", "arch": "x86_64"}
        got = files.gather(other, [far.file], tmp_path / "got", environ=asks, **target)
        assert (got / far.file.file).read_bytes() == data
        project(tmp_path / "app", "app", depends(line.replace(sha256(data), "0" * 64)))
        with pytest.raises(ConfigError, match="far has the sha256") as caught:
            resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
        assert caught.value.where == "app/pyproject.toml:4"


@pytest.mark.parametrize("ref", ["", "@main", "@v1", "@COMMIT", "@SHORT"])
def test_a_commit_of_a_repository_is_carried_as_it_is_committed(
    store: Store, asks: dict[str, str], tmp_path: Path, ref: str
) -> None:
    folder = project(tmp_path / "repo" / "inner", "of-git", depends("bbb==2.0"), kept="x = 1\n")
    ran = tmp_path / "ran"
    (folder.parent / ".gitattributes").write_text("kept.py export-ignore filter=evil\n")
    commit = repository(folder.parent, tag="v1")
    (tmp_path / "gitconfig").write_text(f'[filter "evil"]\nsmudge = touch {ran}\n')
    asks |= {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_DIR": str(tmp_path / "of-the-caller")}
    ref = ref.replace("COMMIT", commit).replace("SHORT", commit[:9])
    app = {"requirement": f"of-git @ git+file://{folder.parent}{ref}#subdirectory=inner"}
    house = resolver(tmp_path, store, asks, app=app).resolve()
    assert locked_names(house) == ["bbb-2.0-py3-none-any.whl", "of_git-0.4.tar.gz"]
    file = house.packages[1].file
    assert file.origin == f"git+file://{folder.parent}@{commit}#subdirectory=inner"
    assert not ran.exists()
    # The same commit gives the same bytes in a store that has nothing.
    other = Store(tmp_path / "other")
    files.gather(other, [file], tmp_path / "got", environ=asks, python="3.13", max_glibc="2.31", arch="x86_64")
    assert sha256((tmp_path / "got" / file.file).read_bytes()) == file.sha256
    names = subprocess.run(["tar", "tzf", tmp_path / "got" / file.file], check=True, capture_output=True, text=True)
    assert names.stdout.split() == ["of-git/kept.py", "of-git/pyproject.toml"]


@pytest.mark.parametrize(
    ("line", "what", "word"),
    [
        ("x @ hg+https://example.org/x", "comes from hg\\+https, which is not supported", "git repository"),
        ("x @ git+ext::sh", "comes from git\\+ext|is at", ""),
        ("x @ ftp://example.org/x-1.tar.gz", "is not a supported address", "https"),
        ("x @ file:///nowhere/x-1.0.tar.gz", "but nothing is there", ""),
        ("x @ file:///etc/passwd", "a folder, a wheel or an sdist is expected", ""),
        ("x @ file:///nowhere/x%00.tar.gz", "the address of x contains a NUL", ""),
        ("x @ git+file:///nowhere@a%00b", "the address of x contains a NUL", ""),
        ("x @ git+file:///nowhere", "x cannot be fetched: git fetch failed", "git ls-remote"),
        ("x @ http://127.0.0.1:9/x-1.0.tar.gz", "x cannot be fetched", ""),
        ("x @ http://127.0.0.1:9/x-1.0.exe", "a folder, a wheel or an sdist is expected", ""),
        ("x @ http://127.0.0.1:9/..%2F..%2Fx-1.0-py3-none-any.whl", "a folder, a wheel or an sdist is expected", ""),
        ("x @ http://[oops/x-1.0.zip", "an address that cannot be read", ""),
        ("x @ git+http://[oops/x", "an address that cannot be read", ""),
    ],
)
def test_what_is_not_carried_is_refused_with_its_line(
    store: Store, asks: dict[str, str], tmp_path: Path, line: str, what: str, word: str
) -> None:
    project(tmp_path / "app", "app", f"dependencies = [\n  'bbb',\n  '{line}',\n]\n")
    with pytest.raises(PortableError, match=what) as caught:
        resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
    assert (caught.value.where or "").startswith("app/pyproject.toml:")
    assert word in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('{url = "https://example.org/x 1.zip"}', "tool.uv.sources.x.url is not an address"),
        ('{url = "http://[oops/x-1.0.zip"}', "an address that cannot be read"),
        ('{git = "https://[oops/x"}', "x cannot be fetched"),
        ('{path = "../x", marker = "os_name ~= \'a\'"}', "tool.uv.sources.x.marker"),
        ('{workspace = true}\n[tool.uv.workspace]\nmembers = ["/x"]', "not a list of relative paths"),
        ('{workspace = true}\n[tool.uv.workspace]\nmembers = [""]', "not a list of relative paths"),
        ("{workspace = true}\n[tool.uv.workspace]\nmembers = 3", "has no member x"),
    ],
)
def test_a_table_of_sources_that_is_wrong_is_named_with_its_line(
    store: Store, asks: dict[str, str], tmp_path: Path, source: str, what: str
) -> None:
    project(tmp_path / "app", "app", depends("x") + f"[tool.uv.sources]\nx = {source}\n")
    with pytest.raises(PortableError, match=what) as caught:
        resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
    assert (caught.value.where or "").startswith("app/pyproject.toml:")


@pytest.mark.parametrize("line", ["tool = 3", "project = 3", "tool.uv = 3"])
def test_a_file_above_the_source_that_is_no_project_is_passed_over(
    store: Store, asks: dict[str, str], tmp_path: Path, line: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"{line}\n")
    project(tmp_path / "app", "app", depends("x") + "[tool.uv.sources]\nx = {workspace = true}\n")
    with pytest.raises(ConfigError, match="no folder above is the root of one"):
        resolver(tmp_path, store, asks, app={"source": "app"}).resolve()


def test_what_is_fetched_names_no_path_of_this_machine(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    """Else whoever makes a package chooses which of the user's folders are packed into the artifact."""
    project(tmp_path / "secrets", "secrets")
    taker = wheel("taker", "1.0", [f"secrets @ file://{tmp_path}/secrets"])
    name = "taker-1.0-py3-none-any.whl"
    with serving({name: taker}) as (host, _):
        project(tmp_path / "app", "app", depends(f"taker @ http://{host}/files/{name}"))
        with pytest.raises(ConfigError, match=f"{name} requires secrets by a path on this machine"):
            resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
        project(
            tmp_path / "app",
            "app",
            depends(f"secrets @ file://{tmp_path}/secrets", f"taker @ http://{host}/files/{name}"),
        )
        house = resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
    assert [package.file.name for package in house.packages] == ["secrets", "taker"]


def test_a_version_that_leaves_a_folder_is_refused(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    text = "Metadata-Version: 2.2\nName: x\nVersion: 1/../../0\n"
    (tmp_path / "x-1.0.tar.gz").write_bytes(sdist("x", "1.0", {"PKG-INFO": text}))
    project(tmp_path / "app", "app", depends(f"x @ file://{tmp_path}/x-1.0.tar.gz"))
    with pytest.raises(ConfigError, match=r"x says that its version is '1/\.\./\.\./0'") as caught:
        resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
    assert (caught.value.where or "").startswith("app/pyproject.toml:")


def test_another_project_than_was_asked_for_is_refused(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    project(tmp_path / "sibling", "somebody-else")
    project(tmp_path / "app", "app", depends(f"sibling @ file://{tmp_path}/sibling"))
    with pytest.raises(ConfigError, match="sibling is required, but the project there is somebody-else"):
        resolver(tmp_path, store, asks, app={"source": "app"}).resolve()


def test_an_address_that_a_package_of_the_index_names_is_no_silent_loss(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ResolveError) as caught:
        resolver(tmp_path, store, asks, app={"requirement": "link"}).resolve()
    assert "bbb" in (caught.value.tail or "")
    (tmp_path / "bbb-2.0-py3-none-any.whl").write_bytes(BBB)
    limits = {"constraints": [f"bbb @ file://{tmp_path}/bbb-2.0-py3-none-any.whl"]}
    house = resolver(tmp_path, store, asks, app={"requirement": "link"}, wheels=limits).resolve()
    assert origins(house) == ["path:bbb-2.0-py3-none-any.whl", None]


@pytest.mark.parametrize("form", ["folder", "wheel", "repository"])
@pytest.mark.parametrize("named", ["by address", "by the index"])
def test_what_came_from_elsewhere_takes_nothing_of_this_machine(
    store: Store, environ: dict[str, str], tmp_path: Path, form: str, named: str
) -> None:
    """A package is not trusted: a folder of the user's that it names would become part of what is published."""
    private = project(tmp_path / "private", "private", "", private="SECRET = 1")
    repository(private)
    (tmp_path / "private-1.0-py3-none-any.whl").write_bytes(wheel("private", "1.0"))
    address = {"wheel": private.with_name("private-1.0-py3-none-any.whl").as_uri(), "folder": private.as_uri()}
    told = address.get(form, f"git+{private.as_uri()}")
    with serving({**FILES, "far-1.0-py3-none-any.whl": wheel("far", "1.0", [f"private @ {told}"])}) as (host, _):
        own = environ | {"PIP_INDEX_URL": f"http://{host}/simple"}
        far = f"far @ http://{host}/files/far-1.0-py3-none-any.whl" if named == "by address" else "far"
        with pytest.raises(PortableError) as caught:
            resolver(tmp_path, store, own, app={"requirement": far}).resolve()
    if named == "by address":
        said = (
            "far-1.0-py3-none-any.whl requires private by a path on this machine, but only your own project may do this"
        )
        assert caught.value.what == said


def test_a_source_may_choose_an_index_of_its_own(
    store: Store, environ: dict[str, str], tmp_path: Path, index: str
) -> None:
    late = wheel("late", "1.0", ["bbb"])
    with serving({"late-1.0-py3-none-any.whl": late}) as (own, _):
        asks = environ | {"PIP_INDEX_URL": f"http://{index}/simple"}
        sources = f'[tool.uv.sources]\nlate = {{index = "own"}}\n[[tool.uv.index]]\nname = "own"\nurl = "http://{own}/simple"\nexplicit = true\n'
        project(tmp_path / "app", "app", depends("aaa", "late==1.0") + sources)
        house = resolver(tmp_path, store, asks, app={"source": "app"}).resolve()
    assert sha256(late) in [p.file.sha256 for p in house.packages]


def test_a_folder_packs_to_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    made = []
    for place in ("one", "two"):
        folder = tmp_path / place
        (folder / "b").mkdir(parents=True)
        (folder / "b" / "run").write_text("#!/bin/sh\n" * 9000)
        (folder / "b" / "run").chmod(0o750 if place == "one" else 0o755)
        (folder / "link").symlink_to("b/run")
        (folder / "ä").write_bytes(b"")
        (folder / "empty").mkdir()
        pack(folder, "x", tmp_path / f"{place}.tar.gz")
        os.utime(folder / "b" / "run", (place == "one", 7))
        made.append((tmp_path / f"{place}.tar.gz").read_bytes())
    assert made[0] == made[1]
    # Pinned: locks hold this digest, so that no other Python or zlib may give another.
    assert sha256(made[0]) == "5f09ed625a5a12b1fab2f156592e2bc075951ee36eb77f96e06154043675e056"
    listed = subprocess.run(["tar", "tzf", tmp_path / "one.tar.gz"], check=True, capture_output=True)
    assert listed.stdout.decode("unicode_escape").count("\n") == 3


# ------------------------------------------------------------------------------------------- the whole of it


def test_markers_and_requires_python_are_read_with_all_of_the_version(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    lines = ('late ; python_full_version >= "3.13.1"', 'aaa ; python_full_version < "3.13.5"')
    project(tmp_path / "app", "app", depends(*lines))
    assert locked_names(resolver(tmp_path, store, asks, app={"source": "app"}).resolve()) == [
        "late-1.0-py3-none-any.whl"
    ]
    project(tmp_path / "app", "app", 'requires-python = ">=3.13.6"\n')
    with pytest.raises(ConfigError, match=r"app 0.4 requires Python >=3.13.6, but the interpreter is 3.13.5"):
        resolver(tmp_path, store, asks, app={"source": "app"}).resolve()


def test_extras_of_the_app_may_name_one_another(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    extras = '[project.optional-dependencies]\nall = ["app[one]"]\none = ["late"]\ntwo = ["aaa"]\n'
    project(tmp_path / "app", "app", extras)
    house = resolver(tmp_path, store, asks, app={"source": "app", "extras": ["all"]}).resolve()
    assert locked_names(house) == ["late-1.0-py3-none-any.whl"]


def test_a_resolution_that_is_not_whole_names_both_sides(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    """The index says less of an sdist than the sdist itself does."""
    told = sdist("lie", "1.0", {"PKG-INFO": "Metadata-Version: 2.2\nName: lie\nVersion: 1.0\nRequires-Dist: bbb\n"})
    data = wheel("lie", "1.0", tag="cp39-abi3-manylinux_2_17_x86_64")
    with serving({**FILES, "lie-1.0.tar.gz": told, "lie-1.0-cp39-abi3-manylinux_2_17_x86_64.whl": data}) as (host, _):
        own = asks | {"PIP_INDEX_URL": f"http://{host}/simple"}
        config = {"app": {"requirement": "lie"}, "wheels": {"no-binary": ["lie"]}}
        with pytest.raises(ConfigError, match=r"lie 1\.0 requires bbb, but bbb is not locked") as caught:
            resolver(tmp_path, store, own, **config).resolve()
    assert caught.value.hint


@pytest.mark.parametrize("name", ["rebuilt-1.0-1-py3-none-any.whl", "rebuilt-1.0-py3-none-any.whl"])
def test_the_highest_build_number_is_locked(store: Store, environ: dict[str, str], tmp_path: Path, name: str) -> None:
    names = [name, "rebuilt-1.0-10-py3-none-any.whl", "rebuilt-1.0-2b-py3-none-any.whl"]
    with serving({each: wheel("rebuilt", "1.0", more={"n": each}) for each in names}) as (host, _):
        asks = environ | {"PIP_INDEX_URL": f"http://{host}/simple"}
        house = resolver(tmp_path, store, asks, app={"requirement": "rebuilt"}).resolve()
    assert locked_names(house) == ["rebuilt-1.0-10-py3-none-any.whl"]


# ------------------------------------------------------------------------------------------- build backends


DYNAMIC = 'dynamic = ["dependencies"]\n'


def metadata(*requires: str) -> str:
    return "Metadata-Version: 2.1\nName: app\nVersion: 0.4\n" + "".join(f"Requires-Dist: {r}\n" for r in requires)


def test_what_only_a_backend_says_is_asked_again_when_any_file_has_changed(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    project(tmp_path / "app", "app", DYNAMIC, setup="whatever()")
    first = Answers({"app": Answer((), metadata("late"))})
    house = resolver(tmp_path, store, asks, first, app={"source": "app"}).resolve()
    assert locked_names(house) == ["late-1.0-py3-none-any.whl"]
    again = Answers()
    assert resolver(tmp_path, store, asks, again, app={"source": "app"}).holds(house)
    assert again.asked == []
    (tmp_path / "app" / "wanted.json").write_text("[]")
    for answer, holds in ((metadata("late"), True), (metadata("late", "bbb"), False)):
        asker = Answers({"app": Answer((), answer)})
        assert resolver(tmp_path, store, asks, asker, app={"source": "app"}).holds(house) is holds
        assert [question.metadata for question in asker.asked] == [True]
    more = Answers({"app": Answer(("helper",), metadata("late"))})
    assert not resolver(tmp_path, store, asks, more, app={"source": "app"}).holds(house)


def test_a_project_without_a_project_table_is_asked_through_its_own_backend(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "app").mkdir()
    text = '[tool.poetry]\nname = "app"\n[build-system]\nrequires = ["helper"]\nbuild-backend = "poetry.core.masonry.api"\n'
    (tmp_path / "app" / "pyproject.toml").write_text(text)
    asker = Answers({"app": Answer((), metadata("late", "sib @ file:///build/source/sib"))})
    project(tmp_path / "sib", "sib")
    house = resolver(tmp_path, store, asks, asker, app={"source": "app"}).resolve()
    # A path is where it would be beside the source that was asked.
    assert locked_names(house) == ["late-1.0-py3-none-any.whl", "sib-0.4.tar.gz"]
    assert [f.name for f in house.app_build] == ["helper", "wheel"]


def test_what_a_backend_asks_for_is_locked_unless_the_config_says_it(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    system = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    project(tmp_path / "app", "app", system)
    asker = Answers({"app": Answer(("helper",), None)})
    house = resolver(tmp_path, store, asks, asker, app={"source": "app"}).resolve()
    assert [f.name for f in house.app_build] == ["helper", "wheel"]
    wheels = {"build-requires": {"app": ["late"]}}
    house = resolver(tmp_path, store, asks, app={"source": "app"}, wheels=wheels).resolve()
    assert [f.name for f in house.app_build] == ["late", "wheel"]


def test_an_sdist_that_says_nothing_is_asked_by_its_backend(store: Store, asks: dict[str, str], tmp_path: Path) -> None:
    with serving({**FILES, "mute-1.0.tar.gz": sdist("mute", "1.0", {"setup.py": "x"})}) as (host, _):
        own = asks | {"PIP_INDEX_URL": f"http://{host}/simple"}
        asker = Answers({"mute 1.0": Answer((), metadata("late").replace("app", "mute"))})
        house = resolver(tmp_path, store, own, asker, app={"requirement": "mute"}).resolve()
        assert locked_names(house) == ["late-1.0-py3-none-any.whl", "mute-1.0.tar.gz"]
        assert [question.own for question in asker.asked] == [False]
        said = {"metadata": {"mute": ["bbb<2.1"]}}
        house = resolver(tmp_path, store, own, app={"requirement": "mute"}, wheels=said).resolve()
        assert locked_names(house) == ["bbb-2.0-py3-none-any.whl", "mute-1.0.tar.gz"]


@pytest.mark.parametrize("words", [[], ["-c", "print(1)"], ["-I", "-c", "print(1)"], ["own.py"], ["-m", "x"]])
def test_the_interpreter_that_uv_gets_runs_nothing(tmp_path: Path, words: list[str]) -> None:
    program = stand_in(tmp_path / "b a're")
    done = subprocess.run([program, *words], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{NOTHING_RUNS}\n")
    told = subprocess.run(
        [program, "-I", "-B", "-c", "import sys; print(sys.executable)"], capture_output=True, text=True
    )
    assert told.stdout.strip() == str(program)
    assert [path.name for path in (tmp_path / "b a're" / "bin").glob("python*")] == ["python"]


# ---------------------------------------------------------------------------------------------- constraints


def test_constraints_of_pip_and_of_the_config_bound_versions_and_are_part_of_a_lock(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "more.txt").write_text("# a comment\nbbb < 2.1  # why\nlate==1.0 ; python_version < '3'\n")
    (tmp_path / "limits.txt").write_text("-c more.txt\n--index-url https://example.org\n\n")
    told = asks | {"PIP_CONSTRAINT": str(tmp_path / "limits.txt")}
    free = resolver(tmp_path, store, asks).resolve()
    bound = resolver(tmp_path, store, told).resolve()
    assert locked_names(free)[1] == "bbb-2.1-py3-none-any.whl"
    assert locked_names(bound) == ["aaa-1.0-py3-none-any.whl", "bbb-2.0-py3-none-any.whl"]
    assert not resolver(tmp_path, store, told).holds(free)
    (tmp_path / "more.txt").write_text("")
    assert not resolver(tmp_path, store, told).holds(bound)
    own = resolver(tmp_path, store, asks, wheels={"constraints": ["bbb<2.1"]})
    assert locked_names(own.resolve()) == locked_names(bound)
    assert not own.holds(free)


@pytest.mark.parametrize(
    ("section", "key", "build", "found"),
    [("global", "constraint", False, True), ("install", "constraint", False, True),
     ("download", "constraint", False, False), ("install", "build-constraint", True, True),
     ("install", "constraint", True, False)],
)  # fmt: skip
def test_constraints_of_pips_configuration_count(
    environ: dict[str, str], tmp_path: Path, section: str, key: str, build: bool, found: bool
) -> None:
    (tmp_path / "limits.txt").write_text("bbb<2.1\n")
    (tmp_path / "pip.conf").write_text(f"[{section}]\n{key} = {tmp_path}/limits.txt\n")
    told = environ | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    assert constraints(told, build=build) == (("bbb<2.1",) if found else ())


def test_a_commands_section_wins_over_global_of_a_later_file(environ: dict[str, str], tmp_path: Path) -> None:
    for name in ("early", "late"):
        (tmp_path / f"{name}.txt").write_text(f"{name}<2\n")
    config = tmp_path / "xdg" / "pip"
    config.mkdir(parents=True)
    (config / "pip.conf").write_text(f"[install]\nconstraint = {tmp_path}/early.txt\n")
    (tmp_path / "pip.conf").write_text(f"[global]\nconstraint = {tmp_path}/late.txt\n")
    told = environ | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert constraints(told) == ("early<2",)


def test_a_user_without_a_home_has_no_constraints_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert constraints({}) == constraints({}, build=True) == ()


@pytest.mark.parametrize(
    ("text", "what"),
    [("~nobody-of-that-name/limits.txt", "cannot be read"),
     ("https://user:pw@example.org/limits.txt", "only files are read"), ("nowhere.txt", "cannot be read"),
     ("limits.txt", "is not a requirement")],
)  # fmt: skip
def test_constraints_that_cannot_be_honoured_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    (tmp_path / "limits.txt").write_text("bbb <>< 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=what) as caught:
        constraints({"PIP_CONSTRAINT": text})
    assert "wheels: {constraints" in (caught.value.hint or "")
    assert "pw" not in caught.value.what


def test_constraint_files_that_name_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-c b.txt\n")
    (tmp_path / "b.txt").write_text("--constraint a.txt\nbbb\n")
    assert constraints({"PIP_CONSTRAINT": str(tmp_path / "a.txt")}) == ("bbb",)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"", "cannot be read: it is not JSON"),
        (b"\xff", "it is not JSON: it is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"requires": [], "metadata": "\\ud800"}', "half of a character"),
        (b"[]", "did not answer with a list of requirements"),
        (b'{"requires": "wheel", "metadata": null}', "did not answer with a list of requirements"),
        (b'{"requires": [1], "metadata": null}', "did not answer with a list of requirements"),
        (b'{"requires": [], "metadata": 1}', "did not answer with metadata as text"),
        (None, "left no answer"),
    ],
)
def test_an_answer_of_a_build_backend_is_foreign_and_never_a_traceback(
    tmp_path: Path, answer: bytes | None, what: str
) -> None:
    path = tmp_path / "answer.json"
    if answer is not None:
        path.write_bytes(answer)
    with pytest.raises(StepError, match=what):
        backends.answer_of(backends.read_answer(path, "x"), "x")


def test_what_the_config_wants_beside_the_app_is_locked_with_what_it_requires(
    store: Store, asks: dict[str, str], tmp_path: Path
) -> None:
    project(tmp_path / "app", "app", depends("late"))
    project(tmp_path / "plug", "plug")
    alone = resolver(tmp_path, store, asks, app={"source": "app"})
    assert alone.holds(alone.resolve())
    wanted = {"source": "app", "with": ["aaa==1.0", f"plug @ {(tmp_path / 'plug').as_uri()}"]}
    locking = resolver(tmp_path, store, asks, app=wanted)
    house = locking.resolve()
    names = ["aaa-1.0-py3-none-any.whl", "bbb-2.1-py3-none-any.whl", "late-1.0-py3-none-any.whl", "plug-0.4.tar.gz"]
    assert locked_names(house) == names
    assert locking.holds(house) and not alone.holds(house)
    (tmp_path / "plug" / "more.py").write_text("")
    assert not resolver(tmp_path, store, asks, app=wanted).holds(house), "its own folder is watched"
    wrong = {"not a requirement": "is not a requirement", "late; python_version < '3'": "no condition can stand here"}
    for line, said in wrong.items():
        with pytest.raises(ConfigError, match=said):
            resolver(tmp_path, store, asks, app={"source": "app", "with": ["aaa", line]})
