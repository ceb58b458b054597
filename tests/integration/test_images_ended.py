"""A mirror that has the index of a release and not its packages, as that of one that has ended."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from py_portable.engines import ids
from py_portable.images import BootstrapSource, Request
from py_portable.images.debian import apt
from py_portable.images.debian.package_archives import MIRROR, PackageArchive
from py_portable.images.debian.pool import APT_HELPER
from py_portable.images.debian.releases import releases
from py_portable.images.failures import SourceUnusable
from py_portable.store import Store

pytestmark = pytest.mark.integration


@pytest.fixture
def machine() -> apt.AptSetup:
    return apt.read(release.suite for release in releases().values())


@pytest.fixture
def emptied(machine: apt.AptSetup, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a mirror whose index is the real one and whose pool is empty, and what it was asked for."""
    assert machine.archive
    real, asked = machine.archive.uri, list[str]()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            copy = tmp_path / "index"
            words = [APT_HELPER, "-o", "APT::Sandbox::User=root", "download-file", real + self.path, copy]
            found = self.path.startswith("/dists/") and subprocess.run(words, capture_output=True).returncode == 0
            data = copy.read_bytes() if found else b""
            copy.unlink(missing_ok=True)
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_words: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_packages_come_from_the_next_archive(
    machine: apt.AptSetup, emptied: tuple[str, list[str]], tmp_path: Path
) -> None:
    address, asked = emptied
    gone = apt.AptSetup(apt.Mirror(address, machine.archive.signed_by if machine.archive else None), updates=False)
    places = [PackageArchive(MIRROR, gone)]
    store = Store(tmp_path / "store")
    source = BootstrapSource(lambda: machine, places=lambda *_: tuple(places))
    with pytest.raises(SourceUnusable, match="does not have the packages that its index lists") as caught:
        source.get(Request("debian:13"), store, ids.prefix())
    assert any(path.startswith("/dists/trixie/") for path in asked), asked
    assert caught.value.tail and "404" in caught.value.tail

    places.append(PackageArchive("another archive", machine))
    image = source.get(Request("debian:13"), store, ids.prefix())
    assert (image.archive, image.glibc) == ("another archive", "2.41")
    assert (image.root / "usr/bin/dpkg").is_file()
