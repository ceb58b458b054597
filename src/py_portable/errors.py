"""The one way to report an error: what happened, where, the last lines of what failed, and what to do next."""

from __future__ import annotations

from pathlib import Path

TAIL_LINES = 25


class PortableError(Exception):
    """Something went wrong that the user can understand and mend; never shown as a traceback.

    `what` is one sentence; `where` a file, `file:line:column` or step name; `tail` the last output of what
    failed; `log` the file with all of it; `hint` the next thing to do.
    """

    exit_code = 4

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        tail: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.tail = tail
        self.log = log

    def render(self) -> str:
        """The message as it is printed on stderr, several lines, no trailing newline."""
        lines = [f"Error: {self.where}: {self.what}" if self.where else f"Error: {self.what}"]
        if self.tail and self.tail.strip():
            lines += [f"  | {line}" for line in self.tail.rstrip().splitlines()[-TAIL_LINES:]]
        if self.log:
            lines.append(f"  log: {self.log}")
        if self.hint:
            lines += [
                f"  {'next' if i == 0 else '    '}: {line}" if i == 0 else f"        {line}"
                for i, line in enumerate(self.hint.splitlines())
            ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


class UnmetError(PortableError):
    """Something the user asked to hold does not hold (a bad tag, a broken gate)."""

    exit_code = 1


class ConfigError(PortableError):
    """The config, the lock or the command line is wrong."""

    exit_code = 2


class MachineError(PortableError):
    """The machine lacks something that `py-portable doctor` can name."""

    exit_code = 3


class StepError(PortableError):
    """A build step failed."""

    exit_code = 4


class Blocked(PortableError):
    """A step could not run because one that it needs failed; `cause` is that one's identity."""

    def __init__(self, name: object, cause: object) -> None:
        super().__init__(f"{name} was not built: {cause} failed")
        self.cause = cause
