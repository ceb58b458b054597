"""Installing system packages through apt, said aloud and only as root."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from py_portable import command
from py_portable.errors import MachineError

SECONDS = 900.0
_LOCK_SECONDS = 300
_INSTALLED = re.compile(r"^Inst (\S+)", re.MULTILINE)


def install(packages: Sequence[str], say: Callable[[str], None], *, hint: str) -> None:
    """Install Debian packages and what they depend on; `say` gets the list before anything is changed.

    Package lists are fetched only where apt cannot do without. Raises MachineError with apt's last lines.
    """
    wanted = command.run(_line("--simulate", *packages), env=_environment(), timeout=SECONDS)
    if not wanted.ok:
        _update(say)
        wanted = command.check(
            _line("--simulate", *packages),
            what=f"finding {' '.join(packages)} through apt",
            error=MachineError,
            hint=hint,
            env=_environment(),
            timeout=SECONDS,
        )
    names = list(dict.fromkeys(_INSTALLED.findall(wanted.stdout.text)))
    say(f"Installing through apt: {' '.join(names) or ' '.join(packages)}")
    outcome = command.run(_line(*packages), env=_environment(), timeout=SECONDS)
    if not outcome.ok:
        # The usual reason: the lists on this machine name files that the mirror has replaced since.
        _update(say)
        outcome = command.run(_line(*packages), env=_environment(), timeout=SECONDS)
    command.require(outcome, what=f"installing {' '.join(packages)}", error=MachineError, hint=hint)


def _line(*words: str) -> tuple[str, ...]:
    return (
        "apt-get",
        f"-oDPkg::Lock::Timeout={_LOCK_SECONDS}",
        "-oDpkg::Use-Pty=0",
        "--quiet",
        "install",
        "--yes",
        "--no-install-recommends",
        *words,
    )


def _update(say: Callable[[str], None]) -> None:
    say("Fetching apt's package lists")
    # A single source that does not answer is no reason to stop: the install that follows decides.
    command.run(("apt-get", "--quiet", "update"), env=_environment(), timeout=SECONDS)


def _environment() -> Mapping[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
