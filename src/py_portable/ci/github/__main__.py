"""`python -m py_portable.ci.github VERB`: the steps of the action and of the workflow; scripts/ci-github starts it."""

from __future__ import annotations

import os
import platform
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from py_portable.ci import travel
from py_portable.ci.github import action, caching, calls, console, handing, setup
from py_portable.ci.github.folders import place
from py_portable.ci.github.inputs import read
from py_portable.ci.github.runner_files import RunnerFiles, code
from py_portable.engines import ids
from py_portable.errors import ConfigError, PortableError
from py_portable.lock.lockfile import load as load_lock
from py_portable.store import Store
from py_portable.store.disk import keep_from_everybody
from py_portable.store.layout import default_root


def set_up(environ: Mapping[str, str]) -> int:
    """Look at the inputs before anything costs time; name the cache's keys; then look at the machine."""
    inputs = read(environ)
    # How the roots in a store record owners depends on the user: with real ids, or with the owners in a file beside.
    owner = {"real": "root", "range": "user"}.get(ids.detect().kind, "one-id")
    keys = caching.keys(
        environ, inputs.artifact_prefix, action.job_name(inputs), f"{platform.machine()}-{owner}"
    )
    costs = caching.keys(environ, inputs.artifact_prefix, inputs.config, "costs")
    RunnerFiles(environ).outputs(
        {
            "cache": str(inputs.cache).lower(),
            "cache-path": str(place(environ, "cache")),
            "cache-key": keys.key,
            "cache-restore": "\n".join(keys.restore),
            "costs-path": str(place(environ, "costs")),
            "costs-key": costs.key,
            "costs-restore": "\n".join(costs.restore),
            "artifact": f"{inputs.artifact_prefix}-{inputs.build or inputs.shard or 'dist'}",
            "prefix": inputs.artifact_prefix,
            "handed": str(place(environ, "handed")),
            "packed": str(place(environ, "packed")),
        }
    )
    return setup.make_ready(inputs, environ)


def store_in(environ: Mapping[str, str]) -> int:
    """Take the store from the cache; without it everything is made again, so a fault is only reported."""
    folder, store = place(environ, "cache"), default_root(environ)
    matched = environ.get("PY_PORTABLE_CACHE_MATCHED", "")
    try:
        taken = travel.unpack_store(folder, store)
    except PortableError as problem:
        taken = False
        console.annotate("warning", f"the cache could not be used: {problem.what}")
    (folder / travel.STORE).unlink(missing_ok=True)
    told = f"hit, {matched}" if taken else "this runner keeps its own store" if store.exists() else "miss"
    console.say(f"cache: {told}")
    RunnerFiles(environ).summary(f"Cache: {code(told)}")
    return 0


def store_out(environ: Mapping[str, str]) -> int:
    try:
        archive = travel.pack_store(default_root(environ), place(environ, "cache"))
    except PortableError as problem:
        console.annotate("warning", f"the store is not cached: {problem.what}")
        archive = None
    RunnerFiles(environ).outputs({"packed": "true" if archive else "false"})
    return 0


def pack(environ: Mapping[str, str]) -> int:
    """Pack dist/ for the next job. A job that only starts cells passes on its records, and the plan's job also the
    images."""
    inputs = read(environ)
    here, to = Path.cwd(), place(environ, "packed")
    found = calls.projects(inputs, here)
    archive = travel.pack_dist(found, here, to, small=inputs.only_looks)
    images = 0
    if "plan" in inputs.commands:
        for project in found:
            lock = load_lock((here / project.config).with_suffix(".lock"))
            images += handing.pack(default_root(environ), lock.images, to)
    console.say(f"packed: {archive.stat().st_size / 1e6:.1f} MB{_images(images)}")
    return 0


def unpack(environ: Mapping[str, str]) -> int:
    inputs = read(environ)
    here, folder = Path.cwd(), place(environ, "handed")
    archives = sorted(folder.rglob(travel.DIST))
    found = calls.projects(inputs, here)
    count = travel.unpack_dist(archives, here, found)
    if not count:
        raise ConfigError("no earlier job left any files", hint="look at the logs of the earlier jobs")
    nodes = action.images(inputs, here)
    wanted: dict[str, set[str]] = {}
    for project in found:
        for node, identity in load_lock((here / project.config).with_suffix(".lock")).images.items():
            if nodes is None or node in nodes:
                wanted.setdefault(node, set()).add(identity)
    taken = handing.unpack(folder, Store(default_root(environ)), wanted)
    console.say(f"unpacked: {count}{_images(taken)}")
    return 0


def _images(count: int) -> str:
    return f", {count} images" if count else ""


VERBS: Mapping[str, Callable[[Mapping[str, str]], int]] = {
    "set-up": set_up,
    "store-in": store_in,
    "run": action.run,
    "store-out": store_out,
    "pack": pack,
    "unpack": unpack,
}


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """The exit status; an error is reported in the log, as an annotation and in the summary."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep_from_everybody()
    verb = VERBS.get(argv[0]) if len(argv) == 1 else None
    if verb is None:
        console.say(f"Error: usage: python -m py_portable.ci.github {'|'.join(VERBS)}")
        return ConfigError.exit_code
    try:
        return verb(environ)
    except PortableError as problem:
        lines = problem.render().split("\n")
        for line in lines:
            console.say(line)
        if verb is pack and isinstance(problem, ConfigError):
            # The step that ran has reported it already.
            return problem.exit_code
        console.annotate("error", lines[0].removeprefix("Error: "))
        files = RunnerFiles(environ)
        files.summary("\n".join(["**py-portable could not begin**", "", *map(_shown, lines)]))
        if verb is action.run:
            files.outputs({"verdict": "FAIL"})
        return problem.exit_code
    except KeyboardInterrupt:
        return 130


def _shown(line: str) -> str:
    return f"- {code(line)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
