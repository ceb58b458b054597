"""A package index on the loopback: real files over real HTTP, with a login where one is asked for."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


def wheel(
    name: str,
    version: str,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    more: Mapping[str, str] | None = None,
) -> bytes:
    """A wheel that a resolver takes for one, and pip too. `more`: further members."""
    data = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: {tag}\n")
        for member, text in (more or {}).items():
            archive.writestr(member, text)
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


def sdist(name: str, version: str, members: Mapping[str, str]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for member, text in members.items():
            info = tarfile.TarInfo(f"{name}-{version}/{member}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def serving(files: Mapping[str, bytes], login: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """`files` by file name. Gives the index's host and port, and the list of paths that were asked for."""
    asked: list[str] = []
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            if wanted and self.headers.get("Authorization") != wanted:
                self._answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
                return
            kind, _, rest = self.path.strip("/").partition("/")
            if kind == "simple":
                found = [n for n in files if n.split("-")[0].lower().replace("_", "-") == rest.strip("/")]
                links = (f'<a href="/files/{n}#sha256={sha256(files[n])}">{n}</a>' for n in found)
                self._answer(200 if found else 404, "".join(links).encode(), {"Content-Type": "text/html"})
            else:
                data = files.get(unquote(rest))
                self._answer(404 if data is None else 200, data or b"", {})

        do_HEAD = do_GET

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
