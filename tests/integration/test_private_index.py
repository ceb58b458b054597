"""A private index with a login: it is used, and it is written nowhere."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from py_portable.store import default_root
from tests.files import content, regular_files
from tests.integration.conftest import MainJob, Project, portable

pytestmark = pytest.mark.integration

LOGIN, SECRET = "reader", "s3cret-of-this-test"
WHEEL = "tinyapp-1.0-py3-none-any.whl"
CONFIG = """version: 1
app:
  requirement: "tinyapp==1.0"
  smoke: [{stdout: ["tiny app works"], args: []}]
python: "3.13"
baselines:
  default: {image: "debian:11", packages: [libpq-dev, libcurl4-openssl-dev, libssl-dev], libraries: [openssl]}
wheels: {max-glibc: "2.31"}
artifacts: {house: {format: wheelhouse}}
portability: {images: ["debian:12"]}
"""


def tiny_wheel(folder: Path) -> Path:
    path = folder / WHEEL
    info = "tinyapp-1.0.dist-info"
    files = {
        # Never the same twice: what the store already has is not fetched.
        "tinyapp.py": f"# {uuid.uuid4()}\ndef main():\n    print('tiny app works')\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinyapp\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntinyapp = tinyapp:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        record = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
        archive.writestr(f"{info}/RECORD", record)
    return path


@dataclass(frozen=True)
class Index:
    address: str
    seen: list[tuple[str, bool]]

    @property
    def url(self) -> str:
        return f"http://{LOGIN}:{SECRET}@{self.address}/simple/"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    body = tiny_wheel(tmp_path).read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    page = f'<!DOCTYPE html><html><body><a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a></body></html>'
    wanted = "Basic " + base64.b64encode(f"{LOGIN}:{SECRET}".encode()).decode()
    seen: list[tuple[str, bool]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization") == wanted
            seen.append((self.path, allowed))
            if not allowed:
                self.answer(401, b"who are you?", "text/plain")
            elif self.path == "/simple/tinyapp/":
                self.answer(200, page.encode(), "text/html")
            elif self.path == f"/files/{WHEEL}":
                self.answer(200, body, "application/octet-stream")
            else:
                self.answer(404, b"not here", "text/plain")

        def do_HEAD(self) -> None:
            self.do_GET()

        def answer(self, status: int, text: bytes, kind: str) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Index(f"127.0.0.1:{server.server_port}", seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("told", ["environment", "pip.conf"])
def test_the_login_is_used_and_written_nowhere(told: str, index: Index, tmp_path: Path, main_job: MainJob) -> None:
    assert main_job.build.status == 0
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    (project.folder / "portable.yaml").write_text(CONFIG)
    # The clock of files runs behind that of `time` by a tick or two.
    began = time.time() - 1
    env = {"PIP_INDEX_URL": index.url, "PIP_FIND_LINKS": ""}
    if told == "pip.conf":
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
        env = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_FIND_LINKS": ""}
    done = project.run("portability", "-v", env=env)
    assert done.status == 0, done.stdout + done.stderr
    assert any(allowed for _, allowed in index.seen)
    assert SECRET not in done.stdout + done.stderr
    assert not holders(project.folder) and not holders(default_root(os.environ), since=began)


def test_a_wrong_login_is_explained_without_it(index: Index, tmp_path: Path) -> None:
    (tmp_path / "portable.yaml").write_text(CONFIG)
    wrong = index.url.replace(SECRET, "not-" + SECRET)
    done = portable("lock", cwd=tmp_path, env={"PIP_INDEX_URL": wrong, "PIP_FIND_LINKS": ""})
    assert done.status == 4 and SECRET not in done.stdout + done.stderr
    assert "cannot be resolved" in done.stderr and "pip config list" in done.stderr


def holders(folder: Path, since: float = 0.0) -> list[Path]:
    """Files below the folder that hold the secret; images and interpreters are looked at too."""
    return [path for path in regular_files(folder, since=since) if SECRET.encode() in content(path)]
