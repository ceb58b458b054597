"""GitHub's side, played by act in its self-hosted mode with strict stand-ins for the actions of others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.stock.machine import Machine

HERE = Path(__file__).parents[2]
STAND_INS = HERE / "tests" / "ci" / "actions"
APP = HERE / "tests" / "ci" / "app"
ACT = HERE / ".venv" / "bin" / "act"
KIT = "org/py-portable"
_USES = re.compile(r"uses:\s*([\w-]+/[\w-]+)[\w/.-]*@([\w.-]+)")


def used() -> set[tuple[str, str]]:
    """Repository and ref of every action that the kit's own files name."""
    files = [HERE / "action.yml", *(HERE / ".github/workflows").glob("*.yml")]
    files += (HERE / "ci-templates/github").glob("*.yml")
    return {pair for file in files for pair in _USES.findall(file.read_text())}


def copy_of_the_kit(to: Path) -> Path:
    """What a checkout of it holds."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HERE,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (HERE / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(HERE / name, to / name)
    _commit(to)
    return to


def _commit(folder: Path) -> None:
    me = (
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@localhost",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "safe.directory=*",
    )
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *me, *words], cwd=folder, check=True)


@dataclass(frozen=True)
class Ran:
    status: int
    log: str
    artifacts: Path

    @property
    def summary(self) -> str:
        """What the steps wrote into their summaries."""
        return "\n".join(re.findall(r"Summary - (.*?)(?=^\[)", self.log, re.MULTILINE | re.DOTALL))

    def evidence(self, to: Path, prefix: str = "py-portable") -> dict[str, Any]:
        """Of the last job."""
        with tarfile.open(self.artifacts / f"{prefix}-dist" / "dist.tar") as tar:
            tar.extractall(to, filter="data")
        told: dict[str, Any] = json.loads((to / "dist" / "evidence.json").read_text())
        return told


@dataclass
class Server:
    """One repository `own/app`, whose runs share a cache. `kit`: a folder with the kit's checkout."""

    work: Path
    kit: Path
    env: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str | Path, ...] = ()
    """Words before the command, such as those that become another user."""
    owner: int | None = None
    """Who the server's files belong to, where it is not the caller."""
    act: Path = ACT
    stand_ins: Path = STAND_INS
    home_files: dict[str, str] = field(default_factory=dict)
    machine: Machine | None = None
    """Where it all happens, if it is not this one: `work`, `kit`, `act` and `stand_ins` are then paths of its files as
    they are seen from here."""
    runs: int = 0

    def __post_init__(self) -> None:
        self.repositories = self.work / "repositories"
        shutil.copytree(APP, self.repositories / "own" / "app")
        (self.repositories / "org").mkdir()
        (self.repositories / KIT).symlink_to(self.at(self.kit))
        self.cache = self.work / "cache"
        if (self.kit.parent / "packages").exists():
            shutil.copytree(self.kit.parent / "packages", self.cache)

    def at(self, path: Path) -> str:
        """The path as the machine has it on which act runs."""
        return self.machine.at(path) if self.machine else str(path)

    @property
    def app(self) -> Path:
        return self.repositories / "own" / "app"

    def keep_packages(self) -> None:
        """What the kit is set up from, for servers with the same kit that come later."""
        for one in self.cache.glob("py-portable-kit-*"):
            shutil.copytree(one, self.kit.parent / "packages" / one.name)

    def workflow(self, text: str, *, event: str = "push", payload: object = None) -> Ran:
        """Run it as the only workflow of the repository."""
        self.runs += 1
        folder = self.app / ".github" / "workflows"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "main.yml").write_text(text)
        if not (self.app / ".git").exists():
            _commit(self.app)
            subprocess.run(
                ["git", "-c", "safe.directory=*", "remote", "add", "origin", "https://github.com/own/app"],
                cwd=self.app,
                check=True,
            )
        place = self.work / f"run-{self.runs}"
        for name in ("home", "stores"):
            (place / name).mkdir(parents=True)
        for name, contents in self.home_files.items():
            (place / "home" / name).write_text(contents)
        (place / "event.json").write_text(json.dumps(payload or {"repository": {"full_name": "own/app"}}))
        own = {
            "PY_PORTABLE_TEST_REPOSITORIES": self.at(self.repositories),
            "PY_PORTABLE_TEST_ARTIFACTS": self.at(place / "artifacts"),
            "PY_PORTABLE_TEST_CACHE": self.at(self.cache),
            "PY_PORTABLE_TEST_STORES": self.at(place / "stores"),
            **({} if self.machine else {"PY_PORTABLE_ENGINE": "native"}),
            "GITHUB_RUN_ID": str(1000 + self.runs),
            **self.env,
        }
        argv: list[str | Path] = [
            *self.prefix,
            *(
                self.at(self.act),
                event,
                "--workflows",
                self.at(folder / "main.yml"),
                "--directory",
                self.at(self.app),
            ),
        ]
        argv += ["--eventpath", self.at(place / "event.json"), "--no-skip-checkout", "--no-cache-server"]
        argv += ["--action-cache-path", self.at(place / "actions"), "--use-new-action-cache", "--rm"]
        argv += ["--platform", "ubuntu-24.04=-self-hosted"]
        for name, value in own.items():
            argv += ["--env", f"{name}={value}"]
        for repository, ref in sorted(used()):
            stand_in = self.kit if repository == KIT else self.stand_ins / repository.partition("/")[2]
            if stand_in.is_dir():
                argv += ["--local-repository", f"{repository}@{ref}={self.at(stand_in)}"]
        if self.owner is not None:
            subprocess.run(["chown", "-R", str(self.owner), self.work], check=True)
        if self.machine:
            ran = self._there(self.machine, argv, place)
            (place / "log").write_text(ran.log)
            return ran
        done = subprocess.run(
            argv,
            cwd=self.work,
            env={
                **{name: value for name, value in os.environ.items() if name != "PY_PORTABLE_STORE"},
                "HOME": str(place / "home"),
                "XDG_CACHE_HOME": str(place / "home/.cache"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        (place / "log").write_text(done.stdout)
        return Ran(done.returncode, done.stdout, place / "artifacts")

    def _there(self, machine: Machine, argv: Sequence[str | Path], place: Path) -> Ran:
        machine.check(["chown", "-R", f"{machine.kind.user}:", self.at(self.work)], user="root", cwd="/")
        home = self.at(place / "home")
        ended = machine.run(
            argv, env={"HOME": home, "XDG_CACHE_HOME": f"{home}/.cache"}, cwd=self.at(self.work), timeout=900
        )
        return Ran(ended.status, ended.stdout + ended.stderr, place / "artifacts")


def example(name: str) -> str:
    text = (HERE / "ci-templates" / "github" / name).read_text()
    assert yaml.safe_load(text)
    return text


def sharded(text: str, job: str = "portable") -> str:
    """act does not tell where a workflow came from: that job, which calls it, says so instead."""
    told = yaml.safe_load(text)
    told["jobs"][job].setdefault("with", {}).update({"kit-repository": KIT, "kit-ref": "v1"})
    # YAML 1.1 reads `on` as a truth.
    told["on"] = told.pop(True)
    return yaml.safe_dump(told, sort_keys=False)
