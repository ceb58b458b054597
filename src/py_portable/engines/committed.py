"""What a job wrote in its root, kept as a layer of docker or podman: an image, committed from the job's container."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import stat
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from py_portable.base import process
from py_portable.engines import daemon, owner, transfer
from py_portable.engines.engine import Job, Node
from py_portable.engines.stage import PROOF_BYTES
from py_portable.errors import MachineError

REPOSITORY = "localhost/py-portable-layer"
_SECONDS = 600.0
_FOLDERS = ("dev", "proc", "sys")
_FILES = (
    *("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"),
    *(".dockerenv", "run/.containerenv"),
)
"""What docker and podman put into containers themselves. Nothing that a job writes there is kept."""
_HOMES = threading.Lock()


def image_of(job: Job) -> str:
    """The tag of the image that the job's container is made of. Pure, but for a stat."""
    home = daemon.Home(job.home, job.uid) if job.home is not None else None
    return _tag(job.layers[-1], home) if job.layers else daemon.image_of(job.root, home)


def bring(program: str, job: Job) -> str:
    """The same, once the daemon has it. Raises MachineError."""
    home = daemon.Home(job.home, job.uid) if job.home is not None else None
    if not job.layers:
        return daemon.bring(program, job.root, home)
    tag = _tag(job.layers[-1], home)
    if home:
        with _HOMES:
            if not daemon.has(program, tag):
                _add_home(program, _tag(job.layers[-1]), tag, home)
    return tag


def commit(program: str, container: str, layer: Path) -> None:
    """Keep what was written in a container. Raises MachineError, also where it is more than a cell may write."""
    asked = process.check(
        [program, "inspect", "--size", "--format", "{{.SizeRw}}", container],
        what=f"{program} inspect {container}",
        error=MachineError,
        timeout=_SECONDS,
    )
    size = asked.stdout.text.strip()
    if not size.isdigit() or int(size) > PROOF_BYTES:
        raise MachineError(f"{size} bytes were written in the root, and no more than {PROOF_BYTES} are kept")
    _commit(program, container, _tag(layer))


def forget(program: str, layer: Path) -> None:
    """Remove the images of a layer, if there are any."""
    name = _tag(layer).rpartition(":")[2]
    listing = process.run(
        [program, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"label={owner.LABEL}"],
        timeout=60,
    )
    # One with a home stands on the one without.
    for tag in sorted((one for one in listing.stdout.text.split() if name in one), key=len, reverse=True):
        transfer.remove_image(program, tag)


def sweep(program: str) -> None:
    """Remove the layers of runs that were killed."""
    listing = process.run(
        [program, "image", "ls", "--quiet", "--no-trunc", "--filter", f"label={owner.LABEL}"], timeout=60
    )
    for image in dict.fromkeys(listing.stdout.text.split()):
        label = f'{{{{index .Config.Labels "{owner.LABEL}"}}}}'
        asked = process.run([program, "image", "inspect", "--format", label, image], timeout=60)
        if owner.is_dead(asked.stdout.text.strip()):
            transfer.remove_image(program, image)


def listing(program: str, root: Path, layers: tuple[Path, ...]) -> Mapping[str, Node]:
    """All files of the root, or of the topmost layer over it. Raises MachineError."""
    image = _tag(layers[-1]) if layers else daemon.bring(program, root)
    with (
        _container(program, image) as name,
        tempfile.TemporaryDirectory(prefix="py-portable-listing-") as folder,
    ):
        archive = Path(folder) / "root.tar"
        process.check(
            [program, "export", "--output", archive, name],
            what=f"{program} export {name}",
            error=MachineError,
            timeout=_SECONDS,
            hint="check that TMPDIR has room for a root file system",
        )
        try:
            with tarfile.open(archive, "r:") as tar:
                return _nodes(tar)
        except (OSError, tarfile.TarError) as problem:
            raise MachineError(f"{program} exported what is no archive: {problem}") from problem


def _nodes(tar: tarfile.TarFile) -> Mapping[str, Node]:
    found: dict[str, Node] = {}
    for member in tar:
        name = member.name.removeprefix("./").strip("/")
        if name in ("", ".", *_FILES) or name.partition("/")[0] in _FOLDERS:
            continue
        if member.islnk():
            # Of a file that came before it under another name.
            found[name] = found.get(member.linkname.removeprefix("./").strip("/")) or _node(member)
        else:
            found[name] = _node(member)
    return found


def _node(member: tarfile.TarInfo) -> Node:
    mode = stat.S_IMODE(member.mode)
    second = int(member.mtime)
    if member.isdir():
        return Node("folder", mode, member.uid, member.gid, 0, 0)
    if member.issym():
        return Node("link", 0o777, member.uid, member.gid, 0, second, member.linkname)
    if member.isreg():
        return Node("file", mode, member.uid, member.gid, member.size, second)
    return Node("other", mode, member.uid, member.gid, 0, second)


def _tag(layer: Path, home: daemon.Home | None = None) -> str:
    """Its folder is this run's own, so that nobody else has the name."""
    name = hashlib.sha256(str(layer.absolute()).encode()).hexdigest()[:32]
    return f"{REPOSITORY}:{name}" + (
        f"-{hashlib.sha256(repr(home).encode()).hexdigest()[:16]}" if home else ""
    )


def _commit(program: str, container: str, tag: str) -> None:
    process.check(
        [program, "commit", "--change", f"LABEL {owner.LABEL}={owner.mine()}", container, tag],
        what=f"{program} commit {container}",
        error=MachineError,
        timeout=_SECONDS,
        hint=f"check that {program}'s own disk has room: {program} system df",
    )


def _add_home(program: str, image: str, tag: str, home: daemon.Home) -> None:
    """Make `tag`: the image with a user's own folder. Raises MachineError."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo(home.path.lstrip("/"))
        entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o700, home.uid, home.uid
        tar.addfile(entry)
    with _container(program, image) as name, tempfile.TemporaryFile() as file:
        file.write(data.getvalue())
        file.seek(0)
        process.check(
            # podman gives what it copies to root otherwise.
            [program, "cp", *(("--archive=false",) if program == "podman" else ()), "-", f"{name}:/"],
            what=f"{program} cp into {name}",
            error=MachineError,
            timeout=_SECONDS,
            stdin=file.fileno(),
        )
        _commit(program, name, tag)


@contextlib.contextmanager
def _container(program: str, image: str) -> Iterator[str]:
    """A container that is not started, for as long as the block takes; its name."""
    name = f"py-portable-layer-{secrets.token_hex(8)}"
    label = f"{owner.LABEL}={owner.mine()}"
    words = (
        "--name",
        name,
        "--label",
        label,
        "--pull",
        "never",
        "--network",
        "none",
        "--entrypoint",
        "/none",
        image,
    )
    transfer.create(program, name, words)
    try:
        yield name
    finally:
        daemon.remove(program, name)
