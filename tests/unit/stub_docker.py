"""A program named docker without a daemon: it starts what it is asked to on this machine, and notes what it heard.

It starts often: what takes long to import is imported where it is needed. Next to it are `heard` (one JSON list of words a line), `images` and
`containers`; a file `says-COMMAND` (JSON: status, stdout, stderr) replaces what COMMAND does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

INFO = {
    "ServerVersion": "24.0.7",
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "MemoryLimit": True,
    "PidsLimit": True,
}
VALUED = {
    "--name", "--label", "--pull", "--log-driver", "--user", "--workdir", "--network", "--hostname", "--cap-drop",
    "--cap-add", "--security-opt", "--shm-size", "--tmpfs", "--mount", "--env", "--entrypoint", "--volume",
    "--memory", "--memory-swap", "--pids-limit",
}  # fmt: skip


class Stub:
    """What the tests ask it about."""

    def __init__(self, folder: Path, name: str = "docker") -> None:
        self.folder = folder
        for part in ("images", "containers"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "heard").touch()
        self.says("info", stdout=json.dumps(INFO))
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -ISs {Path(__file__)} {folder} "$@"\n')
        program.chmod(0o755)

    def says(self, command: str, status: int = 0, stdout: str = "", stderr: str = "") -> None:
        told = {"status": status, "stdout": stdout, "stderr": stderr}
        (self.folder / f"says-{command}").write_text(json.dumps(told))

    @property
    def heard(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "heard").read_text().splitlines()]

    def commands(self, name: str) -> list[list[str]]:
        return [words for words in self.heard if words[0] == name]

    def blind(self) -> None:
        """From now on it sees none of the caller's files, like a daemon on another machine."""
        (self.folder / "blind").touch()


def parsed(words: list[str]) -> tuple[dict[str, list[str]], str, list[str]]:
    """The options, the image and what follows it; an option that is not known is an error."""
    options: dict[str, list[str]] = {}
    at = 0
    while words[at].startswith("-"):
        if words[at] in VALUED:
            options.setdefault(words[at], []).append(words[at + 1])
            at += 2
        else:
            assert words[at] in ("--rm", "--interactive", "--read-only"), words[at]
            options.setdefault(words[at], []).append("")
            at += 1
    return options, words[at], words[at + 1 :]


def fields(value: str) -> dict[str, str]:
    """A value of --mount, read as the CSV that it is."""
    import csv

    (row,) = csv.reader([value], strict=True)
    pairs = [field.partition("=") for field in row]
    return {name: text for name, _, text in pairs}


def _status(code: int) -> int:
    return 128 - code if code < 0 else code


def _job(folder: Path, words: list[str], root: Path | None) -> int:
    import subprocess

    options, _, arguments = parsed(words)
    (entrypoint,) = options["--entrypoint"]
    mounts = {}
    for value in options.get("--mount", []):
        mount = fields(value)
        if (folder / "blind").exists() or not Path(mount["source"]).exists():
            sys.stderr.write("docker: Error response from daemon: bind source path does not exist\n")
            return 125
        mounts[mount["target"]] = Path(mount["source"])
    mounts |= {} if root is None else {"": root}
    for target, source in mounts.items():
        # What is named by a path that is only there inside.
        places = [Path(word.replace(target, str(source), 1)) for word in arguments]
        arguments = [
            str(place) if target and word.startswith(target + "/") and place.exists() else word
            for word, place in zip(arguments, places, strict=True)
        ]
    for target, source in mounts.items():
        program = source / entrypoint.removeprefix(target).lstrip("/")
        if entrypoint.startswith(target + "/") and program.exists():
            return _status(subprocess.run([program, *arguments], env={"IMAGE": "1"}, check=False).returncode)
    return 127


def _create(folder: Path, words: list[str]) -> int:
    import shutil

    options, image, _ = parsed(words)
    made = folder / "containers" / options["--name"][0]
    made.mkdir()
    filled = folder / "images" / image.replace("/", "_")
    shutil.copytree(filled, made / "root") if filled.is_dir() else (made / "root").mkdir()
    (made / "words").write_text(json.dumps(words))
    return 0


def _copy(folder: Path, source: str, target: str) -> int:
    import shutil
    import tarfile

    if source == "-":
        name = target.partition(":")[0]
        made = folder / "containers" / name
        if "--read-only" in json.loads((made / "words").read_text()):
            sys.stderr.write("Error response from daemon: container rootfs is marked read-only\n")
            return 1
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            archive.extractall(made / "root")
        return 0
    name, _, path = source.partition(":")
    shutil.copytree(folder / "containers" / name / "root" / path.lstrip("/"), target, dirs_exist_ok=True)
    return 0


def main(folder: Path, words: list[str]) -> int:
    with (folder / "heard").open("a") as stream:
        stream.write(json.dumps(words) + "\n")
    command, *rest = words
    told = folder / f"says-{command}"
    if told.exists():
        says = json.loads(told.read_text())
        sys.stdout.write(says["stdout"])
        sys.stderr.write(says["stderr"])
        return int(says["status"])
    images, containers = folder / "images", folder / "containers"
    if command == "image":
        return 0 if rest[0] == "rm" or (images / rest[-1].replace("/", "_")).exists() else 1
    if command == "import":
        (images / rest[-1].replace("/", "_")).touch()
        (folder / "imported.tar").write_bytes(Path(rest[-2]).read_bytes())
        return 0
    if command == "run":
        return _job(folder, rest, None)
    if command == "create":
        return _create(folder, rest)
    if command == "cp":
        return _copy(folder, *rest)
    if command == "start":
        made = containers / rest[-1]
        return _job(folder, json.loads((made / "words").read_text()), made / "root")
    if command == "commit":
        import shutil

        shutil.copytree(containers / rest[0] / "root", images / rest[1].replace("/", "_"))
        return 0
    return 0 if command in ("rm", "rename", "ps") else 64


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
