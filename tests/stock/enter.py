"""enter.py JSON: start one command inside a machine as one of its users; its exit status is this one's."""

from __future__ import annotations

import grp
import json
import os
import pwd
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.stock import kernel

NAMESPACES = ("uts", "ipc", "pid", "mnt")


def become(name: str) -> None:
    """The user of the machine; the first look-up of names is done after its root is ours."""
    user = pwd.getpwnam(name)
    groups = [group.gr_gid for group in grp.getgrall() if name in group.gr_mem]
    os.setgroups([user.pw_gid, *groups])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def inside(told: dict[str, object]) -> None:
    kernel.refuse(told["refuses"])  # type: ignore[arg-type]
    if told["user"] != "root":
        become(str(told["user"]))
    kernel.die_with_parent()
    os.umask(0o022)
    os.chdir(str(told["cwd"]))
    argv: list[str] = told["argv"]  # type: ignore[assignment]
    environ: dict[str, str] = told["env"]  # type: ignore[assignment]
    os.execvpe(argv[0], argv, environ)


def main() -> int:
    told = json.loads(sys.argv[1])
    handles = [os.open(f"/proc/{told['pid']}/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    for handle in handles:
        kernel.call("setns", handle, 0)
        os.close(handle)
    child = os.fork()
    if child == 0:
        try:
            inside(told)
        except OSError as problem:
            print(f"{told['argv'][0]}: {problem.strerror or problem}", file=sys.stderr, flush=True)
            os._exit(127)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    ended = main()
    sys.exit(ended if ended >= 0 else 128 - ended)
