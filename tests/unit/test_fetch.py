"""Fetching by digest from servers on the loopback that do everything wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.base.fetch import FetchError, FileSource, TimeLimits, Url, fetch
from py_portable.images.debian import pool
from py_portable.images.debian.pool import DebianPool
from py_portable.interpreters.pins import pins

DATA = b"the pristine tarball " * 5000
SHA = hashlib.sha256(DATA).hexdigest()
QUICK = TimeLimits(idle=0.4, total=5)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]
    other: str
    stop: threading.Event

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.seen.append((path, self.headers.get("Authorization")))
        tries = sum(1 for name, _ in self.seen if name == path)
        if path == "/good" or (path == "/second-try" and tries > 1):
            self.give(DATA)
        elif path == "/login":
            self.give(DATA, 200 if self.headers.get("Authorization") == "Basic bWU6cEBzcw==" else 401)
        elif path == "/other":
            self.give(b"x" * len(DATA))
        elif path == "/truncated":
            self.head(200, len(DATA))
            self.wfile.write(DATA[:1000])
            self.close_connection = True
        elif path == "/stalled":
            self.head(200, len(DATA))
            self.wfile.write(DATA[:1000])
            self.wfile.flush()
            self.stop.wait(20)
            self.close_connection = True
        elif path == "/silent":
            self.stop.wait(20)
            self.close_connection = True
        elif path == "/drip":
            self.head(200, len(DATA))
            for byte in DATA[:200]:
                if self.stop.wait(0.05):
                    break
                with contextlib.suppress(OSError):
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            self.close_connection = True
        elif path == "/announced-big":
            self.head(200, 1 << 40)
            self.close_connection = True
        elif path == "/endless":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.stop.is_set():
                    self.wfile.write(DATA)
            self.close_connection = True
        elif path == "/chunks-cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ffff\r\nabc")
            self.close_connection = True
        elif path == "/rubbish":
            self.wfile.write(b"\x00\x01 not http at all\r\n\r\n")
            self.close_connection = True
        elif path in ("/circle", "/away", "/to-file"):
            self.send_response(302)
            target = {"/circle": "/circle", "/away": f"{self.other}/good", "/to-file": "file:///etc/passwd"}[path]
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.give(b"", 503 if path in ("/busy", "/second-try") else 404)

    def head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def give(self, data: bytes, status: int = 200) -> None:
        self.head(status, len(data))
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server:
    def __init__(self, other: str = "") -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.stop = threading.Event()
        handler = type("Mine", (Handler,), {"seen": self.seen, "other": other, "stop": self.stop})
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        self.url = f"http://{self.host}"

    def close(self) -> None:
        self.stop.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def other() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(other: Server) -> Iterator[Server]:
    server = Server(other.url)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setattr("py_portable.base.fetch._PAUSE_SECONDS", 0.0)


def refused(tmp_path: Path, *sources: FileSource, max_bytes: int = 1 << 20) -> str:
    """What the error says; nothing may be left behind."""
    into = tmp_path / "in" / "x.tar"
    with pytest.raises(FetchError) as caught:
        fetch(sources, SHA, into, max_bytes=max_bytes, limits=QUICK)
    assert list(into.parent.iterdir()) == []
    return caught.value.render()


def test_a_good_file(server: Server, tmp_path: Path) -> None:
    into = tmp_path / "a" / "b" / "x.tar"
    old = os.umask(0o077)
    try:
        assert fetch([Url(f"{server.url}/good")], SHA, into, max_bytes=1 << 20) == into
    finally:
        os.umask(old)
    assert into.read_bytes() == DATA
    assert stat.S_IMODE(into.stat().st_mode) == 0o644
    assert list(into.parent.iterdir()) == [into]


def test_a_file_that_is_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    into = tmp_path / "x.tar"
    into.write_bytes(DATA)
    fetch([Url(f"{server.url}/good")], SHA, into, max_bytes=1 << 20)
    assert server.seen == []


def test_a_wrong_file_that_is_there_is_replaced(server: Server, tmp_path: Path) -> None:
    into = tmp_path / "x.tar"
    into.write_bytes(b"old")
    fetch([Url(f"{server.url}/good")], SHA, into, max_bytes=1 << 20)
    assert into.read_bytes() == DATA


def test_the_second_source_helps_out(server: Server, tmp_path: Path) -> None:
    sources = [Url(f"{server.url}/missing"), Url(f"{server.url}/other"), Url(f"{server.url}/good")]
    assert fetch(sources, SHA, tmp_path / "x", max_bytes=1 << 20).read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/missing", "the server answers 404 Not Found"),
        ("/busy", "the server answers 503"),
        ("/other", "it is a different file: sha256"),
        ("/truncated", "the connection ended after 1000 of 105000 bytes"),
        ("/chunks-cut", "the connection ended after"),
        ("/stalled", "no answer in time"),
        ("/silent", "no answer in time"),
        ("/announced-big", "it has 1099511627776 bytes, more than the 200000 that are allowed"),
        ("/endless", "it has more than the 200000 bytes that are allowed"),
        ("/circle", "it redirects in a circle"),
        ("/to-file", "it redirects to an address of a kind that is not allowed"),
    ],
)
def test_a_bad_server_is_named_with_its_fault(server: Server, tmp_path: Path, path: str, said: str) -> None:
    shown = refused(tmp_path, Url(f"{server.url}{path}"), max_bytes=200_000)
    assert f"{server.url}{path}: {said}" in shown


def test_rubbish_is_no_answer(server: Server, tmp_path: Path) -> None:
    assert f"{server.url}/rubbish: " in refused(tmp_path, Url(f"{server.url}/rubbish"))


def test_a_drip_ends_at_the_whole_limit(server: Server, tmp_path: Path) -> None:
    started = time.monotonic()
    into = tmp_path / "x"
    with pytest.raises(FetchError, match="it took too long"):
        fetch([Url(f"{server.url}/drip")], SHA, into, max_bytes=1 << 20, limits=TimeLimits(idle=2, total=0.5))
    assert time.monotonic() - started < 5


def test_a_bad_moment_is_given_a_second_try(server: Server, tmp_path: Path) -> None:
    fetch([Url(f"{server.url}/second-try")], SHA, tmp_path / "x", max_bytes=1 << 20)
    assert [path for path, _ in server.seen] == ["/second-try"] * 2


def test_a_refusal_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    refused(tmp_path, Url(f"{server.url}/missing"))
    assert len(server.seen) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert f"http://127.0.0.1:{port}/x: Connection refused" in refused(tmp_path, Url(f"http://127.0.0.1:{port}/x"))


def test_a_name_that_nobody_knows_fails_fast(tmp_path: Path) -> None:
    started = time.monotonic()
    shown = refused(tmp_path, Url("http://no-such-host.invalid/x"))
    assert "the name no-such-host.invalid " in shown
    assert time.monotonic() - started < 5


def test_every_source_is_listed(server: Server, tmp_path: Path) -> None:
    shown = refused(tmp_path, Url(f"{server.url}/missing"), Url("ftp://x.invalid/y"), Url(f"{server.url}/other"))
    assert f"{server.url}/missing: the server answers 404" in shown
    assert "ftp://x.invalid/y: not an http or https address" in shown
    assert f"{server.url}/other: it is a different file" in shown


def test_no_source_is_said_so(tmp_path: Path) -> None:
    assert "no source for it is known" in refused(tmp_path)


def test_a_login_in_the_address_is_used_and_never_shown(server: Server, tmp_path: Path) -> None:
    source = Url(f"http://me:p%40ss@{server.host}/login")
    fetch([source], SHA, tmp_path / "x", max_bytes=1 << 20)
    assert "me" not in repr(source) + source.name
    shown = refused(tmp_path, Url(f"http://me:p%40ss@{server.host}/missing?token=hidden"))
    for secret in ("p%40ss", "p@ss", "me:", "hidden"):
        assert secret not in shown


def test_a_login_of_the_netrc_file_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login me password p@ss\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    assert fetch([Url(f"{server.url}/login")], SHA, tmp_path / "x", max_bytes=1 << 20).is_file()


def test_a_login_does_not_follow_a_redirect(server: Server, other: Server, tmp_path: Path) -> None:
    fetch([Url(f"http://me:p%40ss@{server.host}/away")], SHA, tmp_path / "x", max_bytes=1 << 20)
    assert server.seen == [("/away", "Basic bWU6cEBzcw==")]
    assert other.seen == [("/good", None)]


def test_the_machines_proxy_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    with pytest.raises(FetchError, match="404"):
        fetch([Url("http://no-such-host.invalid/good")], SHA, tmp_path / "x", max_bytes=1 << 20, limits=QUICK)
    assert [path for path, _ in server.seen] == ["http://no-such-host.invalid/good"]


def test_no_digest_no_fetch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a sha256"):
        fetch([], "93e583f2", tmp_path / "x", max_bytes=1)


@pytest.mark.parametrize("helper", ["apt", "none"])
def test_a_file_of_the_pool(server: Server, tmp_path: Path, helper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if helper == "none":
        monkeypatch.setattr(pool, "APT_HELPER", tmp_path / "missing")
    else:
        assert pool.APT_HELPER.is_file()
    source = DebianPool("good", mirror=server.url + "/")
    assert fetch([source], SHA, tmp_path / "x", max_bytes=1 << 20, limits=QUICK).read_bytes() == DATA
    shown = refused(tmp_path, DebianPool("missing", mirror=f"http://me:hidden@{server.host}"))
    assert "the machine's Debian mirror, missing: " in shown and "404" in shown
    assert "hidden" not in shown
    assert "Debian mirror, other: " in refused(tmp_path, DebianPool("other", mirror=server.url))
    assert "Debian mirror, endless: " in refused(tmp_path, DebianPool("endless", mirror=server.url))


def test_pins_are_whole() -> None:
    cpython = pins()["cpython"]
    assert {name: pin.version for name, pin in cpython.items()} == {"3.13": "3.13.5", "3.11": "3.11.2"}
    for series, pin in cpython.items():
        assert pin.version.startswith(f"{series}.")
        assert len(pin.sha256) == 64 and pin.max_bytes > 20 << 20
        assert pin.file_name.startswith(f"Python-{pin.version}.t")
        assert [type(source) for source in pin.sources] == [Url, DebianPool]
