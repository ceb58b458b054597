"""A real registry on loopback, images to put into it, and a server that serves them badly.

`Registry` runs Debian's docker-registry with TLS by a CA of its own and a login, or without either. `Layout` writes
images as an OCI layout (the files that registries and archives are made of). `Faulty` serves a layout itself, with
one fault at a time.
"""

from __future__ import annotations

import base64
import ctypes
import gzip
import hashlib
import http.server
import io
import json
import os
import platform
import shutil
import signal
import socket
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

USER, PASSWORD = "ada", "pw-Zx81-never-shown"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
Form = Literal["oci", "docker"]


# --- images


def tar_layer(files: Mapping[str, bytes | str], *, links: Mapping[str, str] | None = None) -> bytes:
    """An uncompressed layer: path -> contents (names that end with / are folders), `links`: path -> target.

    Paths that begin with `bin/`, or hold `/bin/`, are executable.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, contents in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
                continue
            data = contents.encode() if isinstance(contents, str) else contents
            info.size, info.mode = len(data), 0o755 if "bin/" in name else 0o644
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()


def root_layer(root: Path) -> bytes:
    """A whole root file system as an uncompressed layer, with owners and modes as they are."""
    return subprocess.run(
        ["tar", "--numeric-owner", "--sort=name", "-C", root, "-c", "."], check=True, capture_output=True
    ).stdout


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Layout:
    """An OCI layout in a folder. `add` writes an image, `index` an index over images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[dict[str, Any]] = []
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes) -> str:
        digest = digest_of(data)
        self.path(digest).write_bytes(data)
        return digest

    def path(self, digest: str) -> Path:
        return self.folder / "blobs/sha256" / digest.partition(":")[2]

    def add(
        self,
        layers: Sequence[bytes],
        *,
        tag: str | None = "latest",
        env: Sequence[str] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
        architecture: str = ARCHITECTURE,
        form: Form = "oci",
        compress: bool = True,
        config: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write an image of uncompressed `layers`; its descriptor, whose digest names it."""
        packed = [gzip.compress(layer, 1, mtime=0) if compress else layer for layer in layers]
        told = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": list(env), "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            "history": [{"created_by": "a test"} for _ in layers],
            **(config or {}),
        }
        if form == "oci":
            kinds = (f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json", f"{OCI}.layer.v1.tar+gzip")
        else:
            kinds = (
                f"{DOCKER}.distribution.manifest.v2+json",
                f"{DOCKER}.container.image.v1+json",
                f"{DOCKER}.image.rootfs.diff.tar.gzip",
            )
        layer_kind = kinds[2] if compress else kinds[2].removesuffix("+gzip").removesuffix(".gzip")
        manifest = {
            "schemaVersion": 2,
            "mediaType": kinds[0],
            "config": self._descriptor(json.dumps(told).encode(), kinds[1]),
            "layers": [self._descriptor(data, layer_kind) for data in packed],
        }
        entry = self._descriptor(json.dumps(manifest, indent=1).encode(), kinds[0])
        platform_told = {"architecture": architecture, "os": "linux"}
        return self._enter({**entry, "platform": platform_told}, tag)

    def index(
        self, images: Sequence[Mapping[str, Any]], *, tag: str | None = "latest", form: Form = "oci"
    ) -> dict[str, Any]:
        """Write an index over what `add(…, tag=None)` gave."""
        kind = f"{OCI}.index.v1+json" if form == "oci" else f"{DOCKER}.distribution.manifest.list.v2+json"
        told = {"schemaVersion": 2, "mediaType": kind, "manifests": [dict(image) for image in images]}
        return self._enter(self._descriptor(json.dumps(told, indent=1).encode(), kind), tag)

    def archive(self, path: Path) -> Path:
        """The layout as the file that `oci-archive:` names."""
        with tarfile.open(path, "w") as archive:
            for name in ("oci-layout", "index.json", "blobs"):
                archive.add(self.folder / name, name)
        return path

    def _descriptor(self, data: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": self.blob(data), "size": len(data)}

    def _enter(self, entry: dict[str, Any], tag: str | None) -> dict[str, Any]:
        if tag is not None:
            self.entries = [old for old in self.entries if old["annotations"][f"{REF_NAME}"] != tag]
            self.entries.append({**entry, "annotations": {REF_NAME: tag}})
            (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.entries}))
        return entry


REF_NAME = "org.opencontainers.image.ref.name"


# --- certificates and logins


class Authority:
    """A CA of the test's own, and a certificate for localhost and 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.certificate = folder / "ca.crt"
        self.server_certificate, self.server_key = folder / "server.crt", folder / "server.key"
        key, request, names = folder / "ca.key", folder / "server.csr", folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl(
            "req", "-x509", *fresh, "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=CA of a test"
        )
        _openssl("req", *fresh, "-keyout", self.server_key, "-out", request, "-subj", "/CN=localhost")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", key, "-CAcreateserial"),
            *("-out", self.server_certificate, "-days", "2", "-extfile", names),
        )


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def bcrypt(password: str) -> str:
    """The hash that docker-registry wants in a htpasswd file, by the C library's own crypt(3)."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    salt = base64.b64encode(os.urandom(16), altchars=b"./").decode().rstrip("=")[:22]
    made: bytes = crypt(password.encode(), f"$2b$05${salt}".encode())
    return made.decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- the real one


class Registry:
    """Debian's docker-registry on a free port of loopback, while the `with` block lasts.

    Its state is in `folder`. With `tls` its certificate is by `authority` (its own where none is given); with
    `login` only USER and PASSWORD get in.
    """

    def __init__(
        self, folder: Path, *, tls: bool = True, login: bool = True, authority: Authority | None = None
    ) -> None:
        self.folder = folder
        self.tls, self.login = tls, login
        folder.mkdir(parents=True)
        self.authority = authority or (Authority(folder / "ca") if tls else None)
        self.host = f"localhost:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._configure()

    def _configure(self) -> None:
        address = self.host.replace("localhost", "127.0.0.1")
        told: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": address, "secret": "one for a test"},
        }
        if self.authority and self.tls:
            told["http"]["tls"] = {
                "certificate": str(self.authority.server_certificate),
                "key": str(self.authority.server_key),
            }
        if self.login:
            (self.folder / "htpasswd").write_text(f"{USER}:{bcrypt(PASSWORD)}\n")
            told["auth"] = {"htpasswd": {"realm": "a test", "path": str(self.folder / "htpasswd")}}
        # YAML takes JSON as it is.
        (self.folder / "config.yml").write_text(json.dumps(told))

    def __enter__(self) -> Registry:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        program = shutil.which("docker-registry") or "/usr/bin/docker-registry"
        with (self.folder / "log").open("ab") as log:
            # The environment may set any option of the registry: REGISTRY_….
            environ = {k: v for k, v in os.environ.items() if not k.startswith(("REGISTRY_", "OTEL_"))}
            self._process = subprocess.Popen(
                [program, "serve", self.folder / "config.yml"], stdout=log, stderr=log, env=environ
            )
        end = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < end:
            try:
                self._ask()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"docker-registry did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _ask(self) -> None:
        scheme = "https" if self.tls else "http"
        try:
            with urllib.request.urlopen(f"{scheme}://{self.host}/v2/", timeout=5, context=self._context()):
                pass
        except urllib.error.HTTPError as problem:
            if problem.code != 401:
                raise

    def stop(self) -> None:
        """End it: from now on connections are refused. `start` brings it back with what it held."""
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def auth_file(self) -> Path:
        """A file of logins as docker and skopeo write it."""
        word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        path = self.folder / "auth.json"
        path.write_text(json.dumps({"auths": {self.host: {"auth": word}} if self.login else {}}))
        path.chmod(0o600)
        return path

    def environment(self, *, login: bool = True, trusted: bool = True) -> dict[str, str]:
        """The variables with which skopeo (and so py-portable) gets at it. HOME is a folder without anything else.

        `login=False` leaves out the login, `trusted=False` the CA. Where the registry has no TLS, HOME holds a
        registries.conf that says so.
        """
        home = self.folder / f"home-{login:d}{trusted:d}"
        (home / "run").mkdir(parents=True, exist_ok=True)
        told = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
        if login and self.login:
            (home / ".docker").mkdir(exist_ok=True)
            shutil.copy(self.auth_file(), home / ".docker/config.json")
        if self.authority and trusted:
            told["SSL_CERT_FILE"] = str(self.authority.certificate)
        if not self.tls:
            place = home / ".config/containers/registries.conf"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(f'[[registry]]\nlocation = "{self.host}"\ninsecure = true\n')
        return told

    def push(self, layout: Layout, name: str, *, tag: str = "latest") -> str:
        """Put the layout's image `tag` there as `name` (`repo:tag`); the digest by which it can be pulled."""
        # By the registry's own protocol: skopeo reads no layout with Docker's kinds of manifests.
        repository, _, target = name.partition(":")
        entry = next(e for e in layout.entries if e["annotations"][REF_NAME] == tag)
        self._push(layout, repository, entry, target or "latest")
        return str(entry["digest"])

    def _push(self, layout: Layout, repository: str, entry: Mapping[str, Any], target: str) -> None:
        data = layout.path(entry["digest"]).read_bytes()
        told = json.loads(data)
        for inner in told.get("manifests", []):
            self._push(layout, repository, inner, inner["digest"])
        for blob in [told["config"], *told["layers"]] if "config" in told else []:
            place = self._call("POST", f"/v2/{repository}/blobs/uploads/")
            mark = "&" if "?" in place else "?"
            body = layout.path(blob["digest"]).read_bytes()
            self._call("PUT", f"{place}{mark}digest={blob['digest']}", body, "application/octet-stream")
        self._call("PUT", f"/v2/{repository}/manifests/{target}", data, entry["mediaType"])

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> str:
        """One request; the Location that the registry answers."""
        url = path if "://" in path else f"{'https' if self.tls else 'http'}://{self.host}{path}"
        request = urllib.request.Request(url, data=body, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        if self.login:
            word = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request.add_header("Authorization", f"Basic {word}")
        with urllib.request.urlopen(request, timeout=60, context=self._context()) as answer:
            return str(answer.headers.get("Location", ""))

    def _context(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.authority.certificate) if self.authority else None

    def image(self, name: str, layers: Sequence[bytes], folder: Path, **wishes: Any) -> str:
        """Make an image of uncompressed layers (see `Layout.add`) and push it; its digest."""
        layout = Layout(folder)
        layout.add(layers, **wishes)
        return self.push(layout, name)


# --- the one that misbehaves

Fault = Literal[
    "truncate", "wrong-bytes", "wrong-manifest", "stall", "stall-manifest", "unauthorized", "denied", "missing",
    "too-many", "broken", "drop",
]  # fmt: skip
_STATUS = {"unauthorized": 401, "denied": 403, "missing": 404, "too-many": 429, "broken": 500}
_CODE = {
    401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS", 500: "UNKNOWN",
}  # fmt: skip


class Faulty:
    """A registry of our own, read-only, that serves the layout under any repository name, with `fault` in force.

    Statuses are given for manifests; `truncate`, `wrong-bytes`, `stall` and `drop` happen in the middle of a blob.
    With `only_blobs` a status is given for blobs, after good manifests.
    """

    def __init__(self, layout: Layout, authority: Authority | None) -> None:
        self.layout = layout
        self.authority = authority
        self.fault: Fault | None = None
        self.only_blobs = False
        self.asked: list[str] = []
        self.released = threading.Event()
        owner = self

        class Handler(_Handler):
            faulty = owner

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.server_certificate, authority.server_key)
            # The handshake belongs to the connection's own thread: a client that breaks it off is no error.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Faulty:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    faulty: Faulty
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.faulty.asked.append(self.path)
        try:
            self._answer()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    def _answer(self) -> None:
        fault, layout = self.faulty.fault, self.faulty.layout
        *_, kind, name = self.path.rstrip("/").split("/")
        if self.path == "/v2/":
            self._send(200, b"{}", "application/json")
            return
        status = _STATUS.get(fault or "", 200)
        if status != 200 and (kind == "blobs") == self.faulty.only_blobs:
            told = {"errors": [{"code": _CODE[status], "message": "as the test wants it"}]}
            self._send(status, json.dumps(told).encode(), "application/json")
            return
        if kind == "manifests":
            if fault == "stall-manifest":
                self.faulty.released.wait(120)
                return
            digest = name if name.startswith("sha256:") else layout.entries[0]["digest"]
            data = layout.path(digest).read_bytes()
            media = json.loads(data)["mediaType"]
            if fault == "wrong-manifest":
                data = data.replace(b'"schemaVersion": 2', b'"schemaVersion":  2')
            self._send(200, data, media, digest)
            return
        data = layout.path(name).read_bytes()
        # A config is small, and its faults are another test's.
        large = len(data) > 4096
        if fault == "wrong-bytes" and large:
            data = data[:-100] + bytes(100)
        if fault in ("truncate", "stall", "drop") and large:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                if fault == "stall":
                    self.faulty.released.wait(120)
            self.close_connection = True
            return
        self._send(200, data, "application/octet-stream", name)

    def _send(self, status: int, data: bytes, kind: str, digest: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if status == 429:
            self.send_header("Retry-After", "1")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="a test"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
