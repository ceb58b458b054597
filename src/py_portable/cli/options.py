"""Options that every command takes, and how its session is opened from them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from py_portable.talk import Talk

if TYPE_CHECKING:
    from py_portable.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])


def common(function: Command) -> Command:
    """The options of every command over a config; it gets them as one `common` mapping."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        names = ("config", "dist", "engine", "locked", "keep_on_failure", "as_json", "quiet", "verbose")
        return function(*args, common={name: options.pop(name) for name in names}, **options)

    for option in reversed(
        (
            click.option(
                "--config",
                "-c",
                type=click.Path(path_type=Path),
                default=Path("portable.yaml"),
                envvar="PY_PORTABLE_CONFIG",
                show_default=True,
                help="The config.",
            ),
            click.option(
                "--dist",
                type=click.Path(path_type=Path),
                envvar="PY_PORTABLE_DIST",
                help="Where artifacts and evidence go. [default: dist/ beside the config]",
            ),
            click.option(
                "--engine",
                default="auto",
                envvar="PY_PORTABLE_ENGINE",
                show_default=True,
                help="auto, bubblewrap, chroot or native.",
            ),
            click.option("--locked", is_flag=True, help="Fail where the lock would have to change."),
            click.option(
                "--keep-on-failure", is_flag=True, help="Keep a failed step's folder below DIST/logs/kept."
            ),
            click.option("--json", "as_json", is_flag=True, help="Results as JSON on stdout."),
            click.option("--quiet", "-q", is_flag=True, help="Results and errors only."),
            click.option("--verbose", "-v", is_flag=True, help="Name cached steps too."),
        )
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def open_session(common: dict[str, Any]) -> Session:
    from py_portable import session

    return session.open_session(
        common["config"],
        dist=common["dist"],
        engine=common["engine"] or "auto",
        talk=Talk(common["quiet"], common["verbose"]),
        locked=common["locked"],
        keep_on_failure=common["keep_on_failure"],
    )
