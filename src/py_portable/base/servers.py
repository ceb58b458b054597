"""What is said of the servers that files come from, without what talks to them: that takes long to import. A leaf."""

from __future__ import annotations

from dataclasses import dataclass, field

from py_portable.base.redact import hide


class Failed(Exception):
    """One source did not give the file; the message is one line without any login.

    `passing`: the server or the line had a bad moment, so that a second try may go better.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True)
class TimeLimits:
    """Seconds. `idle` is the longest wait for a connection, an answer or the next bytes."""

    idle: float = 10.0
    total: float = 900.0


@dataclass(frozen=True)
class Route:
    """How servers are reached, where more is configured than the environment says."""

    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    unverified_hosts: frozenset[str] = frozenset()
    """Hosts (`name` or `name:port`) whose certificates the user has said not to check."""

    def verifies(self, host: str | None, port: int | None) -> bool:
        return not {host, f"{host}:{port}"} & self.unverified_hosts


def redact(url: str) -> str:
    """The address without its login, its query and its fragment."""
    return hide(url).partition("?")[0].partition("#")[0].replace("***@", "", 1)
