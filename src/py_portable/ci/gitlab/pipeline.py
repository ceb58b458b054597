"""Shards as a child pipeline of GitLab CI.

The pipeline is complete in itself: `PREFIX carry` passes the plan on, one job for each shard starts its cells, and
`PREFIX report` merges the results and has the reports. Every command in it is fixed text that reads variables. A name
from a config or a caller can only stand under `image:name`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from py_portable.ci.gitlab import jobs
from py_portable.ci.gitlab.job_files import handed_name
from py_portable.errors import ConfigError
from py_portable.plan.partition import Shard

SHARDS = 200
"""`parallel:matrix` makes at most 200 jobs (gitlab.com issues 438369, 547976). Jobs written one by one may be more,
but shards that fit a matrix fit every way to write them, and leave half of a free plan's active jobs to others."""
IMAGE_SHARDS = 490
"""With one job for each image: the Free tier of gitlab.com admits 500 jobs in active pipelines (issue 240895), and the
parent pipeline needs some. An instance's own limit is 2,000 jobs a pipeline where none is set (issue 353494).
"""
YAML_BYTES = 200_000
"""Servers before 17.3 allow 1 MB of memory for the parsed text, which about 200 kB can reach (issues 370116, 382389);
an artifact with a child pipeline may have 5 MB (docs: Downstream pipelines).
"""
JOB_NAME_CHARS = 255
"""Merge request 73559. A job `needs` at most 50 others, so the report waits for a stage, not for names."""
PREFIX = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,60}[A-Za-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_STAGES = ("plan", "portability", "report")


def pipeline(
    shards: Sequence[Shard],
    *,
    prefix: str = "py-portable",
    inside: bool = False,
    job_image: str | None = None,
    builds: Sequence[BuildJob] = (),
) -> str:
    """The YAML text. `inside`: every shard has one image, and its job runs in it. `job_image`: the image of the other
    jobs; None for the runner's default. `builds`: the jobs of this pipeline that build in the images of baselines; if
    there are none, the parent's job builds.

    Raises ConfigError for a prefix that is not a part of a job's name, and for an image no runner can start.
    """
    if not PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"{prefix!r} cannot be the beginning of a job's name",
            where="--job-prefix",
            hint="use letters, digits, spaces, '.', '_' and '-'; at most 62 characters",
        )
    if job_image and not _IMAGE.fullmatch(job_image):
        raise ConfigError(
            f"{job_image!r} is not an image in which a runner can start a job", where="--job-image"
        )
    in_kit: dict[str, Any] = {"image": {"name": job_image}} if job_image else {}
    with_kit = {**in_kit, "before_script": [jobs.SET_UP]}
    building = {f"{prefix} build {build.name}": _build(prefix, build) for build in builds}
    # What was built is tested even if another job failed.
    needs = [
        _parent(prefix, "plan"),
        *([{"job": name} for name in building] or [_parent(prefix, "build")]),
    ]
    anyway = {"when": "always"} if building else {}
    told: dict[str, Any] = {
        "workflow": {"rules": [{"when": "always"}]},
        "stages": [*(["build"] if building else []), *_STAGES],
        **building,
        f".{prefix} shard": {
            "stage": "portability",
            **({} if inside else {**with_kit, "cache": [_cache(prefix, "plan")]}),
            "needs": needs,
            **anyway,
            "variables": {"PY_PORTABLE_PLAN": "dist/plan.json", "PY_PORTABLE_DIST": "dist"},
            "script": [jobs.INSIDE if inside else jobs.SHARD],
            "artifacts": jobs.SHARD_ARTIFACTS,
        },
        f"{prefix} carry": {
            "stage": "plan",
            **in_kit,
            "needs": needs,
            **anyway,
            "variables": {"GIT_STRATEGY": "none"},
            "script": ["test -s dist/plan.json"],
            "artifacts": {"paths": ["dist/plan.json", "dist/evidence/parts/"]},
        },
    }
    for shard in shards:
        job: dict[str, Any] = {"extends": f".{prefix} shard", "variables": {"PY_PORTABLE_SHARD": shard.name}}
        if inside:
            job["image"] = {"name": _one_image(shard), "entrypoint": [""]}
        told[f"{prefix} {shard.name}"] = job
    told[f"{prefix} benchmark"] = {
        "stage": "portability",
        **with_kit,
        "rules": [{"if": '$PY_PORTABLE_BENCHMARK == "is true"'}],
        "needs": needs,
        "variables": {"PY_PORTABLE_DIST": "dist"},
        "cache": [_cache(prefix, "build")],
        "script": [jobs.BENCHMARK],
        "artifacts": jobs.SHARD_ARTIFACTS,
    }
    told[f"{prefix} report"] = {
        "stage": "report",
        **with_kit,
        "when": "always",
        "variables": {"PY_PORTABLE_DIST": "dist"},
        "script": [jobs.REPORT],
        "artifacts": jobs.REPORT_ARTIFACTS,
    }
    return yaml.dump(
        told, Dumper=_Plain, default_style='"', sort_keys=False, allow_unicode=False, width=1 << 20
    )


@dataclass(frozen=True)
class BuildJob:
    """A job that builds in a baseline's image. `name`: the baseline's name in the config. `image`: the name by which a
    runner pulls it.
    """

    name: str
    image: str


def _build(prefix: str, build: BuildJob) -> dict[str, Any]:
    if not _IMAGE.fullmatch(build.image):
        raise ConfigError(
            f"{build.image}, of the baseline {build.name}, is not an image in which a runner can start a job",
            hint="name it as in a registry, or build with an engine: --build-engine docker",
        )
    handed = f"{jobs.HANDED}/{handed_name(build.name)}/"
    return {
        "stage": "build",
        "image": {"name": build.image, "entrypoint": [""]},
        "needs": [_parent(prefix, "plan")],
        "variables": {"PY_PORTABLE_BASELINE": build.name, "PY_PORTABLE_DIST": "dist"},
        "cache": [
            {
                "key": f"{prefix}-{handed_name(build.name)}-${jobs.SCOPE}",
                "paths": [f"{jobs.CACHE}/"],
                "when": "always",
            }
        ],
        "script": [jobs.BUILD_INSIDE],
        "artifacts": {"when": "always", "paths": [handed, "dist/evidence/", "dist/logs/"]},
    }


class _Plain(yaml.SafeDumper):
    """A dumper that writes no anchors for repeated values, because not every reader of a pipeline understands them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _parent(prefix: str, job: str) -> dict[str, str]:
    return {"pipeline": f"${jobs.PARENT}", "job": f"{prefix} {job}"}


def _cache(prefix: str, job: str) -> dict[str, Any]:
    """The cache of the parent's job of that name. Jobs here only read it, because they would overwrite each other's."""
    return {"key": f"{prefix}-{job}-${jobs.SCOPE}", "paths": [f"{jobs.CACHE}/"], "policy": "pull"}


def _one_image(shard: Shard) -> str:
    (image,) = shard.images
    if not _IMAGE.fullmatch(image):
        raise ConfigError(
            f"{image} is not an image in which a runner can start a job",
            hint="name it as in a registry, or use an engine that can start it: --engine docker",
        )
    return image
