"""One real start of the canary on a tiny root: whether an engine works here, and what it cannot isolate."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from py_portable.engines import ids, static_helpers
from py_portable.engines.diagnose import Facts, cure
from py_portable.engines.engine import LIMITS, Bind, Engine, Job
from py_portable.engines.guard import HELPERS
from py_portable.errors import MachineError

UID = 10001
HOME = "/home/cell"
HOSTNAME = "cell"
USER = "cell"
TMP_BYTES = 1 << 20
_SECONDS = 20.0


Diagnose = Callable[[str], tuple[str, str]]
"""From what was said on stderr to the cause and the cure."""


def trial(engine: Engine, helpers: Path | None, diagnose: Diagnose | None = None) -> tuple[str, ...]:
    """Start the canary with everything asked for at once; what it did not get, sorted (empty: all of it).

    Raises MachineError with the cause and the cure where nothing could be started.
    """
    if helpers is None:
        with tempfile.TemporaryDirectory(prefix="py-portable-trial-") as name:
            Path(name).chmod(0o755)  # the ids of a mapped range must be able to look at it
            static_helpers.put(Path(name))
            return trial(engine, Path(name), diagnose)
    with _account(helpers) as binds:
        job = Job(
            profile="proof",
            # Any folder will do: the static helpers need nothing of it.
            root=Path("/") if engine.name == "native" else helpers,
            argv=(f"{HELPERS}/canary",),
            env={"HOME": HOME},
            binds=binds,
            helpers=helpers,
            home=HOME,
            uid=UID,
            tmp_bytes=TMP_BYTES,
        )
        outcome = engine.run(job, timeout=_SECONDS)
    seen = _parse(outcome.stdout.data) if outcome.ok else None
    if seen is None:
        said = outcome.stderr.text
        cause, mend = diagnose(said) if diagnose else cure(Facts.gather(), said)
        raise MachineError(f"{engine.name}: {cause}", hint=mend, tail=outcome.stderr.text)
    return tuple(sorted({*lacks(seen), *(set(LIMITS) - set(outcome.limits))}))


@contextlib.contextmanager
def _account(helpers: Path) -> Iterator[tuple[Bind, ...]]:
    """Entries for the user, in files that an engine sees as it sees the helpers beside them."""
    parent = helpers.parent if os.access(helpers.parent, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="py-portable-trial-", dir=parent) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "passwd").write_text(f"{USER}:x:{UID}:{UID}::{HOME}:/bin/sh\n")
        (folder / "group").write_text(f"{USER}:x:{UID}:\n")
        for file in ("passwd", "group"):
            (folder / file).chmod(0o644)
        yield tuple(Bind(folder / file, f"/etc/{file}") for file in ("passwd", "group"))


def _parse(data: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("canary") == 1 else None


def lacks(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """What the observation of the trial shows to be missing."""
    wanted = {
        "ids": seen["uid"] == UID and ids.mapped(seen["uid_map"] or "") >= ids.FULL_RANGE - 1,
        "network": seen["interfaces"] == ["lo"] and seen["route"] != 0,
        "loopback": seen["loopback"] == 0,
        "pids": seen["processes"] < 10,
        "hostname": seen["hostname"] == HOSTNAME,
        "account": seen["account"] == {"name": USER, "home": HOME, "group": USER},
        "root": seen["root"]["read_only"],
        "home": seen["home"]["exists"] and seen["home"]["owner"] == seen["uid"] and seen["env_HOME"] == HOME,
        "tmp": seen["tmp"]["type"] == "tmpfs" and seen["tmp"]["bytes"] == TMP_BYTES,
        "devices": seen["shm"]["create"] == 0,
        "seccomp": seen["Seccomp"] == "2",
        "keys": seen["keys"] in (0, None),
    }
    return tuple(sorted(name for name, there in wanted.items() if not there))
