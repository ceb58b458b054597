"""Modes that nothing may have which goes from hand to hand, and the ones that built files get. Pure.

One rule for all doors: outputs of builds (`steps/output.py`), what is copied out of the store (`store/restore.py`), and
every unpacking of another job's archive (`untar.py`). Root file systems of images keep their modes: they hold `su` and
`mount` as their distribution made them, lie in the store (mode 0700) only, and cells see them `nosuid`.
"""

from __future__ import annotations

import stat

SET_ID = stat.S_ISUID | stat.S_ISGID
FORBIDDEN = SET_ID | stat.S_IWOTH
_NAMES = (
    (stat.S_ISUID, "setuid"),
    (stat.S_ISGID, "setgid"),
    (stat.S_IWOTH, "world-writable"),
)


def trouble(mode: int) -> str | None:
    """What is wrong with the permission bits of a file or folder ("setuid, mode 4755"), None where nothing is.

    Do not ask it of links: their mode means nothing. See chmod(2), execve(2).
    """
    found = [name for bit, name in _NAMES if mode & bit]
    return f"{' and '.join(found)}, mode {stat.S_IMODE(mode):04o}" if found else None


def settled(mode: int, *, folder: bool = False) -> int:
    """The mode that a built file or folder gets: 0755, or 0644 for a file that its owner cannot start.

    It does not depend on the umask or the wishes of what wrote the file, so that equal contents are equal artifacts.
    """
    return 0o755 if folder or mode & stat.S_IXUSR else 0o644
