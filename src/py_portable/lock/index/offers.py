"""The files of an index, in the form in which they are offered, and in the form in which the lock names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Offer:
    """One file that an index (or a local folder) offers."""

    name: str
    version: str
    file: str
    url: str
    sha256: str
    size: int | None
    direct: bool = False
    """Whether this address was asked for, and not its name."""

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")


@dataclass(frozen=True)
class LockedFile:
    """A wheel or an sdist.

    `origin`: where it is from, if no index has it: `https://…`, `git+URL@COMMIT`, or `path:` and a path that
    starts at the config's folder.
    """

    name: str
    version: str
    file: str
    sha256: str
    size: int | None
    origin: str | None = None

    def __post_init__(self) -> None:
        # A name with characters that cannot be printed (NUL, half a surrogate pair) may be impossible to write.
        plain = self.file.isprintable() and PurePosixPath(self.file).name == self.file
        if not plain or self.file in ("", ".", ".."):
            raise ValueError(f"{self.file!r} is not a file name")

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")
