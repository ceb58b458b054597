"""Start a program that may read and write only certain paths, by Landlock: apart.py SPEC PROGRAM ARGS…

SPEC is JSON: `read` and `write` are lists of paths. If the kernel is new enough, the program cannot use TCP, and can
neither signal nor trace processes outside of its sandbox. Without a PROGRAM nothing is started, and the exit status
says whether the kernel has Landlock (0) or not (117). If a PROGRAM was started, the status is its own, even if it is
117.
https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import json
import os
import struct
import sys
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446
NO_NEW_PRIVS = 38
PATH_BENEATH = 1
NO_LANDLOCK = 117
EXECUTE, WRITE, READ, LIST, TRUNCATE, IOCTL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE | READ | TRUNCATE | IOCTL

LIBC = ctypes.CDLL(None, use_errno=True)


def call(*words: object) -> int:
    answer = LIBC.syscall(*words)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(answer)


def rights(version: int) -> int:
    """All rights to files that this version of Landlock knows. It cannot forbid others."""
    return (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1


def allow(rules: int, path: str, wanted: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not Path(path).is_dir():
        wanted &= OF_FILES
    call(ADD, rules, PATH_BENEATH, ctypes.c_char_p(struct.pack("=Qi", wanted, fd)), 0)
    os.close(fd)


def main() -> None:
    spec, program = json.loads(sys.argv[1]), sys.argv[2:]
    try:
        version = call(CREATE, None, 0, 1)
    except OSError:
        sys.exit(NO_LANDLOCK)
    if not program:
        return
    known = rights(version)
    net, scope = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = call(CREATE, ctypes.c_char_p(struct.pack("=QQQ", known, net, scope)), size, 0)
    for path in spec["read"]:
        allow(rules, path, (EXECUTE | READ | LIST) & known)
    for path in spec["write"]:
        allow(rules, path, known)
    if LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    call(RESTRICT, rules, 0)
    os.execv(program[0], program)


main()
