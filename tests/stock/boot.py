"""boot.py JSON: become a machine of its own, print the process id of its first process, and end it when stdin ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.stock import kernel

FIRST = ("/usr/bin/perl", "-e", "$SIG{CHLD} = 'IGNORE'; $SIG{TERM} = sub { exit 0 }; sleep while 1")
"""It reaps what others leave."""
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
APPARMOR = "apparmor_restrict_unprivileged_userns"
READ_ONLY = ("proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger", "sys")
MASKED = ("proc/kcore", "proc/keys", "proc/timer_list", "proc/scsi", "sys/firmware")
"""As docker shows them to a container (moby, oci/defaults.go)."""


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def set_up(told: dict[str, object]) -> None:
    root = Path(str(told["root"]))
    mount("--make-rprivate", "/")
    lower = ":".join(map(str, told["lowers"]))  # type: ignore[call-overload]
    mount(
        "-t",
        "overlay",
        "-o",
        f"lowerdir={lower},upperdir={told['upper']},workdir={told['work']}",
        "stock",
        root,
    )
    for name, source in told["volumes"].items():  # type: ignore[attr-defined]
        (root / name).mkdir(parents=True, exist_ok=True)
        mount("--bind", source, root / name)
    mount("-t", "proc", "proc", root / "proc")
    _devices(root / "dev")
    mount("-t", "tmpfs", "-o", "mode=755", "run", root / "run")
    (root / "run/lock").mkdir(mode=0o1777)
    if told["apparmor"]:
        _apparmor(root)
    mount("-t", "sysfs", "-o", "nosuid,nodev,noexec", "sys", root / "sys")
    if told["container"]:
        _masked(root)
    elif Path("/sys/fs/cgroup").is_dir():
        mount("--rbind", "/sys/fs/cgroup", root / "sys/fs/cgroup")
    os.chdir(root)


def _devices(dev: Path) -> None:
    dev.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755,nosuid", "dev", dev)
    os.umask(0)
    for name, minor in DEVICES.items():
        os.mknod(dev / name, 0o020666, os.makedev(1, minor))
    os.mknod(dev / "tty", 0o020666, os.makedev(5, 0))
    if Path("/dev/fuse").exists():
        os.mknod(dev / "fuse", 0o020666, os.makedev(10, 229))
    os.umask(0o022)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=666,mode=620,gid=5", "devpts", dev / "pts")
    mount("-t", "tmpfs", "-o", "mode=1777", "shm", dev / "shm")
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ):
        (dev / name).symlink_to(target)


def _apparmor(root: Path) -> None:
    """The setting that a kernel without AppArmor does not have; all others are this kernel's own."""
    own = root / "run/proc"
    own.mkdir(mode=0o755)
    mount("-t", "proc", "proc", own)
    names = [path.name for path in (own / "sys/kernel").iterdir()]
    place = root / "proc/sys/kernel"
    mount("-t", "tmpfs", "-o", "mode=555", "settings", place)
    for name in names:
        if name != APPARMOR:
            (place / name).symlink_to(f"/run/proc/sys/kernel/{name}")
    (place / APPARMOR).write_text("1\n")
    mount("-o", "remount,ro", place)


def _masked(root: Path) -> None:
    for name in READ_ONLY:
        if (root / name).exists():
            mount("--bind", root / name, root / name)
            mount("-o", "remount,ro,bind", root / name)
    for name in MASKED:
        place = root / name
        if place.is_dir():
            mount("-t", "tmpfs", "-o", "ro,size=0", "masked", place)
        elif place.exists():
            mount("--bind", "/dev/null", place)
    (root / ".dockerenv").touch()


def main() -> None:
    told = json.loads(sys.argv[1])
    kernel.call("unshare", kernel.NEWNS | kernel.NEWUTS | kernel.NEWIPC | kernel.NEWPID)
    ready, say = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            kernel.die_with_parent()
            os.close(ready)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            set_up(told)
            kernel.call("sethostname", told["kind"].encode(), len(told["kind"]))
            kernel.pivot_root(".")
            for number in (0, 1):
                os.dup2(os.open("/dev/null", os.O_RDWR), number)
            os.setsid()
            os.execve(FIRST[0], FIRST, {})
        except BaseException as problem:
            os.write(say, str(problem).encode()[:4000] or b"?")
            os._exit(1)
    os.close(say)
    failed = os.read(ready, 4096)
    if failed:
        sys.exit(failed.decode())
    print(first, flush=True)
    sys.stdin.read()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)


if __name__ == "__main__":
    main()
