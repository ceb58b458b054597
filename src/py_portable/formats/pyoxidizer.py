"""PyOxidizer: a Rust program with CPython linked into it, and the app and the standard library beside it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable import command, resources
from py_portable.config import Artifact
from py_portable.elf import is_elf, measure
from py_portable.engines.base import Bind
from py_portable.errors import ConfigError, MachineError
from py_portable.formats import entry
from py_portable.formats.base import APP, House, Made, Start
from py_portable.formats.nuitka import CACHE
from py_portable.steps.context import BuildFailed, Context
from py_portable.steps.graph import Step
from py_portable.wheels import tools

OLDEST_RUST = (1, 81)
"""What the driver and the newest of its crates ask for."""
MAX_CONFIG_BYTES = 1 << 20
_CURE = "rustup toolchain install stable && rustup default stable"
_PINS = ("pyoxidizer/Cargo.toml", "pyoxidizer/Cargo.lock")
_BUILD = ("build/oxide_archive.py", "build/pyoxidizer.py")
_WRAPPER = "build/cargo_wrapper.py"


class PyOxidizer:
    name = "pyoxidizer"
    needs_libpython = True
    controls: frozenset[str] = frozenset()

    def steps(self, artifact: Artifact, house: House | None) -> tuple[Step, ...]:
        assert house is not None and house.linkable is not None
        own = artifact.options["config"]
        spec = {
            **entry.asked(house),
            "config": own is not None,
            "args": list(artifact.options["args"]),
        }
        machine = {"python": "3.11", "max_glibc": "2.17", "arch": platform.machine()}
        driver = tools.fetch_step("0.24", machine, name="driver pyoxidizer", pins="pyoxidizer/driver.txt")
        crates = Step(name="crates of pyoxidizer", action=fetch_crates, scripts=_PINS, lane="io")
        made = Step(
            name=f"artifact {artifact.name}",
            action=build_app,
            params={
                "spec": spec,
                "env": dict(house.environment),
                "config": _own_config(Path(own)) if own else None,
            },
            needs=(house.linkable, house.toolbox, house.wheelhouse, driver.name, crates.name),
            scripts=(*_BUILD, _WRAPPER, entry.SCRIPT, "build/in_turn.sh"),
            image=house.image,
        )
        return driver, crates, made

    def start(self, made: Made) -> Start:
        shown, script = f"{APP}/{made.path.name}", made.meta["script"]
        return Start(f"{shown}/{script}", (Bind(made.path, shown),), is_elf=is_elf(made.path / script))


@dataclass(frozen=True)
class Rust:
    """A toolchain on this machine: `sysroot` is a folder that works wherever it is shown."""

    sysroot: Path
    version: str


def toolchain(environ: Mapping[str, str]) -> Rust:
    """The caller's Rust. Raises MachineError, whose hint is the cure."""
    program = shutil.which("rustc", path=environ.get("PATH"))
    if program is None:
        raise MachineError(
            "Rust, which the format pyoxidizer compiles with, is not on PATH",
            hint=f"install rustup (https://rustup.rs), then: {_CURE}",
        )
    told = [
        command.check(
            [program, *words],
            what="asking rustc about itself",
            error=MachineError,
            hint=_CURE,
            env=environ,
            timeout=300,
        ).stdout.text.strip()
        for words in (["--version"], ["--print", "sysroot"])
    ]
    found = re.match(r"rustc (\d+)\.(\d+)\.", told[0])
    if not found:
        raise MachineError(f"{program} is no rustc: it says {told[0]!r}", hint=_CURE)
    if (int(found[1]), int(found[2])) < OLDEST_RUST:
        oldest = "{}.{}".format(*OLDEST_RUST)
        raise MachineError(f"{told[0]} is too old: PyOxidizer needs {oldest} or newer", hint=_CURE)
    sysroot = Path(told[1])
    if not (sysroot / "bin" / "cargo").is_file() or sysroot == Path("/usr"):
        raise MachineError(
            f"the Rust in {sysroot} is the system's own, with cargo and libraries elsewhere: "
            "it does not start in a baseline",
            hint=f"install rustup (https://rustup.rs), then: {_CURE}",
        )
    return Rust(sysroot, told[0])


def fetch_crates(ctx: Context) -> None:
    """The sources of the crates that the driver's own lock names, by the caller's cargo and its configuration."""
    rust = toolchain(ctx.env.environ)
    project = ctx.work / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "main.rs").write_text("fn main() {}\n")
    for name in _PINS:
        shutil.copyfile(resources.path(name), project / Path(name).name)
    command.check(
        [rust.sysroot / "bin" / "cargo", "vendor", "--quiet", "--locked", "--versioned-dirs", ctx.out],
        what="fetching the crates of PyOxidizer",
        hint="check the network, and the registry and proxy that ~/.cargo/config.toml names",
        cwd=project,
        env={**ctx.env.environ, "RUSTC": str(rust.sysroot / "bin" / "rustc")},
        log=ctx.log,
        timeout=1800,
    )
    # Import libraries for Windows: three quarters of all bytes.
    for file in ctx.out.rglob("*"):
        if file.suffix in (".a", ".lib") and file.is_file() and not file.is_symlink():
            file.unlink()


def build_app(ctx: Context) -> Mapping[str, Any]:
    """The driver needs /opt/python as it was compiled: its static libpython becomes part of the result."""
    rust = toolchain(ctx.env.environ)
    wheels = ctx.need("wheelhouse")
    spec = entry.known(ctx.params["spec"], wheels)
    # A configuration of the app's own can write here: no other app's build may read what it left.
    owner = hashlib.sha256(spec["distribution"].encode()).hexdigest()[:16]
    cache = ctx.env.store.cache(f"cargo-{owner}")
    own: tuple[Bind, ...] = ()
    if ctx.params["config"] is not None:
        written = ctx.work / "pyoxidizer.bzl"
        written.write_text(ctx.params["config"], encoding="utf-8")
        own = (Bind(written, "/in/pyoxidizer.bzl"),)
    archive, build = _BUILD
    ctx.sandbox(
        archive,
        then=((build, json.dumps(spec)),),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(ctx.need("toolbox").path, "/opt/tools"),
            Bind(rust.sysroot, "/opt/rust"),
            Bind(wheels.path, "/in/wheels"),
            Bind(ctx.need("driver").path, "/in/driver"),
            Bind(ctx.need("crates").path, "/in/crates"),
            Bind(resources.path(_WRAPPER), "/kit/cargo_wrapper.py"),
            entry.BESIDE,
            Bind(cache, CACHE, writable=True),
            *own,
        ),
        environ={**ctx.params["env"], **ctx.env.pass_env},
        timeout=7200,
    )
    told = entry.read_entry(ctx.out)
    payload = ctx.out / told["payload"]
    if not payload.is_dir():
        raise BuildFailed(f"{told['payload']} is no folder")
    return {**told, "rust": rust.version, "measured_floor": measure(payload).floor}


def _own_config(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > MAX_CONFIG_BYTES:
            raise ConfigError(f"is longer than {MAX_CONFIG_BYTES} bytes", where=str(path))
        return data.decode()
    except OSError as problem:
        raise ConfigError(
            f"cannot be read: {problem.strerror}", where=str(path), hint="mend the option config"
        ) from problem
    except UnicodeDecodeError as problem:
        raise ConfigError("is not UTF-8 text", where=str(path)) from problem
