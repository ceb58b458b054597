"""`plan --github`, `plan --gitlab`: writes the shards of a run into dist/, and prints its jobs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from py_portable.ci.github import job_matrix
from py_portable.ci.gitlab import pipeline
from py_portable.commands.portability import lost_controls
from py_portable.evidence import merge
from py_portable.evidence.reading import read as read_evidence
from py_portable.evidence.typed import SCHEMA, Evidence, now
from py_portable.images.matching import job_image
from py_portable.lock.lockfile import Lock
from py_portable.plan import baselines, costing, partition
from py_portable.plan.assemble import Plan
from py_portable.plan.shards import FILE, Sharding, lock_sha256, parse
from py_portable.project import handover
from py_portable.project.as_made import lock_sha256 as made_with
from py_portable.project.session import Session


@dataclass(frozen=True)
class Jobs:
    """What is asked for. `shards`: how many, None for as many as are worth it. `inside`: each job runs in the
    image that it proves, so it has that one only. `job_image`: what the jobs run in that prove nothing, and all where
    none is `inside`."""

    service: Literal["github", "gitlab"]
    shards: int | None = None
    inside: bool = False
    prefix: str = "py-portable"
    job_image: str | None = None
    builds: bool = False
    """Whether jobs of the same pipeline build artifacts, each in the image of a baseline."""


def write(session: Session, lock: Lock, plan: Plan, jobs: Jobs, costs: Path | None) -> str:
    """Write DIST/plan.json; returns the text for the service.

    `costs`: earlier evidence, DIST/evidence.json where it is None and that is there.
    Raises ConfigError.
    """
    earlier = costs or session.dist / "evidence.json"
    told = read_evidence(earlier) if costs or earlier.exists() else None
    cells = plan.cells
    known = costing.costs(cells, told)
    if jobs.service == "gitlab" and jobs.inside:
        shards = partition.by_image(cells, limit=pipeline.IMAGE_SHARDS)
    else:
        limit = pipeline.SHARDS if jobs.service == "gitlab" else job_matrix.SHARDS
        shards = partition.partition(cells, known, limit=limit, wanted=jobs.shards)
    if jobs.service == "gitlab":
        text = pipeline.pipeline(
            shards,
            prefix=jobs.prefix,
            inside=jobs.inside,
            job_image=jobs.job_image,
            builds=_builds(session, lock, plan) if jobs.builds else (),
        )
    else:
        text = job_matrix.matrix(shards, known)
    made = Sharding(
        session.config.sha256,
        lock_sha256(lock),
        shards,
        secrets.token_hex(16),
        handover.pin_helpers(session),
    )
    part: Evidence = {
        "schema": SCHEMA,
        "command": "plan",
        "when": now(),
        **session.told(),
        "failures": lost_controls(plan),
        "plan": made.told(),
    }
    merge.write(session.dist / FILE, part)
    session.talk.say(f"cells: {len(cells)}, shards: {len(shards)}, the plan: {session.dist / FILE}")
    return text


def _builds(session: Session, lock: Lock, plan: Plan) -> tuple[pipeline.BuildJob, ...]:
    """The image by its digest, if the lock has it."""
    return tuple(
        pipeline.BuildJob(job.name, job_image(job.image, lock.origins.get(job.image)))
        for job in baselines.jobs(session.config, plan.artifacts)
    )


def read(session: Session, path: Path | None, *, as_made: bool = False) -> Sharding:
    """The plan in `path`, DIST/plan.json where it is None. Raises ConfigError, also where it is of another config
    or another lock: the session's own, or with `as_made` the one that the artifacts were made with."""
    path = path or session.dist / FILE
    told = read_evidence(path).get("plan")
    plan = parse(told, str(path))
    plan.fits(session.config, made_with(session) if as_made else lock_sha256(session.lock()))
    return plan
