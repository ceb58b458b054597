"""The shards of a run as data that travels: written by `plan`, read by each shard's job and by `merge`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from py_portable.base import printable
from py_portable.errors import ConfigError
from py_portable.plan import verdicts
from py_portable.plan.cell import PlannedCell
from py_portable.plan.partition import NAME, Shard, image_shard

if TYPE_CHECKING:
    from py_portable.config import Config
    from py_portable.lock.lockfile import Lock

FILE = "plan.json"
"""The name of the plan file in dist/."""
_AGAIN = "make it again: py-portable plan --github (or --gitlab), and use this one file in every job"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIGITS = re.compile(r"[0-9a-f]{64}")
_RUN = re.compile(r"[0-9a-f]{0,64}")
_GLIBC = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}")
_HELPERS = re.compile(r"native-[A-Za-z0-9_]{1,40}-[0-9a-f]{64}")
_TEXTS = ("artifact", "format", "image", "condition", "expect")


@dataclass(frozen=True)
class Sharding:
    """`config` and `lock` are digests (64 hex digits) of what the shards were made of. `run`: hex digits made up for
    this plan alone, so that nothing of an earlier run passes for this one's; empty in a plan of an older kit.
    `helpers`: of the folders with static helpers that may be taken from dist/ (`native.key()` -> `sha256:…`)."""

    config: str
    lock: str
    shards: tuple[Shard, ...]
    run: str = ""
    helpers: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """`sha256:…` over everything in it: two plans with the same digest are the same plan."""
        text = json.dumps(self._told(), sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def _told(self) -> dict[str, Any]:
        told = {
            "config": self.config,
            "lock": self.lock,
            "shards": [{"name": s.name, "cells": [cell.told() for cell in s.cells]} for s in self.shards],
        }
        # A plan of an older kit has neither, and its digest has to come out as it was.
        own = {"run": self.run, "helpers": dict(self.helpers)}
        return told | {name: value for name, value in own.items() if value}

    def told(self) -> dict[str, Any]:
        """The plan as evidence holds it under the key `plan`."""
        return {"digest": self.digest, **self._told()}

    def shard(self, name: str) -> Shard:
        """The shard with that name or, if each image has its own shard, the shard of the image with that name.

        Raises ConfigError if there is neither.
        """
        for shard in self.shards:
            if shard.name in (name, image_shard(name)):
                return shard
        known = [shard.name for shard in self.shards]
        shown = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
        raise ConfigError(
            f"no shard is named {name!r}", where="--shard", hint=f"there are: {shown or 'none'}"
        )

    def fits(self, config: Config, lock: str | None) -> None:
        """Raises ConfigError where it was made of another config, or another lock than the one with this digest;
        None where nothing was made with any."""
        for what, mine, theirs in (
            (config.path.name, self.config, config.sha256),
            ("lock", self.lock, lock),
        ):
            if theirs is not None and mine != theirs:
                raise ConfigError(
                    f"the plan was made with another {what}: {mine[:12]}…, but here it is {theirs[:12]}…",
                    hint=_AGAIN,
                )


def lock_sha256(lock: Lock) -> str:
    """Of what decides which artifacts are built. Identities of images are left out: a run learns them, and
    merging compares those that its cells were started on."""
    told = {"pins": dict(lock.pins), "houses": {name: asdict(house) for name, house in lock.houses.items()}}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def parse(told: Any, where: str) -> Sharding:
    """Reads what `told` wrote. Anybody may have written it, so nothing is trusted. Raises ConfigError."""
    try:
        sharding = _sharding(told)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        why = f"it has no {problem}" if isinstance(problem, KeyError) else str(problem)
        raise ConfigError(
            f"its plan cannot be used: {printable.short(printable.line(why), 300)}", where=where, hint=_AGAIN
        )
    names = [shard.name for shard in sharding.shards]
    cells = [json.dumps(cell.id.told()) for shard in sharding.shards for cell in shard.cells]
    for what, found in (("shard", names), ("cell", cells)):
        seen: set[str] = set()
        for one in found:
            if one in seen:
                raise ConfigError(f"its plan has the {what} {one} twice", where=where, hint=_AGAIN)
            seen.add(one)
    if told.get("digest") != sharding.digest:
        raise ConfigError("its plan does not match its digest", where=where, hint=_AGAIN)
    return sharding


def _sharding(told: Mapping[str, Any]) -> Sharding:
    if not isinstance(told, dict) or not isinstance(told["shards"], list):
        raise ValueError("it has no list of shards")
    helpers = told.get("helpers", {})
    if not isinstance(helpers, dict):
        raise ValueError("helpers is not an object")
    for name, digest in helpers.items():
        _text(_HELPERS, name, "helpers")
        _text(_DIGEST, digest, f"helpers.{name}")
    return Sharding(
        _text(_DIGITS, told["config"], "config"),
        _text(_DIGITS, told["lock"], "lock"),
        tuple(_shard(one, f"shards[{number}]") for number, one in enumerate(told["shards"])),
        _text(_RUN, told.get("run", ""), "run"),
        helpers,
    )


def _shard(told: Mapping[str, Any], key: str) -> Shard:
    if not isinstance(told, dict) or not isinstance(told.get("cells"), list):
        raise ValueError(f"{key} has no list of cells")
    cells = tuple(_cell(one, f"{key}.cells[{number}]") for number, one in enumerate(told["cells"]))
    return Shard(_text(NAME, told["name"], f"{key}.name"), cells)


def _cell(told: Mapping[str, Any], key: str) -> PlannedCell:
    if not isinstance(told, dict):
        raise ValueError(f"{key} is not a cell")
    texts = [told[name] for name in _TEXTS]
    argv, glibc, optional = told["argv"], told["image_glibc"], told["optional"]
    smoke, exit_ = told.get("smoke"), told.get("exit")
    artifact, format_, image, condition, expect = texts
    for name, good in (
        *((name, isinstance(text, str)) for name, text in zip(_TEXTS, texts, strict=True)),
        ("expect", expect in verdicts.EXPECTATIONS),
        ("argv", isinstance(argv, list) and all(isinstance(word, str) for word in argv)),
        ("image_glibc", glibc is None or (isinstance(glibc, str) and _GLIBC.fullmatch(glibc))),
        ("optional", isinstance(optional, bool)),
        ("smoke", smoke is None or (isinstance(smoke, str) and _DIGEST.fullmatch(smoke))),
        ("exit", exit_ is None or (type(exit_) is int and 0 <= exit_ <= 255)),
    ):
        if not good:
            raise ValueError(f"{key}.{name} cannot be {told.get(name)!r}")
    return PlannedCell(
        artifact, format_, image, condition, tuple(argv), expect, optional, glibc, smoke, exit_
    )


def _text(pattern: re.Pattern[str], told: Any, key: str) -> str:
    if not isinstance(told, str) or not pattern.fullmatch(told):
        raise ValueError(f"{key} cannot be {told!r}")
    return told
