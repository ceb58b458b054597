"""The shards of a run as data that travels: written by `plan`, read by each shard's job and by `merge`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from py_portable.errors import ConfigError
from py_portable.plan.cell import PlannedCell
from py_portable.plan.shards import NAME, Shard, image_shard

if TYPE_CHECKING:
    from py_portable.config import Config
    from py_portable.lock.model import Lock

FILE = "plan.json"
"""Its name in dist/."""
_AGAIN = "make it anew: py-portable plan --github (or --gitlab), and give every job that one file"
_TEXTS = ("artifact", "format", "image", "condition", "expect")


@dataclass(frozen=True)
class Sharding:
    """`config` and `lock` are digests (64 hex digits) of what the shards were made of."""

    config: str
    lock: str
    shards: tuple[Shard, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` over all of it: two plans are the same one where this is."""
        text = json.dumps(self._told(), sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def _told(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "lock": self.lock,
            "shards": [{"name": s.name, "cells": [cell.told() for cell in s.cells]} for s in self.shards],
        }

    def told(self) -> dict[str, Any]:
        """As evidence holds it under `plan`."""
        return {"digest": self.digest, **self._told()}

    def shard(self, name: str) -> Shard:
        """The shard of that name, or, where each image has a shard, the one of the image of that name.

        Raises ConfigError where there is neither.
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
                    f"the plan was made of another {what}: {mine[:12]}…, here is {theirs[:12]}…", hint=_AGAIN
                )


def lock_sha256(lock: Lock) -> str:
    """Of what decides which artifacts are built. Identities of images are left out: a run learns them, and
    merging compares those that its cells were started on."""
    told = {"pins": dict(lock.pins), "houses": {name: asdict(house) for name, house in lock.houses.items()}}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def parse(told: Any, where: str) -> Sharding:
    """What `told` wrote, looked at as something that anybody may have written. Raises ConfigError."""
    try:
        sharding = Sharding(
            _digits(told["config"]), _digits(told["lock"]), tuple(map(_shard, told["shards"]))
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ConfigError(f"its plan is none: {type(problem).__name__}: {problem}", where=where, hint=_AGAIN)
    names = [shard.name for shard in sharding.shards]
    cells = [cell.key for shard in sharding.shards for cell in shard.cells]
    for what, found in (("shard", names), ("cell", cells)):
        if len(found) != len(set(found)):
            twice = next(one for one in found if found.count(one) > 1)
            raise ConfigError(f"its plan has the {what} {twice} twice", where=where, hint=_AGAIN)
    if told.get("digest") != sharding.digest:
        raise ConfigError("its plan is not what its digest says", where=where, hint=_AGAIN)
    return sharding


def _shard(told: Mapping[str, Any]) -> Shard:
    if not isinstance(told["name"], str) or not NAME.fullmatch(told["name"]):
        raise ValueError(f"{told['name']!r} is no name of a shard")
    return Shard(told["name"], tuple(map(_cell, told["cells"])))


def _cell(told: Mapping[str, Any]) -> PlannedCell:
    texts = [told[name] for name in _TEXTS]
    argv, glibc, optional = told["argv"], told["image_glibc"], told["optional"]
    if not all(isinstance(text, str) for text in (*texts, *argv, glibc or "")) or not isinstance(
        optional, bool
    ):
        raise ValueError(f"{dict(told)!r} is no cell")
    artifact, format_, image, condition, expect = texts
    return PlannedCell(artifact, format_, image, condition, tuple(argv), expect, optional, glibc)


def _digits(told: Any) -> str:
    if not isinstance(told, str) or len(told) != 64 or set(told) - set("0123456789abcdef"):
        raise ValueError(f"{told!r} is not a sha256")
    return told
