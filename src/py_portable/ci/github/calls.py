"""The command lines of py-portable that the action runs for one config. Pure, except that it looks for configs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from py_portable.ci.github.inputs import Inputs, shown
from py_portable.ci.job_config import Project
from py_portable.config import Config
from py_portable.errors import ConfigError

MOST_CONFIGS = 50
MOST_NAMED = 5


@dataclass(frozen=True)
class Call:
    """`argv`: without the program. `told`: what the command prints becomes an output and is not shown."""

    command: str
    argv: tuple[str, ...]
    told: bool = False


def projects(inputs: Inputs, here: Path) -> tuple[Project, ...]:
    """The configs that the pattern names, in order. If there are several, each has its own folder in `dist`.

    Raises ConfigError if there is none, or if one is outside of `here`.
    """
    pattern = inputs.config
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ConfigError(
            f"{shown(pattern)} is outside the repository",
            where="the input config",
            hint="name it from the repository's root",
        )
    found = [pattern] if (here / pattern).is_file() else sorted(_matching(pattern, here))
    if not found:
        raise ConfigError(
            f"there is no {shown(pattern)}",
            where="the input config",
            hint=_instead(here),
        )
    if len(found) > MOST_CONFIGS:
        raise ConfigError(
            f"{shown(pattern)} is {len(found)} files; at most {MOST_CONFIGS} are allowed",
            where="the input config",
        )
    for name in found:
        if not name.isprintable() or name.startswith("-"):
            raise ConfigError(f"{shown(name)} cannot be the name of a config", where="the input config")
    return tuple(Project(name, _dist(inputs, here, name, len(found) > 1)) for name in found)


def _instead(here: Path) -> str:
    there = sorted(islice(_matching("**/portable.yaml", here), MOST_NAMED))
    if there:
        return f"there is: {', '.join(map(shown, there))}"
    return "check the repository out first (actions/checkout); py-portable init writes a config"


def _matching(pattern: str, here: Path) -> Iterator[str]:
    """Files below `here`. Hidden folders are left out, since they are not part of the repository."""
    try:
        for path in here.glob(pattern):
            name = path.relative_to(here)
            hidden = any(part.startswith(".") for part in name.parts[:-1])
            if path.is_file() and not hidden and path.resolve().is_relative_to(here.resolve()):
                yield str(name)
    except (ValueError, NotImplementedError) as problem:
        raise ConfigError(f"{shown(pattern)} is not a pattern: {problem}", where="the input config")


def _dist(inputs: Inputs, here: Path, config: str, shared: bool) -> Path:
    if inputs.dist is None:
        # Two configs in one folder must not overwrite each other's files.
        alone = here / Path(config).parent / "dist"
        return alone / Path(config).stem if shared and Path(config).stem != "portable" else alone
    whole = here / inputs.dist
    return whole / Path(config).with_suffix("") if shared else whole


def calls(
    inputs: Inputs, project: Project, artifacts: Sequence[str] | None = None, costs: Path | None = None
) -> tuple[Call, ...]:
    """The commands for a config, in order; `report` runs later, whatever their exit statuses are.

    `artifacts`: what a job of the plan builds, in place of the input's. `costs`: evidence to balance shards by.
    """
    common = ["--config", project.config, "--dist", str(project.dist)]
    if inputs.engine:
        common += ["--engine", inputs.engine]
    names = inputs.artifacts if artifacts is None else tuple(artifacts)
    made = []
    for command in inputs.commands:
        match command:
            case "check":
                made.append(Call(command, (command, *common)))
            case "lock":
                # The job of the plan makes the images for all other jobs.
                images = ("--images",) if "plan" in inputs.commands else ()
                made.append(Call(command, (command, *images, *common)))
            case "plan":
                known = ("--costs", str(costs)) if costs else ()
                argv = (command, "--github", "--tier", inputs.tier, *known, *common, *_words(names))
                made.append(Call(command, argv, told=True))
            case "build":
                # Other jobs start what a build job of the plan makes.
                carry = () if artifacts is None else ("--carry-all" if inputs.benchmark else "--carry",)
                # The tier only decides what is carried.
                tier = ("--tier", inputs.tier) if carry else ()
                made.append(Call(command, (command, *carry, *tier, *common, *_words(names))))
            case "benchmark":
                taken = ("--as-made",) if inputs.benchmark else ()
                made.append(Call(command, (command, *taken, *common, *_words(names))))
            case "portability":
                made.append(Call(command, (command, *common, *_cells(inputs))))
            case "merge":
                made.append(Call(command, (command, *_merge(inputs, project))))
    return tuple(made)


def report(inputs: Inputs, project: Project) -> Call:
    """Its lines that begin with `::` are annotations."""
    argv = ["report", "--github", "--config", project.config, "--dist", str(project.dist)]
    if inputs.allow_unproven:
        argv.append("--allow-unproven")
    return Call("report", tuple(argv), told=True)


def reports(inputs: Inputs) -> bool:
    """A shard knows only its own cells; the job that merges reports all of them."""
    return inputs.shard is None and bool({"portability", "report"} & set(inputs.commands))


def _words(names: Sequence[str]) -> tuple[str, ...]:
    return ("--", *names) if names else ()


def _cells(inputs: Inputs) -> list[str]:
    argv = ["--allow-unproven"] if inputs.allow_unproven else []
    if inputs.shard:
        return [*argv, "--shard", inputs.shard, "--as-made"]
    for option, names in (("--image", inputs.images), ("--artifact", inputs.artifacts)):
        for name in names:
            argv += [option, name]
    return [*argv, "--tier", inputs.tier]


def _merge(inputs: Inputs, project: Project) -> list[str]:
    plan = project.dist / "plan.json"
    parts = sorted((project.dist / "evidence" / "parts").glob("*.json"))
    argv = ["--output", str(project.dist / "evidence.json")]
    if inputs.allow_unproven:
        argv.append("--allow-unproven")
    return [*argv, *([str(plan)] if plan.exists() else []), *map(str, parts)]


def builds(config: Config) -> tuple[tuple[str, ...], ...]:
    """The artifacts, grouped by their baseline: one job for each. Artifacts without a baseline go to the first job.

    An artifact that is made from another one has the same baseline, or needs nothing but the other one's file.
    """
    groups: dict[str, list[str]] = {}
    rest = []
    for name, artifact in config.artifacts.items():
        first = artifact
        while first.from_ is not None:
            first = config.artifacts[first.from_]
        if first.baseline is None:
            rest.append(name)
        else:
            groups.setdefault(first.baseline, []).append(name)
    made = [tuple(names) for _, names in sorted(groups.items())]
    if not made:
        return (tuple(rest),) if rest else ()
    return ((*made[0], *rest), *made[1:])


def build_names(count: int) -> tuple[str, ...]:
    return tuple(f"build-{number:03}" for number in range(1, count + 1))
