"""Which artifacts are built in which baseline, for builds with one job for each baseline. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from py_portable.config import Config
from py_portable.config.glibc import canonical_image
from py_portable.errors import ConfigError


@dataclass(frozen=True)
class BaselineJob:
    """`name`: the name of the baseline in the config. `image`: its image, as the config names it."""

    name: str
    image: str
    artifacts: tuple[str, ...]


def jobs(config: Config, artifacts: Collection[str] = ()) -> tuple[BaselineJob, ...]:
    """One job for each baseline in which a named artifact is built (any artifact, if none is named).

    An artifact that is built in no baseline, such as a file from elsewhere, belongs to the first job, which records
    it. Without any baseline there is no job.
    """
    wanted = [a for name, a in config.artifacts.items() if not artifacts or name in artifacts]
    names = list(dict.fromkeys(a.baseline for a in wanted if a.baseline))
    return tuple(
        BaselineJob(
            name,
            config.baselines[name].image,
            tuple(a.name for a in wanted if a.baseline == name or (a.baseline is None and name == names[0])),
        )
        for name in names
    )


def of_baseline(config: Config, baseline: str, artifacts: Collection[str] = ()) -> tuple[str, ...]:
    """The artifacts that are built in the baseline with this name, or with this image if only one baseline has it.

    Raises ConfigError where there is no such baseline, or nothing is built in it.
    """
    found = jobs(config, artifacts)
    for job in found:
        if job.name == baseline:
            return job.artifacts
    named = [job for job in found if canonical_image(job.image) == canonical_image(baseline)]
    if len(named) == 1:
        return named[0].artifacts
    known = ", ".join(f"{job.name} ({job.image})" for job in found) or "none"
    why = (
        f"the baselines {', '.join(job.name for job in named)} have the image {baseline}"
        if named
        else f"no artifact is built in the baseline {baseline}"
    )
    raise ConfigError(why, where="--baseline", hint=f"artifacts are built in: {known}")
