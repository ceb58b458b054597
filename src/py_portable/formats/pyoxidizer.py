"""PyOxidizer: a Rust program with CPython linked into it, and the app and the standard library beside it."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable import resources
from py_portable.base import process
from py_portable.base.atomic import write_whole
from py_portable.base.file_modes import settled
from py_portable.base.regular import TooLargeError, read_regular
from py_portable.config import Artifact
from py_portable.config.glibc import version_key
from py_portable.engines.engine import Bind
from py_portable.errors import ConfigError, MachineError
from py_portable.formats import app_entry
from py_portable.formats.format import (
    APP,
    Format,
    House,
    Made,
    Parent,
    Problem,
    Program,
    Start,
    Written,
    artifact_node,
    option,
    ref,
)
from py_portable.formats.rust import Rust, toolchain
from py_portable.images import Image
from py_portable.inspect.elf import is_elf, measure
from py_portable.steps.context import BuildFailed, Context, Environment
from py_portable.steps.graph import Step
from py_portable.steps.identity import NodeId
from py_portable.wheels import tools

MAX_CONFIG_BYTES = 1 << 20
_DRIVER = "pyoxidizer/driver.txt"
_PINS = ("pyoxidizer/Cargo.toml", "pyoxidizer/Cargo.lock")
_BUILD = ("build/oxide_archive.py", "build/pyoxidizer.py")
_BESIDE = ("build/cargo_wrapper.py", "build/oxide.bzl", app_entry.CERTIFICATES)


@dataclass(frozen=True)
class PyOxidizerOptions:
    config: Path | None = option(
        None,
        "A `pyoxidizer.bzl` of your own instead of the generated one. A relative path starts at this file's folder.",
    )
    args: tuple[str, ...] = option((), "More arguments for `pyoxidizer build`.", **ref("args"))


class PyOxidizer(Format):
    name = "pyoxidizer"
    summary = "The app, packed by PyOxidizer: a folder with an executable that has Python in it. Python 3.11 at most."
    options = PyOxidizerOptions
    shares = ("wheelhouse",)
    folder = True
    interpreter = "linkable"
    programs = (
        Program(
            "Rust",
            "compiles artifacts of the format pyoxidizer",
            lambda environ: toolchain(environ).version,
        ),
    )

    def pins(self) -> dict[str, str]:
        return pins()

    def problems(self, written: Written) -> Iterable[Problem]:
        """PyOxidizer 0.24 is the last release, and a program that it makes with a newer Python crashes."""
        python = written.python
        if version_key(python) > version_key("3.11"):
            text = f"PyOxidizer supports Python up to 3.11, but this would be {python}; "
            text += f'write python: "3.11" here, or choose nuitka-standalone for {python}'
            yield written.wrong("python", text)
        yield from written.not_a_file("config")

    def steps(
        self, artifact: Artifact, house: House | None, parent: Parent | None = None
    ) -> tuple[Step, ...]:
        assert house is not None and house.linkable is not None
        options: PyOxidizerOptions = artifact.options
        spec = {
            **app_entry.asked(house),
            "config": options.config is not None,
            "args": list(options.args),
        }
        machine = {"python": "3.11", "max_glibc": "2.17", "arch": platform.machine()}
        driver = tools.fetch_step(NodeId("driver", "pyoxidizer 0.24"), machine, pins=_DRIVER)
        crates = Step(name=NodeId("crates", "of pyoxidizer"), action=fetch_crates, scripts=_PINS, lane="io")
        scripts = (*_BUILD, *_BESIDE, *app_entry.SCRIPTS, "build/in_turn.sh")
        inputs = (house.linkable, house.toolbox, driver.name, crates.name)
        compiled = Step(
            name=NodeId("compiled crates", house=house.place),
            action=compile_crates,
            needs=inputs,
            scripts=scripts,
            image=house.bare,
            observes=observed,
        )
        made = Step(
            name=artifact_node(artifact),
            action=build_app,
            params={
                "spec": spec,
                "env": dict(house.environment),
                "config": _own_config(options.config) if options.config else None,
            },
            needs=(*inputs, house.wheelhouse, compiled.name),
            scripts=scripts,
            image=house.image,
        )
        return driver, crates, compiled, made

    def start(self, made: Made, image: Image | None = None) -> Start:
        shown, script = f"{APP}/{made.path.name}", made.meta["script"]
        return Start(f"{shown}/{script}", (Bind(made.path, shown),), is_elf=is_elf(made.path / script))


def pins() -> dict[str, str]:
    """The lock's entries for the driver and the crates that it compiles: name -> version and digest."""
    ((name, version, digest),) = re.findall(
        r"^(\S+)==(\S+) \\\n +--hash=(sha256:\w+)$", resources.path(_DRIVER).read_text(), re.MULTILINE
    )
    return {
        f"driver {name}": f"{version} {digest}",
        f"crates of {name}": f"sha256:{resources.sha256(_PINS[1])}",
    }


