"""Files of an index: as they are offered, and as the lock names them."""

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

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")


@dataclass(frozen=True)
class LockedFile:
    """One file of an index: a wheel or an sdist."""

    name: str
    version: str
    file: str
    sha256: str
    size: int | None

    def __post_init__(self) -> None:
        # A file name that cannot be printed cannot always be written either: NUL, half a surrogate pair.
        plain = self.file.isprintable() and PurePosixPath(self.file).name == self.file
        if not plain or self.file in ("", ".", ".."):
            raise ValueError(f"{self.file!r} is not a file name")

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")
