"""Shards as a matrix of GitHub Actions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from py_portable.plan.cell import CellId
from py_portable.plan.partition import Shard

SHARDS = 256
"""A matrix generates at most 256 jobs per workflow run, on hosted and self-hosted runners alike
(docs.github.com: Workflow syntax, `jobs.<job_id>.strategy.matrix`)."""
OUTPUT_BYTES = 1_000_000
"""A job's outputs come to at most 1 MB, counted in UTF-16 (docs.github.com: Passing information between jobs)."""


def matrix(shards: Sequence[Shard], costs: Mapping[CellId, int]) -> str:
    """One line of JSON for `strategy.matrix: ${{ fromJSON(…) }}`.

    It contains names of shards and numbers, but nothing that a config names. So the name of an image or artifact never
    gets into a shell, whatever a workflow does. Without a shard `include` is empty, which is an error for GitHub: the
    caller's job needs an `if:`.
    """
    rows = [
        {
            "shard": s.name,
            "cells": len(s.cells),
            "images": len(s.images),
            "seconds": -(-s.cost(costs) // 1000),
        }
        for s in shards
    ]
    return json.dumps({"include": rows}, separators=(",", ":"))
