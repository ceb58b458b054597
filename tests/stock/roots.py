"""The root file systems of the kinds: layers over the kit's own image of Debian, made once and kept in the store."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from py_portable.images.find import resolve
from py_portable.store import Store, default_root
from tests.stock.booting import booted
from tests.stock.inside import Machine
from tests.stock.kinds import Kind, base, kinds

DEBIAN = "debian:13"
FORM = 1
"""Of the layers: raise it where `_fill` makes something else of the same packages."""


def lowers(kind: Kind) -> tuple[Path, ...]:
    """The layers of this kind, the uppermost first, as an overlay takes them."""
    store = Store(default_root(os.environ))
    image = resolve(DEBIAN, store=store)
    folder = store.cache("stock-machines")
    folder.mkdir(parents=True, exist_ok=True)
    common = _layer(folder, [image.identity, base()], (image.root,), None)
    told = [kind.name, kind.packages, kind.user, kind.sudo, kind.groups]
    return (_layer(folder, [common.parent.name, told], (common, image.root), kind), common, image.root)


def _layer(folder: Path, told: object, below: Sequence[Path], kind: Kind | None) -> Path:
    text = json.dumps([FORM, told], default=list)
    place = folder / f"{kind.name if kind else 'base'}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    with (folder / f"{place.name}.lock").open("w") as lock:
        # One worker makes it, the other waits.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            fresh = folder / f"{place.name}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            (fresh / "root").mkdir(parents=True)
            _fill(below, fresh / "root", kind)
            fresh.rename(place)
    return place / "root"


def _fill(below: Sequence[Path], into: Path, kind: Kind | None) -> None:
    """Install a kind's packages (None: the base's) over the lower folders by apt in there, and make its user."""
    with booted(below, "filling", kind or kinds()["laptop-bare"], upper=into) as machine:
        apart = {"DEBIAN_FRONTEND": "noninteractive"}
        wanted = kind.packages if kind else base()
        # No daemon is to be started by what installs it.
        machine.path("/usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        machine.path("/usr/sbin/policy-rc.d").chmod(0o755)
        if kind is None:
            machine.check(["apt-get", "--quiet", "update"], user="root", env=apart)
        words = ["apt-get", "--quiet", "--yes", "--no-install-recommends", "install", *wanted]
        if wanted:
            machine.check(words, user="root", env=apart)
        if kind and kind.user != "root":
            _add_user(machine, kind)
        if kind:
            machine.check(["sh", "-c", "rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb"], user="root")
        machine.path("/usr/sbin/policy-rc.d").unlink()


def _add_user(machine: Machine, kind: Kind) -> None:
    machine.check(["useradd", "--create-home", "--shell", "/bin/bash", kind.user], user="root")
    for group in kind.groups:
        machine.check(["usermod", "--append", "--groups", group, kind.user], user="root")
    if kind.sudo == "without-password":
        rule = machine.path(f"/etc/sudoers.d/{kind.user}")
        rule.write_text(f"{kind.user} ALL=(ALL) NOPASSWD:ALL\n")
        rule.chmod(0o440)
    elif kind.sudo == "with-password":
        machine.check(["chpasswd"], user="root", stdin=f"{kind.user}:a password\n")
