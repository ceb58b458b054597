"""Runs one engine call for test_engines.py, as whoever starts it; prints JSON. Standard library only."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from py_portable.engines import builds, ids, own_ids
from py_portable.engines.engine import Bind, Job
from py_portable.engines.select import ENGINES, select
from py_portable.prove.accounts import Accounts
from py_portable.prove.canary import observe
from py_portable.prove.conditions import CONDITIONS
from py_portable.prove.start import Started, start
from py_portable.store import Store
from py_portable.store.ranged import remove_tree


def main(order: dict[str, Any]) -> dict[str, Any]:
    helpers = Path(order["helpers"])
    engine = ENGINES[order["engine"]](helpers)
    root = Path(order["root"])
    binds = tuple(Bind(Path(source), target, writable) for source, target, writable in order["binds"])
    # Kept for as long as the tests run: a line that repeats a start names what is in it.
    accounts = Accounts(
        Store(Path(__file__).parent / "stores" / str(os.geteuid())), engine, helpers, able=order["engine"] != "native"
    )
    if order["do"] == "probe":
        return dataclasses.asdict(select(order["engine"], helpers)[1])
    if order["do"] == "observe":
        lacks = engine.probe().lacks
        accounts = dataclasses.replace(accounts, able="account" not in lacks)
        found = {}
        for name, condition in CONDITIONS.items():
            account = accounts.of(condition, root)
            seen = observe(engine, root, condition, helpers, account=account, lacks=lacks)
            again = observe(engine, root, condition, helpers, account=account, lacks=lacks)
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
    if order["do"] == "install":
        return installed(engine, root, binds, helpers, accounts, order)
    condition, seconds = CONDITIONS[order["condition"]], order["timeout"]
    account = accounts.of(condition, root)
    started = start(engine, root, condition, order["argv"], binds, helpers, seconds, account=account)
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


def installed(
    engine: Any, root: Path, binds: tuple[Bind, ...], helpers: Path, accounts: Accounts, order: dict[str, Any]
) -> dict[str, Any]:
    """One job after the other, each over the layers of those before it, and what cells see over all of them."""
    with ExitStack() as stack:
        place = Path(tempfile.mkdtemp(prefix="py-portable-layers-"))
        stack.callback(remove_tree, place, ids.prefix())
        layers: tuple[Path, ...] = ()
        ended = []
        for number, mode in enumerate(order["modes"]):
            layer = place / str(number)
            layer.mkdir()
            stack.callback(engine.forget, layer)
            job = Job(
                profile="build",
                root=root,
                argv=("/app/mischief", mode),
                binds=binds,
                root_access="throw-away",
                layers=layers,
                layer=layer,
            )
            outcome = engine.run(job, timeout=order["timeout"])
            ended.append([outcome.status, outcome.stderr.text, bool(outcome.record)])
            if outcome.ok:
                layers = (*layers, layer)
        seen = {}
        for name in ("plain", "read-only"):
            account = accounts.of(CONDITIONS[name], root, layers)

            def once(name: str = name, account: tuple[Bind, ...] = account) -> Started:
                condition, seconds = CONDITIONS[name], order["timeout"]
                words = (engine, root, condition, ["/app/mischief", "look"], binds, helpers, seconds)
                return start(*words, account=account, layers=layers)

            started = once()
            seen[name] = started.stdout.text.splitlines() or [started.trouble, started.stderr.text]
            seen[f"{name} again"] = once().stdout.text.splitlines()
        return {
            "ended": ended,
            "seen": seen,
            "before": {name: dataclasses.astuple(node) for name, node in engine.listing(root, ()).items()},
            "after": {name: dataclasses.astuple(node) for name, node in engine.listing(root, layers).items()},
            "reproduce": started.reproduce,
        }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
