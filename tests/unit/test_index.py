"""The caller's index configuration in uv's words, and resolutions against a real index on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from py_portable.base.servers import Route
from py_portable.errors import ConfigError, PortableError, StepError
from py_portable.formats import parse_config
from py_portable.lock.index import ask, files
from py_portable.lock.index.offers import LockedFile, Offer
from py_portable.lock.markers import ResolveTarget
from py_portable.lock.resolve import Resolver
from py_portable.store import Store
from tests.unit.askers import Answers
from tests.unit.index_server import sdist, serving, sha256, wheel

LOGIN = "user:s3cr3t"
TARGET: dict[str, Any] = {"python": "3.13", "max_glibc": "2.31", "arch": "x86_64"}
AAA = wheel("aaa", "1.0", ["bbb>=2"])
OLD = wheel("bbb", "2.0")
NEW = wheel("bbb", "2.1")
BROKEN_SETUP = "raise SystemExit('needs a library that only the baseline has')\n"
CCC = sdist(
    "ccc",
    "1.0",
    {
        "PKG-INFO": "Metadata-Version: 1.2\nName: ccc\nVersion: 1.0\n",
        "ccc.egg-info/requires.txt": "bbb\n",
        "setup.py": BROKEN_SETUP,
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    },
)
FILES = {
    "aaa-1.0-py3-none-any.whl": AAA,
    "bbb-2.0-py3-none-any.whl": OLD,
    "bbb-2.1-py3-none-any.whl": NEW,
    "ccc-1.0.tar.gz": CCC,
    "setuptools-99.0-py3-none-any.whl": wheel("setuptools", "99.0"),
    "wheel-9.0-py3-none-any.whl": wheel("wheel", "9.0"),
}


# ------------------------------------------------------------------------------------------ translation


def test_the_environment_wins_over_a_command_and_a_command_over_global() -> None:
    listing = "global.index-url='g'\ninstall.index-url='i'\nglobal.timeout='3'\ndownload.proxy='no'\n"
    assert ask.pip_settings(listing) == {"index-url": "i", "timeout": "3"}
    assert ask.pip_settings(":env:.index-url='e'\n" + listing)["index-url"] == "e"
    assert ask.pip_settings(listing + ":env:.index-url='e'\n")["index-url"] == "e"


def test_an_empty_setting_is_an_unset_one_as_for_pip() -> None:
    assert ask.pip_settings("global.index-url='g'\n:env:.index-url=''\n") == {"index-url": "g"}


def test_lines_that_are_no_settings_are_passed_over() -> None:
    assert ask.pip_settings("WARNING: x\nglobal.a=oops\nglobal.b='x=y'\n\n=\nglobal.c=__import__('os')") == {"b": "x=y"}


def test_pips_settings_in_uvs_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "links").mkdir()
    told = ask.uv_environment(
        {
            "index-url": "https://host/simple",
            "extra-index-url": "https://a/simple\nhttps://b/simple",
            "find-links": f"links https://c/flat {tmp_path}/links /nowhere/at/all",
            "trusted-host": "a\n b",
            "cert": "ca.pem",
            "client-cert": "/etc/client.pem",
            "proxy": "http://user:pw@proxy:3128",
            "timeout": "15.5",
            "keyring-provider": "auto",
        },
        {},
    )
    assert told == {
        "UV_DEFAULT_INDEX": "https://host/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path}/links,https://c/flat,{tmp_path}/links",
        "UV_INSECURE_HOST": "a b",
        "SSL_CERT_FILE": f"{tmp_path}/ca.pem",
        "SSL_CLIENT_CERT": "/etc/client.pem",
        "HTTP_PROXY": "http://user:pw@proxy:3128",
        "HTTPS_PROXY": "http://user:pw@proxy:3128",
        "ALL_PROXY": "http://user:pw@proxy:3128",
        "UV_HTTP_TIMEOUT": "16",
        "UV_KEYRING_PROVIDER": "subprocess",
    }


def test_what_the_caller_set_for_uv_itself_wins() -> None:
    settings = {"index-url": "https://pip/simple", "extra-index-url": "https://more/simple"}
    environ = {"UV_DEFAULT_INDEX": "https://uv/simple", "UV_INDEX": "https://other/simple"}
    told = ask.uv_environment(settings, environ)
    assert told["UV_DEFAULT_INDEX"] == "https://uv/simple"
    assert told["UV_INDEX"] == "https://other/simple"
    old = ask.uv_environment(settings, {"UV_INDEX_URL": "https://uv/simple", "UV_EXTRA_INDEX_URL": "https://x"})
    assert not {"UV_DEFAULT_INDEX", "UV_INDEX"} & set(old)
    assert ask.uv_environment(settings, {"UV_DEFAULT_INDEX": ""})["UV_DEFAULT_INDEX"] == "https://pip/simple"


def test_the_callers_python_environment_is_not_uvs() -> None:
    assert ask.uv_environment({}, {"VIRTUAL_ENV": "/venv", "UV_PYTHON": "3.8", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("timeout", ["", "soon", "nan", "inf", "0"])
def test_a_timeout_that_is_none_is_left_to_uv(timeout: str) -> None:
    assert ask.uv_environment({"timeout": timeout}, {}) == {}


# ------------------------------------------------------------------------------------------ a real index


@pytest.fixture(scope="module")
def private() -> Iterator[tuple[str, list[str]]]:
    with serving(FILES, LOGIN) as served:
        yield served


def offered(store: Store, environ: Mapping[str, str], *requirements: str, **options: Any) -> list[Offer]:
    return ask.offers(requirements, cache=store.cache("uv"), environ=environ, **TARGET | options)


def told(offers: list[Offer]) -> list[tuple[str, str]]:
    return sorted((offer.file, offer.sha256) for offer in offers)


def test_a_private_index_is_asked_with_the_login_of_pips_configuration_and_so_are_its_files(
    private: tuple[str, list[str]], store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["PIP_INDEX_URL"] = f"http://{LOGIN}@{private[0]}/simple"
    offers = offered(store, environ, "aaa")
    assert told(offers) == [
        ("aaa-1.0-py3-none-any.whl", sha256(AAA)),
        ("bbb-2.1-py3-none-any.whl", sha256(NEW)),
    ]
    files.remember(store, offers)
    locked = [LockedFile(o.name, o.version, o.file, o.sha256, o.size) for o in offers]
    got = files.gather(store, locked, tmp_path / "got", environ=environ, **TARGET)
    assert (got / "aaa-1.0-py3-none-any.whl").read_bytes() == AAA
    # What is in the store is never asked for again, and no login lies in it.
    asked = len(private[1])
    files.gather(store, locked, tmp_path / "again", environ={}, **TARGET)
    assert len(private[1]) == asked
    for path in store.root.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path


def test_files_are_found_again_when_the_memory_of_addresses_is_lost(
    private: tuple[str, list[str]], store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["PIP_INDEX_URL"] = f"http://{LOGIN}@{private[0]}/simple"
    file = LockedFile("bbb", "2.0", "bbb-2.0-py3-none-any.whl", sha256(OLD), None)
    (store.cache("index") / "urls.json").write_text('{"' + file.sha256 + '": 5}')
    got = files.gather(store, [file], tmp_path / "got", environ=environ, **TARGET)
    assert (got / file.file).read_bytes() == OLD


def test_a_locked_file_that_is_gone_is_named_with_the_remedy(
    private: tuple[str, list[str]], store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    environ["PIP_INDEX_URL"] = f"http://{LOGIN}@{private[0]}/simple"
    file = LockedFile("bbb", "2.0", "bbb-2.0-py3-none-any.whl", "0" * 64, None)
    with pytest.raises(StepError, match="the index no longer has it") as caught:
        files.gather(store, [file], tmp_path / "got", environ=environ, **TARGET)
    assert caught.value.hint == "choose new versions: py-portable lock --update bbb"


@pytest.mark.parametrize("login", ["user:wr0ng-pw", "user:wr0ng@pw", "wr0ng-pw"])
def test_a_refused_login_never_appears_in_what_is_shown(
    private: tuple[str, list[str]], store: Store, environ: dict[str, str], login: str
) -> None:
    environ["PIP_INDEX_URL"] = f"http://{login}@{private[0]}/simple"
    with pytest.raises(ask.ResolveError) as caught:
        offered(store, environ, "aaa")
    assert "wr0ng" not in caught.value.render()
    assert private[0] in caught.value.render()


def test_folders_of_find_links_are_enough_without_an_index(
    store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    for folder, name, data in (
        ("one", "aaa-1.0-py3-none-any.whl", AAA),
        ("two more", "bbb-2.0-py3-none-any.whl", OLD),
    ):
        (tmp_path / folder.split()[0]).mkdir(exist_ok=True)
        (tmp_path / folder.split()[0] / name).write_bytes(data)
    # An index that nobody may ask: it would give another bbb.
    with serving(FILES) as (host, asked):
        environ |= {
            "PIP_INDEX_URL": f"http://{host}/simple",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": f"{tmp_path}/one {tmp_path}/two",
        }
        offers = offered(store, environ, "aaa")
        files.remember(store, offers)
        assert told(offers) == [
            ("aaa-1.0-py3-none-any.whl", sha256(AAA)),
            ("bbb-2.0-py3-none-any.whl", sha256(OLD)),
        ]
        locked = [LockedFile(o.name, o.version, o.file, o.sha256, o.size) for o in offers]
        got = files.gather(store, locked, tmp_path / "got", environ=environ, **TARGET)
        assert (got / "bbb-2.0-py3-none-any.whl").read_bytes() == OLD
        assert asked == []


def test_the_best_version_of_all_indexes_is_taken_as_pip_does(store: Store, environ: dict[str, str]) -> None:
    with (
        serving({"bbb-2.0-py3-none-any.whl": OLD}) as (one, _),
        serving({"bbb-2.1-py3-none-any.whl": NEW}) as (two, _),
    ):
        environ |= {"PIP_INDEX_URL": f"http://{one}/simple", "PIP_EXTRA_INDEX_URL": f"http://{two}/simple"}
        assert [o.version for o in offered(store, environ, "bbb")] == ["2.1"]


@pytest.mark.parametrize(
    "line", ["--index-url http://127.0.0.1:9/simple", "-r /etc/passwd", "-e .", "a\n-e .", "../x", ""]
)
def test_a_requirement_that_is_none_never_reaches_uv(store: Store, environ: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError, match="is not a requirement"):
        offered(store, environ, line)


def test_logins_are_those_of_the_callers_indexes(environ: dict[str, str]) -> None:
    environ |= {
        "PIP_INDEX_URL": "https://u:p@one/simple",
        "UV_INDEX": "mine=https://t@two:8443/simple https://three/simple",
    }
    assert ask.access(environ).logins == {("https", "one"): "u:p", ("https", "two:8443"): "t"}


def test_two_threads_may_remember_at_once(store: Store) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                files.remember(store, [Offer("a", "1", "a.whl", f"https://host/{number}", f"{number}" * 64, None)])
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert json.loads((store.cache("index") / "urls.json").read_text())


def test_an_address_with_a_login_is_not_remembered(store: Store) -> None:
    addresses = {
        "a" * 64: "https://u:p@host/a.whl",
        "b" * 64: "https://host/b@c.whl",
        "c" * 64: "file:///d/e.whl",
    }
    files.remember(store, [Offer("a", "1", "a.whl", url, sha, None) for sha, url in addresses.items()])
    known = json.loads((store.cache("index") / "urls.json").read_text())
    assert sorted(known) == ["b" * 64, "c" * 64]


# --------------------------------------------------------------------------------------------- resolving


def resolver(
    base: Path, store: Store, environ: Mapping[str, str], asker: Answers | None = None, **changes: Any
) -> Resolver:
    told = {
        "version": 1,
        "app": {"requirement": "aaa"},
        "python": "3.13",
        "artifacts": ["wheelhouse"],
    } | changes
    config = parse_config(json.dumps(told).encode(), "portable.yaml", base)
    return Resolver(config, store, ResolveTarget(**TARGET, full="3.13.5"), environ, asker or Answers())


def locked_names(house: Any) -> list[str]:
    return [package.file.file for package in house.packages]


def test_a_resolution_keeps_its_versions_until_it_is_told_otherwise(
    store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    old = {name: data for name, data in FILES.items() if "2.1" not in name}
    with serving(old) as (host, _):
        first = resolver(tmp_path, store, environ | {"PIP_INDEX_URL": f"http://{host}/simple"}).resolve()
    assert locked_names(first) == ["aaa-1.0-py3-none-any.whl", "bbb-2.0-py3-none-any.whl"]
    with serving(FILES) as (host, _):
        now = resolver(tmp_path, store, environ | {"PIP_INDEX_URL": f"http://{host}/simple"})
        assert now.resolve(first) == first
        assert locked_names(now.resolve(first, ["aaa"])) == locked_names(first)
        assert locked_names(now.resolve(first, ["BBB"]))[1] == "bbb-2.1-py3-none-any.whl"
        assert locked_names(now.resolve(first, ["*"]))[1] == "bbb-2.1-py3-none-any.whl"


def test_an_sdist_that_cannot_be_built_here_tells_its_dependencies_all_the_same(
    store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    with serving(FILES) as (host, _):
        environ["PIP_INDEX_URL"] = f"http://{host}/simple"
        house = resolver(tmp_path, store, environ, app={"requirement": "ccc"}).resolve()
    assert locked_names(house) == ["bbb-2.1-py3-none-any.whl", "ccc-1.0.tar.gz"]
    built = house.packages[1]
    assert [f.file for f in built.build] == ["setuptools-99.0-py3-none-any.whl", "wheel-9.0-py3-none-any.whl"]


def test_requirements_without_an_answer_are_explained(store: Store, environ: dict[str, str], tmp_path: Path) -> None:
    with serving(FILES) as (host, _):
        environ["PIP_INDEX_URL"] = f"http://{host}/simple"
        with pytest.raises(PortableError) as caught:
            resolver(tmp_path, store, environ, app={"requirement": "aaa==7"}).resolve()
    assert "aaa" in (caught.value.tail or "")


@pytest.mark.parametrize(
    "changes",
    [
        {"app": {"requirement": "aaa==1.0"}},
        {"app": {"requirement": "aaa", "extras": ["x"]}},
        {"wheels": {"no-binary": ["bbb"]}},
        {"wheels": {"metadata": {"bbb": ["six"]}}},
        {"wheels": {"build-requires": {"bbb": ["six"]}}},
    ],
)
def test_a_lock_is_out_of_date_when_what_was_asked_changes(
    store: Store, tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert resolver(tmp_path, store, {}, **changes).inputs() != resolver(tmp_path, store, {}).inputs()


def test_a_lock_is_not_out_of_date_for_other_changes(store: Store, tmp_path: Path) -> None:
    other = {"artifacts": ["wheelhouse", "nuitka-onefile"], "build": {"env": {"A": "b"}}}
    assert resolver(tmp_path, store, {}, **other).inputs() == resolver(tmp_path, store, {"A": "b"}).inputs()


def test_pips_words_for_reaching_an_index_hold_for_our_own_downloads_too() -> None:
    told = ask.route({"cert": "/etc/own-ca.pem", "proxy": "http://me:pw@proxy:3128", "trusted-host": "a b:8443"})
    assert told.ca_bundle == "/etc/own-ca.pem" and told.proxy == "http://me:pw@proxy:3128"
    assert not told.verifies("a", None) and not told.verifies("b", 8443)
    assert told.verifies("b", 443) and told.verifies("c", None)
    assert "pw" not in repr(told)
    assert ask.route({}) == Route()


@pytest.mark.parametrize("file", ["../aaa-1.0.tar.gz", "a/aaa-1.0.tar.gz", "/aaa-1.0.tar.gz", "..", "aaa\0-1.0.tar.gz"])
def test_a_file_of_an_index_that_has_no_name_of_a_file_is_refused(file: str, tmp_path: Path) -> None:
    offer = {"name": file, "url": "https://index.example/x.tar.gz", "hashes": {"sha256": "0" * 64}}
    document = {"packages": [{"name": "aaa", "version": "1.0", "sdist": offer}]}
    with pytest.raises(ConfigError, match="not a file name"):
        list(ask._parse(document, tmp_path))
