"""Runs one engine call for test_engines.py, as whoever starts it; prints JSON. Standard library only."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from py_portable.engines import builds, own_ids
from py_portable.engines.engine import Bind, Job
from py_portable.engines.select import ENGINES, select
from py_portable.prove.canary import observe
from py_portable.prove.conditions import CONDITIONS
from py_portable.prove.start import start


def main(order: dict[str, Any]) -> dict[str, Any]:
    helpers = Path(order["helpers"])
    engine = ENGINES[order["engine"]](helpers)
    root = Path(order["root"])
    binds = tuple(Bind(Path(source), target, writable) for source, target, writable in order["binds"])
    if order["do"] == "probe":
        return dataclasses.asdict(select(order["engine"], helpers)[1])
    if order["do"] == "observe":
        lacks = engine.probe().lacks
        found = {}
        for name, condition in CONDITIONS.items():
            seen = observe(engine, root, condition, helpers, lacks=lacks)
            again = observe(engine, root, condition, helpers, lacks=lacks)
            found[name] = {
                "violations": seen.violations,
                "excused": condition.violations(seen.raw),
                "stable": seen.digest == again.digest,
                "digest": seen.digest,
                "raw": dict(seen.raw),
            }
        return found
    if order["do"] == "build":
        if order.get("refuse"):
            own_ids.refuse(order["engine"], helpers, order["refuse"])
        job = Job(
            profile="build",
            root=root,
            argv=tuple(order["argv"]),
            env=order["env"],
            binds=binds,
            network=order["network"],
        )
        outcome = engine.run(job, timeout=order["timeout"], log=Path(order["log"]) if order["log"] else None)
        return {
            "status": outcome.status,
            "timed_out": outcome.timed_out,
            "seconds": outcome.seconds,
            "stdout": outcome.stdout.text,
            "stderr": outcome.stderr.text,
            "builds": builds.told(),
        }
    started = start(engine, root, CONDITIONS[order["condition"]], order["argv"], binds, helpers, order["timeout"])
    return {
        "record": dataclasses.asdict(started.record) if started.record else None,
        "trouble": started.trouble,
        "stdout": started.stdout.text[:100_000],
        "captured": len(started.stdout.data),
        "total": started.stdout.total,
        "stderr": started.stderr.text[:100_000],
        "timed_out": started.timed_out,
        "seconds": started.seconds,
        "reproduce": started.reproduce,
        "limits": started.limits,
        "out_of_memory": started.out_of_memory,
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
