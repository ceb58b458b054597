"""Images from registries through docker's or podman's own pull, where there is no skopeo."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from py_portable.base import process
from py_portable.errors import MachineError
from py_portable.images.failures import ImageUnavailable
from py_portable.images.registry import saved
from py_portable.images.registry.image_manifest import MAX_PULL
from py_portable.images.registry.pull import COPY_SECONDS, Content, Pull, failure, growth
from py_portable.images.registry.reference import Reference, is_digest


class DaemonPuller:
    """`docker` or `podman`: pulls into its own storage, and hands the image out as an archive.

    What it pulled stays there. Its digests are believed: it checked them when it pulled.
    """

    def __init__(self, program: str) -> None:
        self.name = program

    def digest(self, wanted: Pull) -> str:
        self._pull(wanted, wanted.reference)
        told = self._inspect(wanted, wanted.reference).get("RepoDigests")
        for text in told if isinstance(told, list) else []:
            repository, _, digest = str(text).partition("@")
            if is_digest(digest) and _same(repository, wanted.reference):
                return digest
        raise ImageUnavailable(
            f"{wanted.name}: {self.name} does not report the digest of what it pulled",
            hint="write the image by digest, or install skopeo: apt-get install skopeo",
        )

    def fetch(self, wanted: Pull, digest: str, room: Path, log: Path) -> Content:
        reference = wanted.reference.pinned(digest)
        self._pull(wanted, reference)
        number = str(self._inspect(wanted, reference).get("Id", ""))
        if not is_digest(number if ":" in number else f"sha256:{number}"):
            raise MachineError(
                f"{wanted.name}: {self.name} pulled it, but does not list it",
                hint=f"look at: {self.name} images",
            )
        archive = room / "saved.tar"
        outcome = process.run(
            [self.name, "save", "-o", archive, number],
            env=_environment(room),
            timeout=COPY_SECONDS,
            watch=growth(room, MAX_PULL),
        )
        with log.open("a") as stream:
            stream.write(f"{self.name} save {wanted.name}: {digest}, {outcome.seconds:.1f} s\n")
        if not outcome.ok:
            raise failure(wanted, outcome, limit=COPY_SECONDS)
        pieces = room / "image"
        pieces.mkdir()
        found = saved.read(archive, None, pieces, wanted.platform, wanted.name, docker=True)
        archive.unlink()
        return found.content

    def _pull(self, wanted: Pull, reference: Reference) -> None:
        outcome = process.run(
            [
                self.name,
                "pull",
                "--quiet",
                "--platform",
                f"linux/{wanted.platform.architecture}",
                str(reference),
            ],
            env=_environment(None),
            timeout=COPY_SECONDS,
        )
        if not outcome.ok:
            raise failure(wanted, outcome, limit=COPY_SECONDS)

    def _inspect(self, wanted: Pull, reference: Reference) -> dict[str, Any]:
        outcome = process.check(
            [self.name, "image", "inspect", "--format", "{{json .}}", str(reference)],
            what=f"{self.name} image inspect {wanted.name}",
            error=MachineError,
            timeout=60,
            capture_bytes=8 << 20,
        )
        try:
            told = json.loads(outcome.stdout.text)
        except ValueError:
            told = None
        return told if isinstance(told, dict) else {}


def _same(repository: str, reference: Reference) -> bool:
    """Whether what the daemon calls a repository is the reference's; it completes short names or cuts long ones."""
    short = reference.name.removeprefix("docker.io/").removeprefix("library/")
    return repository.removeprefix("docker.io/").removeprefix("library/") == short


def _environment(room: Path | None) -> dict[str, str]:
    told = {**os.environ, "LC_ALL": "C"}
    return {**told, "TMPDIR": str(room)} if room else told
