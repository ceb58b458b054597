"""Options that every command takes, and how its session is opened from them. An empty value is no value."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from py_portable.base.talk import Talk
from py_portable.cli.show import clean
from py_portable.errors import MachineError
from py_portable.plan.tiers import PR, RELEASE

if TYPE_CHECKING:
    from py_portable.project.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])
CONFIG = Path("portable.yaml")


class GivenPath(click.Path):
    """A path; an empty one is `instead`, and an error where that is None too and something must be given."""

    def __init__(self, instead: Path | None = None, *, must: bool = False) -> None:
        super().__init__(path_type=Path)
        self.instead = instead
        self.must = must

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            if self.must:
                self.fail("is empty", param, ctx)
            return self.instead
        return super().convert(value, param, ctx)


class GivenCount(click.IntRange):
    """A number from `min`; an empty one is `instead`."""

    def __init__(self, min: int, instead: int | None = None) -> None:
        super().__init__(min)
        self.instead = instead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.instead if value == "" else super().convert(value, param, ctx)


class GivenChoice(click.Choice[str]):
    """One of these; an empty one is the first."""

    def __init__(self, *choices: str) -> None:
        super().__init__(choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(self.choices[0] if value == "" else value, param, ctx)


config_option = click.option(
    "--config",
    "-c",
    type=GivenPath(CONFIG),
    default=CONFIG,
    envvar="PY_PORTABLE_CONFIG",
    show_envvar=True,
    show_default=True,
    help="The path of the config.",
)
engine_option = click.option(
    "--engine",
    default="auto",
    envvar="PY_PORTABLE_ENGINE",
    show_envvar=True,
    show_default=True,
    callback=lambda _context, _option, value: value or "auto",
    help="The engine that starts cells and build steps: auto, bubblewrap, docker, podman, chroot or native.",
)
build_engine_option = click.option(
    "--build-engine",
    default="",
    envvar="PY_PORTABLE_BUILD_ENGINE",
    show_envvar=True,
    help="The engine for build steps only. `native` builds directly in this container, whose image "
    "must be the baseline."
    " [default: the value of --engine]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print only results and errors.")
verbose_option = click.option(
    "--verbose", "-v", is_flag=True, help="Also print steps whose result was already there."
)


def common(function: Command) -> Command:
    """The options of every command over a config; it gets them as one `common` mapping."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        names = (
            "config",
            "dist",
            "engine",
            "build_engine",
            "locked",
            "keep_on_failure",
            "as_json",
            "quiet",
            "verbose",
        )
        mapping = {name: options.pop(name) for name in names}
        try:
            return function(*args, common=mapping, **options)
        except OSError as problem:
            where = _in_dist(problem, mapping["dist"] or mapping["config"].absolute().parent / "dist")
            if where is None:
                raise
            raise MachineError(
                problem.strerror or str(problem), where=where, hint="choose another place: --dist"
            )

    for option in reversed(
        (
            config_option,
            click.option(
                "--dist",
                type=GivenPath(),
                envvar="PY_PORTABLE_DIST",
                show_envvar=True,
                help="The folder for artifacts and evidence. [default: dist/ beside the config]",
            ),
            engine_option,
            build_engine_option,
            click.option(
                "--locked", is_flag=True, help="Fail if the lock would have to change. Useful in CI."
            ),
            click.option(
                "--keep-on-failure",
                is_flag=True,
                help="If a step or a cell fails, keep its folder (below DIST/logs/kept) or its "
                "container, and print how to look inside.",
            ),
            json_option,
            quiet_option,
            verbose_option,
        )
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def open_session(common: dict[str, Any]) -> Session:
    from py_portable.project import session

    return session.open_session(
        common["config"],
        dist=common["dist"],
        engine=common["engine"],
        talk=Talk(common["quiet"], common["verbose"]),
        locked=common["locked"],
        keep_on_failure=common["keep_on_failure"],
        build_engine=common["build_engine"],
    )


def given(names: Iterable[str], what: str) -> tuple[str, ...]:
    """Each of the names once, without those that are empty. Raises UsageError for one no terminal can show."""
    told = tuple(dict.fromkeys(name for name in names if name.strip()))
    for name in told:
        if not name.isprintable():
            raise click.UsageError(f"the {what} '{clean(name)}' has characters that are not printable")
    return told


tier = click.option(
    "--tier",
    type=GivenChoice(RELEASE, PR),
    default=RELEASE,
    show_default=True,
    envvar="PY_PORTABLE_TIER",
    show_envvar=True,
    help="How much of the matrix to run: `release` runs all of it, `pr` leaves out probes and controls.",
)


def probe_names(text: str | None) -> tuple[str, ...] | None:
    """The probes of a list with commas, each once; None where it names none, () for "none". Raises UsageError."""
    from py_portable.prove.conditions import CONDITIONS

    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    if "none" in names and len(names) > 1:
        raise click.UsageError("--probes: 'none' cannot be combined with other names")
    for name in names:
        if (name not in CONDITIONS and name != "none") or name == "plain":
            known = ", ".join(n for n in CONDITIONS if n != "plain")
            raise click.UsageError(f"there is no probe named {name!r}; there are: {known}")
    return None if not names else tuple(name for name in names if name != "none")


def _in_dist(problem: OSError, dist: Path) -> str | None:
    """What the error is about, where that is dist, something in it, or a folder that should stand above it."""
    dist = dist.absolute()
    for name in (problem.filename, problem.filename2):
        if isinstance(name, str | bytes | os.PathLike):
            path = Path(os.fsdecode(name)).absolute()
            if path == dist or dist in path.parents or (path in dist.parents and not path.is_dir()):
                return os.fsdecode(name)
    return None
