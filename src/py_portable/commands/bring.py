"""`bring`: the kit as a folder that starts in an image where there is neither Python nor compiler.

The folder is the bundle of the kit, which holds the static helpers. If the kit has no helpers for this machine, they
are compiled first.
"""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
from pathlib import Path

from py_portable import __version__
from py_portable.base.fetch import Url, fetch
from py_portable.base.process import run
from py_portable.base.regular import sha256_of
from py_portable.base.tarball import RefusedError
from py_portable.engines import static_helpers
from py_portable.engines.static_helpers.stored import brought
from py_portable.errors import ConfigError, MachineError
from py_portable.formats.folder_archive import unpack
from py_portable.steps.output import special

PROGRAM = "py-portable"
MAX_BYTES = 1_000_000_000
_HINT = "name a bundle of this version of py-portable: NAME.tar.zst, or its unpacked folder"


def bring(bundle: str, sha256: str, into: Path) -> None:
    """Make `into` the bundle: a folder, a .tar.zst, or the URL of one. `sha256` (hex) is that of the archive; for a URL
    it must be given, for a file it may be "".

    An older bundle in `into` is replaced. Raises ConfigError, FetchError, and MachineError if helpers have to be
    compiled and there is no compiler.
    """
    if into.exists() and not _is_ours(into) and (not into.is_dir() or any(into.iterdir())):
        raise ConfigError(
            "exists and was not made by `py-portable bring`", where=str(into), hint="name a new folder"
        )
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{into.name}.", dir=into.parent) as work:
        fresh = _unpacked(bundle, sha256, Path(work))
        _same_version(fresh)
        folder = brought(fresh)
        if not static_helpers.compiled() and not folder.exists():
            static_helpers.put(folder)
        if into.exists():
            into.rename(Path(work) / "old")
        fresh.rename(into)


def _is_ours(folder: Path) -> bool:
    return (folder / PROGRAM).is_file()


def _unpacked(bundle: str, sha256: str, work: Path) -> Path:
    """Unpack the bundle into `work`; returns the folder that has the program in it."""
    out = work / "out"
    if not bundle:
        raise ConfigError(
            "no bundle of py-portable is named, and jobs inside an image need one",
            hint=f"use py-portable-{__version__}-{platform.machine()}.tar.zst from the release of "
            "py-portable: --bundle, in "
            "GitLab's template use the input `bundle`. Or use another engine: its cells start in jobs "
            "that have py-portable",
        )
    if re.match(r"https?://", bundle):
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ConfigError("a bundle from a URL needs its SHA-256", hint="64 hex digits: --sha256")
        archive = fetch((Url(bundle),), sha256, work / "kit.tar.zst", max_bytes=MAX_BYTES)
    elif Path(bundle).is_dir():
        shutil.copytree(bundle, out / PROGRAM, symlinks=True, ignore=special)
        return _one(out, bundle)
    else:
        archive = Path(bundle)
        _check(archive, sha256)
    out.mkdir()
    try:
        unpack(archive, out)
    except RefusedError as problem:
        raise ConfigError(f"cannot be used: {problem}", where=bundle, hint=_HINT)
    except OSError as problem:
        raise MachineError(f"cannot be unpacked: {problem}", where=bundle)
    return _one(out, bundle)


def _check(archive: Path, sha256: str) -> None:
    if not archive.is_file():
        raise ConfigError("there is no such file", where=str(archive), hint=_HINT)
    if sha256:
        seen = sha256_of(archive)
        if seen != sha256:
            raise ConfigError(
                f"its sha256 is {seen[:12]}…, {sha256[:12]!r}… was expected",
                where=str(archive),
                hint="use the digest that was published with the bundle",
            )


def _one(out: Path, bundle: str) -> Path:
    found = list(out.iterdir())
    if len(found) != 1 or not _is_ours(found[0]):
        raise ConfigError(f"does not contain a folder with {PROGRAM} in it", where=bundle, hint=_HINT)
    return found[0]


def _same_version(folder: Path) -> None:
    """Refuse a bundle of another version, whose cells and helpers may be different."""
    told = run([folder / PROGRAM, "--version"], timeout=60.0)
    if not told.ok or told.stdout.text.split()[-1:] != [__version__]:
        said = (told.stdout.text + told.stderr.text).strip()[:80]
        raise ConfigError(
            f"the bundle is not py-portable {__version__}: it says {said!r}",
            hint=_HINT,
        )
