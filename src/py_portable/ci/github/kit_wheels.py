"""The wheels from which the kit itself is installed, as a cache brought them: `kit_wheels.py key|take …`.

scripts/ci-github starts this file by its path, before any package is there: the standard library only. A cache is
never believed. A wheel whose sha256 is not among the requirements' is removed before anything looks into it.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
import zipfile
from pathlib import Path

_SHA256 = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_UV = re.compile(r"uv-[^/]+\.data/scripts/uv")
_UV_BYTES = 512 << 20


def key(requirements: bytes) -> str:
    """The key of the cache, which is the same as long as the same wheels are wanted."""
    python = platform.python_implementation().lower() + "".join(platform.python_version_tuple()[:2])
    told = hashlib.sha256(requirements).hexdigest()[:16]
    return "-".join(
        ("py-portable-kit", re.sub(r"\W", "_", platform.machine()), platform.libc_ver()[0], python, told)
    )


def take(requirements: str, wheels: Path, uv: Path) -> bool:
    """Whether the folder has the uv that the requirements name, which is then written to `uv`. Files that they do not
    name are removed.
    """
    wanted = set(_SHA256.findall(requirements))
    found = False
    for path in sorted(wheels.iterdir()) if wheels.is_dir() else ():
        if path.is_symlink() or not path.is_file() or _sha256(path) not in wanted:
            if path.is_dir() and not path.is_symlink():
                return False
            path.unlink()
        elif path.name.startswith("uv-"):
            found = _extract(path, uv)
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _extract(wheel: Path, uv: Path) -> bool:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if _UV.fullmatch(member.filename) and member.file_size <= _UV_BYTES:
                uv.write_bytes(archive.read(member))
                uv.chmod(0o755)
                return True
    return False


def main(argv: list[str]) -> int:
    """`key REQUIREMENTS` prints the key. `take REQUIREMENTS WHEELS UV` returns 1 if the wheels are not available."""
    match argv:
        case ["key", requirements]:
            print(key(Path(requirements).read_bytes()))
            return 0
        case ["take", requirements, wheels, uv]:
            return 0 if take(Path(requirements).read_text("utf-8"), Path(wheels), Path(uv)) else 1
    print(main.__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