def observed(env: Environment) -> str:
    """The version of Rust with which results are made here.

    If no Rust fits: the last version that was used, since its results in this store are still valid.
    """
    seen = env.store.cache("rust") / "seen"
    try:
        version = toolchain(env.environ).version
    except MachineError:
        return seen.read_text("utf-8") if seen.is_file() else ""
    if not seen.is_file() or seen.read_text("utf-8") != version:
        write_whole(seen, version)
    return version


def fetch_crates(ctx: Context) -> None:
    """The sources of the crates that the driver's own lock names, by the caller's cargo and its configuration."""
    rust = toolchain(ctx.env.environ)
    project = ctx.work / "project"
    (project / "src").mkdir(parents=True)
    (project / "src" / "main.rs").write_text("fn main() {}\n")
    for name in _PINS:
        shutil.copyfile(resources.path(name), project / Path(name).name)
    process.check(
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
        if file.is_symlink() or not file.is_file():
            continue
        if file.suffix in (".a", ".lib"):
            file.unlink()
        else:
            # Some crates were packed with files that everybody may write to; nothing of them has run here.
            file.chmod(settled(file.stat().st_mode))


def compile_crates(ctx: Context) -> Mapping[str, Any]:
    """The crates for one interpreter and baseline, compiled: cargo's target folder after a program with no app."""
    rust = toolchain(ctx.env.environ)
    _compile(ctx, rust, None)
    return {"rust": rust.version}


def build_app(ctx: Context) -> Mapping[str, Any]:
    """The driver needs the complete /opt/python, because its static libpython becomes part of the result."""
    rust = toolchain(ctx.env.environ)
    wheels, compiled = ctx.need("wheelhouse"), ctx.need("compiled crates")
    spec = app_entry.known(ctx.params["spec"], wheels)
    binds = [Bind(wheels.path, "/in/wheels"), Bind(compiled.path, "/in/compiled")]
    if ctx.params["config"] is not None:
        written = ctx.work / "pyoxidizer.bzl"
        written.write_text(ctx.params["config"], encoding="utf-8")
        binds.append(Bind(written, "/in/pyoxidizer.bzl"))
    # Foreign Python runs in there: cargo's target folder goes with the sandbox, and no other build ever reads it.
    _compile(ctx, rust, spec, *binds, environ={**ctx.params["env"], **ctx.env.pass_env})
    told = app_entry.read_entry(ctx.out)
    payload = ctx.out / told["payload"]
    if not payload.is_dir():
        raise BuildFailed(f"{told['payload']} is not a folder")
    return {**told, "rust": compiled.meta["rust"], "measured_floor": measure(payload).floor}


def _compile(
    ctx: Context,
    rust: Rust,
    spec: Mapping[str, Any] | None,
    *binds: Bind,
    environ: Mapping[str, str] | None = None,
) -> None:
    archive, build = _BUILD
    ctx.sandbox(
        archive,
        then=((build, json.dumps(spec)),),
        binds=(
            Bind(ctx.need("interpreter").path, "/opt/python"),
            Bind(ctx.need("toolbox").path, "/opt/tools"),
            Bind(rust.sysroot, "/opt/rust"),
            Bind(ctx.need("driver").path, "/in/driver"),
            Bind(ctx.need("crates").path, "/in/crates"),
            *app_entry.beside(*_BESIDE),
            *binds,
        ),
        environ=environ,
        timeout=7200,
        hint=app_entry.hint,
    )


def _own_config(path: Path) -> str:
    try:
        return read_regular(path, MAX_CONFIG_BYTES).decode()
    except TooLargeError:
        raise ConfigError(f"is longer than {MAX_CONFIG_BYTES} bytes", where=str(path)) from None
    except OSError as problem:
        raise ConfigError(
            f"cannot be read: {problem.strerror}", where=str(path), hint="correct the option config"
        ) from problem
    except UnicodeDecodeError as problem:
        raise ConfigError("is not UTF-8 text", where=str(path)) from problem
