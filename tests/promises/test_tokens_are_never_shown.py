"""Promise: a login or a token of an index or a server, be it before the @ or in the query of a URL, is used and never
kept or shown: not in the store, the lock, logs, evidence or errors.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_portable.base.fetch import Failed, FetchError, TimeLimits, Url, fetch
from py_portable.base.redact import hide, is_plain
from py_portable.base.servers import redact
from py_portable.ci import travel
from py_portable.errors import PortableError
from py_portable.formats import parse_config
from py_portable.lock import lockfile
from py_portable.lock.index import ask, files
from py_portable.lock.index.offers import LockedFile, Offer
from py_portable.lock.lockfile import Lock
from py_portable.lock.markers import ResolveTarget
from py_portable.lock.resolve import Resolver
from py_portable.store import Store
from tests.unit.askers import Answers
from tests.unit.index_server import wheel

TOKEN = "t0ken-of-this-test"
NAME = "aaa-1.0-py3-none-any.whl"
WHEEL = wheel("aaa", "1.0")
TARGET: dict[str, Any] = {"python": "3.13", "max_glibc": "2.31", "arch": "x86_64"}
CONFIG = """\
version: 1
app: {requirement: aaa}
python: "3.13"
baselines: {default: {image: "debian:12"}}
artifacts: [wheelhouse]
portability: {images: ["debian:12"]}
"""


@pytest.fixture
def index() -> Iterator[tuple[str, list[str]]]:
    """Every page and every file is given to those only whose URL has the token in its query."""
    asked: list[str] = []
    sha256 = hashlib.sha256(WHEEL).hexdigest()
    page = f'<a href="/files/{NAME}?sig={TOKEN}#sha256={sha256}">{NAME}</a>'.encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            parts = urlsplit(self.path)
            known = TOKEN in [value for values in parse_qs(parts.query).values() for value in values]
            body = {f"/files/{NAME}": WHEEL, "/simple/aaa/": page, "/open/aaa/": page}.get(parts.path)
            known |= parts.path.startswith("/open/")
            self.send_response(200 if body and known else 403 if body else 404)
            self.send_header("Content-Type", "text/html" if parts.path.startswith(("/simple", "/open")) else "x/y")
            sent = body if body and known else b""
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(sent)

        do_HEAD = do_GET

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def environ(index: tuple[str, list[str]], tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return {
        **kept,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"http://{index[0]}/simple/?key={TOKEN}",
        "no_proxy": "127.0.0.1",
    }


def holders(folder: Path) -> list[str]:
    return [
        str(path)
        for path in folder.rglob("*")
        if TOKEN in path.name or (path.is_file() and TOKEN.encode() in path.read_bytes())
    ]


@pytest.mark.parametrize("where", ["index", "files"])
def test_a_token_in_a_query_gets_the_file_and_is_kept_nowhere(
    where: str, index: tuple[str, list[str]], environ: dict[str, str], tmp_path: Path
) -> None:
    if where == "files":
        environ["PIP_INDEX_URL"] = f"http://{index[0]}/open/"
    store = Store(tmp_path / "store")
    config = parse_config(CONFIG.encode(), "portable.yaml", tmp_path)
    house = Resolver(config, store, ResolveTarget(**TARGET), environ, Answers()).resolve()
    assert [package.file.file for package in house.packages] == [NAME]
    lock = lockfile.dumps(Lock(houses={"default/3.13": house}))
    got = files.gather(store, [package.file for package in house.packages], tmp_path / "got", environ=environ, **TARGET)
    assert (got / NAME).read_bytes() == WHEEL
    assert any(TOKEN in path for path in index[1])
    assert TOKEN not in lock
    assert holders(tmp_path) == []


def test_an_index_that_refuses_is_told_of_without_the_token(
    environ: dict[str, str], tmp_path: Path, index: tuple[str, list[str]]
) -> None:
    store = Store(tmp_path / "store")
    environ["PIP_INDEX_URL"] = f"http://{index[0]}/simple/?key=not-{TOKEN}"
    with pytest.raises(PortableError) as caught:
        ask.offers(["aaa"], cache=store.cache("uv"), environ=environ, **TARGET)
    assert TOKEN not in caught.value.render()
    assert holders(tmp_path) == []


def test_what_an_older_kit_has_kept_is_not_used_and_goes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    path = store.cache("index") / "urls.json"
    path.write_text(json.dumps({"a" * 64: f"https://files.invalid/a.whl?token={TOKEN}"}))
    offer = Offer("b", "1", "b.whl", "https://files.invalid/b.whl#sha256=00", "b" * 64, 1)
    files.remember(store, [offer])
    assert json.loads(path.read_text()) == {"b" * 64: offer.url}


def test_a_server_that_does_not_answer_is_told_of_without_the_token(tmp_path: Path) -> None:
    for url in (
        f"http://127.0.0.1:9/kit.tar.zst?token={TOKEN}",
        f"http://reader:{TOKEN}@127.0.0.1:9/kit.tar.zst",
        f"http://127.0.0.1:9/kit.tar.zst#{TOKEN}",
        f"http://[::1/kit?{TOKEN}",
        f"http://{TOKEN}@[::1/kit",
    ):
        with pytest.raises(FetchError) as caught:
            fetch([Url(url)], "0" * 64, tmp_path / "kit", max_bytes=10, limits=TimeLimits(1.0, 5.0))
        assert TOKEN not in caught.value.render() and "kit" in caught.value.render()
        with pytest.raises(Failed) as failed:
            Url(url).download(tmp_path / "x", "0" * 64, 10, TimeLimits(1.0, 5.0))
        assert TOKEN not in str(failed.value)
        assert TOKEN not in repr(Url(url)) + redact(url)


def test_answers_of_indexes_do_not_travel(tmp_path: Path) -> None:
    """A token in a path (/TOKEN/simple/) cannot be told from a folder: what may hold one stays on its machine."""
    store = Store(tmp_path / "store")
    (store.cache("index") / "urls.json").write_text(json.dumps({"a" * 64: f"https://i.invalid/{TOKEN}/a.whl"}))
    (store.cache("uv") / "simple").write_text(TOKEN)
    (store.cache("other") / "kept").write_text("x")
    assert travel.pack_store(store.root, tmp_path / "cache")
    assert TOKEN.encode() not in (tmp_path / "cache" / travel.STORE).read_bytes()
    assert travel.unpack_store(tmp_path / "cache", tmp_path / "fresh")
    assert (tmp_path / "fresh/cache/other/kept").exists()


URLS: Mapping[str, str] = {
    "https://user:S@host/simple/": "https://***@host/simple/",
    "https://S@host/simple/": "https://***@host/simple/",
    "https://host/simple/?token=S": "https://host/simple/?***",
    "https://host/simple/?token=S#sha256=00ff": "https://host/simple/?***#sha256=00ff",
    "https://host/a.whl#sha256=00ff&egg=a": "https://host/a.whl#sha256=00ff&egg=a",
    "https://host/a.whl#token=S": "https://host/a.whl#***",
    "https://user:p@S@host/simple/?a=S": "https://***@host/simple/?***",
    "git+https://S@host/x@main?S": "git+https://***@host/x@main?***",
    "https://host/simple": "https://host/simple",
    "file:///a/b?": "file:///a/b?",
}


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("around", ["{}", "error: `{}` gave 403", 'x="{}", y', "<{}>", "a\n{}\nb"])
def test_urls_are_shown_without_secrets(url: str, around: str) -> None:
    assert hide(around.format(url)) == around.format(URLS[url])
    assert hide(hide(around.format(url))) == hide(around.format(url))
    assert is_plain(url) == (url == URLS[url])


word = st.text(st.characters(codec="ascii", exclude_characters="` \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f'\"<>/"), max_size=8)


@given(before=word, user=word, path=word, query=word, after=word)
def test_no_shape_of_a_url_shows_it(before: str, user: str, path: str, query: str, after: str) -> None:
    for url in (
        f"https://{user}{TOKEN}@host/{path}?{query}",
        f"https://host/{path}?{query}{TOKEN}{after}",
        f"https://{user}@host/{path}?{query}&a={TOKEN}#{after}",
    ):
        assert TOKEN not in hide(f"{before} {url} {after}")
        assert TOKEN not in redact(url)


def test_a_locked_file_has_no_address() -> None:
    assert {name for name in LockedFile.__dataclass_fields__ if "url" in name.lower()} == set()
