"""Shards as a child pipeline of GitLab CI.

The pipeline is whole in itself: `PREFIX plan` carries the plan on, a job a shard proves, `PREFIX report` merges. Every
command in it is fixed text that reads variables; what a config names stands at most under `image:name`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from py_portable.errors import ConfigError
from py_portable.plan.shards import Shard

SHARDS = 200
"""`parallel:matrix` makes at most 200 jobs (gitlab.com issues 438369, 547976). Jobs written one by one may be more,
but shards that fit a matrix fit every way to write them, and leave half of a free plan's active jobs to others."""
IMAGE_SHARDS = 490
"""A job an image: the Free tier of gitlab.com admits 500 jobs in active pipelines (gitlab.com issue 240895), and the
parent pipeline needs some. An instance's own limit is 2,000 jobs a pipeline where none is set (issue 353494)."""
YAML_BYTES = 200_000
"""Servers of before 17.3 stop at 1 MB of memory for the parsed text, which some 200 kB can reach (issues 370116,
382389); an artifact with a child pipeline may have 5 MB (docs: Downstream pipelines)."""
JOB_NAME_CHARS = 255
"""Merge request 73559. A job `needs` at most 50 others, so the report waits for a stage, not for names."""
PREFIX = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,60}[A-Za-z0-9])?")
PARENT = "PY_PORTABLE_PARENT_PIPELINE"
"""The variable with the parent's pipeline id, which the trigger job must pass on (merge request 47210)."""
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_STAGES = ("plan", "portability", "report")
_COMMAND = '"${PY_PORTABLE_COMMAND:-py-portable}"'


def pipeline(shards: Sequence[Shard], *, prefix: str = "py-portable", inside: bool = False) -> str:
    """The YAML. `inside`: every shard has one image, and its job runs in it.

    Raises ConfigError for a prefix that is no part of a job's name, and for an image no runner can start.
    """
    if not PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"{prefix!r} cannot begin the name of a job",
            where="--job-prefix",
            hint="take letters, digits, blanks, '.', '_' and '-'; at most 62 characters",
        )
    told: dict[str, Any] = {
        "workflow": {"rules": [{"when": "always"}]},
        "stages": list(_STAGES),
        f".{prefix} shard": {
            "stage": "portability",
            "needs": [_parent(prefix, "plan"), _parent(prefix, "build")],
            "variables": {
                "PY_PORTABLE_PLAN": "dist/plan.json",
                "PY_PORTABLE_DIST": "dist",
                **({"PY_PORTABLE_ENGINE": "native"} if inside else {}),
            },
            "script": [f"{_COMMAND} portability"],
            "artifacts": {"when": "always", "paths": ["dist/evidence/parts/", "dist/logs/"]},
        },
        f"{prefix} plan": {
            "stage": "plan",
            "needs": [_parent(prefix, "plan"), _parent(prefix, "build")],
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
    told[f"{prefix} report"] = {
        "stage": "report",
        "when": "always",
        "script": [f"{_COMMAND} merge --output dist/merged.json dist/plan.json dist/evidence/parts/*.json"],
        "artifacts": {"when": "always", "paths": ["dist/merged.json"]},
    }
    return yaml.safe_dump(told, default_style='"', sort_keys=False, allow_unicode=False, width=1 << 20)


def _parent(prefix: str, job: str) -> dict[str, str]:
    return {"pipeline": f"${PARENT}", "job": f"{prefix} {job}"}


def _one_image(shard: Shard) -> str:
    (image,) = shard.images
    if not _IMAGE.fullmatch(image):
        raise ConfigError(
            f"{image} is no image that a runner can start a job in",
            hint="name it as a registry does, or take an engine that starts it in a job: --engine docker",
        )
    return image
