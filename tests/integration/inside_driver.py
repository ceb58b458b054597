"""Runs build steps in the container it is in, as test_gitlab_native.py asks; prints JSON. Starts in the kit's Python."""

from __future__ import annotations

import json
import os
from pathlib import Path

from py_portable.engines import builds
from py_portable.engines.engine import Bind, Job
from py_portable.engines.inside import Inside
from py_portable.engines.static_helpers.stored import helpers
from py_portable.errors import PortableError
from py_portable.store import Store, default_root

WORK = Path("/store/cache/work")


def step(name: str, script: str, *binds: Bind) -> dict[str, object]:
    """One step, as `Context.sandbox` starts it."""
    work = WORK / name
    for folder in ("out", "scratch"):
        (work / folder).mkdir(parents=True)
    compiled = helpers(Store(default_root(os.environ)))
    job = Job(
        "build",
        Path("/"),
        ("/bin/sh", "-c", script),
        env={"PATH": "/usr/bin:/bin", "HOME": "/build"},
        cwd="/build",
        binds=(
            Bind(work / "scratch", "/build", writable=True),
            Bind(work / "out", "/out", writable=True),
            *binds,
        ),
        helpers=compiled,
    )
    try:
        ended = Inside(compiled).run(job, timeout=60, log=work / "log")
    except PortableError as problem:
        return {"error": problem.what}
    out = {path.name: path.read_text() for path in (work / "out").iterdir()}
    return {"status": ended.status, "said": ended.stdout.text + ended.stderr.text, "out": out}


def main() -> None:
    given = WORK / "given"
    given.mkdir(parents=True)
    (given / "input").write_text("what the first step reads\n")
    told = {
        "first": step(
            "first",
            "cat /opt/python/input >/out/read; ls /opt/python; echo spoiled >/opt/python/input; mkdir -p /opt/left /in/left; "
            "echo x | tee /tmp/left /dev/shm/left /opt/left/file /usr/lib/left.so /in/left/file /build/left >/dev/null; "
            "(setsid sleep 987 >/dev/null 2>&1 &); tr '\\0' '\\n' </proc/$PPID/environ; "
            "for each in /proc/[0-9]*/environ; do tr '\\0' '\\n' <$each; done; env",
            Bind(given, "/opt/python"),
        ),
        "second": step(
            "second",
            "find / /dev/shm -xdev -name '*left*' -newer /etc/hostname -not -path '/store/*' -not -path '/own/*'; "
            "ls -A /build /out /tmp /in /kit /opt/python; cat /proc/[0-9]*/comm",
        ),
        "image": Path("/opt/python/latest/whose").read_text(),
        "given": (given / "input").read_text(),
        "third": step("third", "echo nobody:x:1:1::/: >>/etc/passwd; rm -f /etc/shadow; echo done >/out/done"),
        "fourth": step("fourth", "true"),
        "builds": builds.told(),
        "left": sorted(path.name for path in Path("/").iterdir()),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
