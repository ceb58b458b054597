"""A stock machine from the inside: what is started there, as whom, with which variables; and what is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.stock.kinds import Kind

HERE = Path(__file__).parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of root."""
SECONDS = 600.0


@dataclass(frozen=True)
class Ran:
    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return f"exit status {self.status}\n{self.stdout}{self.stderr}"


@dataclass(frozen=True)
class Record:
    """What was installed between two looks: Debian packages, and folders of Python packages with what is in them."""

    packages: tuple[str, ...]
    python: Mapping[str, tuple[str, ...]]


@dataclass
class Machine:
    kind: Kind
    work: Path
    pid: int
    """Of its first process, seen from outside."""
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Folders of this machine that it has below its root, by their names there."""
    env: dict[str, str] = field(default_factory=dict)
    """What everybody there has set, by the machine's own configuration."""
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Its root file system, seen from outside."""
        return Path(f"/proc/{self.pid}/root")

    def path(self, name: str) -> Path:
        """A path inside, `/home/runner/x`, seen from outside."""
        for volume, place in self.volumes.items():
            if name == f"/{volume}" or name.startswith(f"/{volume}/"):
                return place / name.removeprefix(f"/{volume}").removeprefix("/")
        return self.root / name.removeprefix("/")

    def at(self, path: Path) -> str:
        """A path that is seen from outside as the machine has it."""
        for volume, place in self.volumes.items():
            if path.is_relative_to(place):
                return f"/{volume}/{path.relative_to(place)}".removesuffix("/.")
        return f"/{path.relative_to(self.root)}"

    def words(
        self, argv: Sequence[str | Path], user: str | None, env: Mapping[str, str] | None, cwd: str | None
    ) -> list[str]:
        who = user or self.kind.user
        home = "/root" if who == "root" else f"/home/{who}"
        own = {
            "PATH": PATH if who == "root" else self.kind.path,
            "HOME": home,
            "USER": who,
            "LOGNAME": who,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
        }
        told = {
            "pid": self.pid,
            "user": who,
            "refuses": [one for one in self.kind.refuses if who != "root" or one == "container"],
            "cwd": cwd or home,
            "argv": [str(word) for word in argv],
            "env": {**own, **self.env, **(env or {})},
        }
        return [sys.executable, str(HERE / "enter.py"), json.dumps(told)]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: str | None = None,
        timeout: float = SECONDS,
    ) -> Ran:
        """Start a program of the machine, as the kind's user where none is given. Only `env` and the machine's own
        variables are set."""
        done = subprocess.run(
            self.words(argv, user, env, cwd),
            env={"PATH": os.defpath},
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def check(self, argv: Sequence[str | Path], **how: object) -> str:
        ran = self.run(argv, **how)  # type: ignore[arg-type]
        assert ran.status == 0, f"{argv}: {ran.said}"
        return ran.stdout

    def start(self, name: str, argv: Sequence[str | Path], *, user: str = "root") -> Path:
        """Start something that goes on; the log's path."""
        log = self.work / f"{name}.log"
        with log.open("wb") as sink:
            words = self.words(argv, user, None, "/")
            self.started[name] = subprocess.Popen(
                words, env={"PATH": os.defpath}, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        return log

    def copy(self, source: Path, to: str, *, user: str | None = None) -> None:
        """A file or folder of this machine to the path `to` inside, owned by the user."""
        target = self.path(to)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
        self.check(["chown", "-R", f"{user or self.kind.user}:", to], user="root", cwd="/")

    def which(self, *names: str) -> dict[str, str]:
        """Where the user's PATH leads for those names that it finds."""
        look = 'for name; do command -v "$name" || :; done'
        found = self.check(["sh", "-c", look, "sh", *names], cwd="/").split()
        return {Path(path).name: path for path in found}

    def packages(self) -> set[str]:
        return set(self.check(["dpkg-query", "-W", "-f", "${Package} ${Version}\n"], cwd="/").splitlines())

    def python_packages(self) -> dict[str, tuple[str, ...]]:
        """Of every virtual environment on it."""
        told = {}
        for name in ("home", "root", "tmp", "opt", "usr/local"):
            for config in self.path(f"/{name}").rglob("pyvenv.cfg"):
                found = config.parent.glob("lib/python3*/site-packages/*.dist-info")
                place = self.at(config.parent)
                told[place] = tuple(sorted(path.name.removesuffix(".dist-info") for path in found))
        return told
