"""Images from registries through `skopeo`, which needs no daemon and no root."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from py_portable.base import process
from py_portable.errors import MachineError
from py_portable.images.failures import ImageUnavailable
from py_portable.images.layers.stack import Layer
from py_portable.images.registry import image_manifest
from py_portable.images.registry.image_manifest import Manifest
from py_portable.images.registry.pull import (
    COPY_SECONDS,
    IDLE_SECONDS,
    INSPECT_SECONDS,
    Content,
    Pull,
    failure,
    growth,
)
from py_portable.images.registry.reference import Reference

_POLICIES = (Path("/etc/containers/policy.json"), Path("~/.config/containers/policy.json"))
_RUN = Path("/run/containers")
_OPEN_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
_SLACK = 64 << 20
"""Bytes beside the blobs in the folder that a copy goes to."""


class Skopeo:
    """Reads the caller's logins, certificates and registries.conf itself; none of that passes through here."""

    name = "skopeo"

    def digest(self, wanted: Pull) -> str:
        return image_manifest.digest_of(_ask(wanted, wanted.reference))

    def fetch(self, wanted: Pull, digest: str, room: Path, log: Path) -> Content:
        found, digest = _manifest(wanted, digest)
        target = room / "image"
        target.mkdir()
        limits = growth(target, found.size + _SLACK, IDLE_SECONDS)
        words = ("skopeo", *_policy(room), "copy", "--quiet")
        with _environment(room) as env:
            outcome = process.run(
                [*words, f"docker://{wanted.reference.pinned(digest)}", f"dir:{target}"],
                env=env,
                timeout=COPY_SECONDS,
                watch=limits,
            )
        # No more than this: the log is kept, and skopeo's own words may name a mirror.
        with log.open("a") as stream:
            stream.write(
                f"skopeo copy {wanted.name}: {digest}, {found.size} bytes, {outcome.seconds:.1f} s\n"
            )
        if not outcome.ok:
            raise failure(wanted, outcome, limit=COPY_SECONDS)
        return _content(wanted, found, target)


def _manifest(wanted: Pull, digest: str) -> tuple[Manifest, str]:
    """The manifest for the wanted platform, and its own digest."""
    reference = wanted.reference.pinned(digest)
    data = image_manifest.checked(_ask(wanted, reference), digest, wanted.name)
    if image_manifest.is_index(data, wanted.name):
        digest = image_manifest.choose(data, wanted.platform, wanted.name).digest
        reference = reference.pinned(digest)
        data = image_manifest.checked(_ask(wanted, reference), digest, wanted.name)
        return image_manifest.manifest(data, wanted.name), digest
    found = image_manifest.manifest(data, wanted.name)
    # An image for one platform says which in its config only: looked at before its layers are fetched.
    told = image_manifest.checked(_ask(wanted, reference, "--config"), found.config.digest, wanted.name)
    image_manifest.config(told, wanted.platform, wanted.name)
    return found, digest


def _ask(wanted: Pull, reference: Reference, *options: str) -> bytes:
    with _environment(None) as env:
        outcome = process.run(
            ["skopeo", "inspect", "--raw", *options, f"docker://{_by_digest(reference)}"],
            env=env,
            timeout=INSPECT_SECONDS,
            capture_bytes=2 * image_manifest.MAX_MANIFEST,
        )
    if not outcome.ok:
        raise failure(wanted, outcome, limit=INSPECT_SECONDS)
    if outcome.stdout.total > image_manifest.MAX_MANIFEST:
        raise ImageUnavailable(f"{wanted.name}: its manifest or config has {outcome.stdout.total} bytes")
    return outcome.stdout.data


def _by_digest(reference: Reference) -> Reference:
    return reference.pinned(reference.digest) if reference.digest else reference


def _content(wanted: Pull, found: Manifest, folder: Path) -> Content:
    name = wanted.name

    def path(digest: str) -> Path:
        return folder / digest.removeprefix("sha256:")

    try:
        data = image_manifest.read_bounded(path(found.config.digest), name)
        told = image_manifest.config(
            image_manifest.checked(data, found.config.digest, name), wanted.platform, name
        )
        for layer in found.layers:
            size = path(layer.digest).stat().st_size
            if size != layer.size:
                raise ImageUnavailable(
                    f"{name}: {layer.digest} has {size} bytes, the manifest says {layer.size}"
                )
    except FileNotFoundError as problem:
        raise MachineError(f"{name}: skopeo left out {problem.filename}", hint="update skopeo") from None
    layers = tuple(Layer(path(layer.digest), layer.digest, layer.media_type) for layer in found.layers)
    return Content(told, layers)


def _policy(room: Path) -> tuple[str, ...]:
    # Built by hand, skopeo comes without one and then refuses everything; what is fetched is pinned by digest.
    if any(path.expanduser().exists() for path in _POLICIES):
        return ()
    path = room / "policy.json"
    path.write_text(_OPEN_POLICY)
    return ("--policy", str(path))


@contextlib.contextmanager
def _environment(room: Path | None) -> Iterator[dict[str, str]]:
    """The caller's, so that logins, certificates and proxies are found; temporary files go to `room`."""
    told = {**os.environ, "LC_ALL": "C"}
    if room:
        told["TMPDIR"] = str(room)
    with contextlib.ExitStack() as stack:
        # A folder that is not there makes it warn at each call.
        if not Path(told.get("XDG_RUNTIME_DIR", "/")).is_dir():
            del told["XDG_RUNTIME_DIR"]
        # Without one it looks into /run/containers/UID, and where root has made /run/containers for itself that
        # is an error, and not a login that is missing.
        if "XDG_RUNTIME_DIR" not in told and _RUN.is_dir() and not os.access(_RUN, os.X_OK):
            told["XDG_RUNTIME_DIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="py-portable-"))
        yield told
