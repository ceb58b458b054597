"""Build an app, whose wheels are in /in/wheels, with PyOxidizer's driver, from /build/cpython.tar.zst.

pyoxidizer.py SPEC: a JSON object with the keys of formats/app_entry.py, config (whether to use /in/pyoxidizer.bzl) and
args. The result is the folder /out/NAME and /out/entry.json. If SPEC is null, a program without an app is built, and
the result is what cargo compiled for it: /out/target, which every app can use.
"""

import compileall
import filecmp
import hashlib
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import app
import certificates
import metadata

SITE = Path("/build/site")
PROJECT = Path("/build/project")
ARCHIVE = Path("/build/cpython.tar.zst")
STAGE = Path("/build/stage")
DRIVER = Path("/build/driver/pyoxidizer")
CRATES = Path("/build/crates")
KIT = Path(__file__).parent
PROGRAM = "portable-app"
"""The name of the program in the generated configuration: a Rust package cannot have every name that an app can
have.
"""


def quoted(text: str) -> str:
    """A Starlark string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


# multiprocessing starts sys.executable with flags, `-c` and lines of its own. All other arguments are for the app.
CHILDREN = """\
import sys
if "-c" in sys.argv[1:-1]:
    _at = sys.argv.index("-c")
    _told, _rest = sys.argv[_at + 1], sys.argv[_at + 2 :]
    if (
        _told.startswith("from multiprocessing.")
        and _rest in ([], ["--multiprocessing-fork"])
        and all(_flag.startswith("-") for _flag in sys.argv[1:_at])
    ):
        sys.argv = ["-c", *_rest]
        exec(_told)
        sys.exit()
"""


def command(entry: app.Entry) -> str:
    """What the executable runs: the lines of the console script, or a child process of the app's multiprocessing."""
    head = CHILDREN + certificates.source()
    if entry.file:
        # A script is the main module itself, in a file beside the executable that need not be there.
        place = f"os.path.join(os.path.dirname(sys.executable), {entry.name!r})"
        return f"{head}import os\n__file__ = {place}\nexec(compile({entry.file.data!r}, __file__, 'exec'))\n"
    if not entry.attribute:
        return f"{head}{entry.imported}\n{entry.called()}\n"
    return (
        f"{head}if sys.argv[0] in ('', '-c'):\n    sys.argv[0] = sys.executable\n"
        f"{entry.imported}\n{entry.called()}\n"
    )


def bzl(name: str, run: str, wheels: list[str]) -> str:
    words = {
        "COMMAND": quoted(run),
        "NAME": quoted(name),
        "WHEELS": "[" + ", ".join(map(quoted, wheels)) + "]",
    }
    template = (KIT / "oxide.bzl").read_text(encoding="utf-8")
    return re.sub("@(COMMAND|NAME|WHEELS)@", lambda found: words[found[1]], template)


def prepare() -> None:
    """Unpack the driver from its wheel, put the wrapper in the place of `cargo`, and use the crates that were
    fetched.
    """
    for folder in (DRIVER.parent, Path("/build/wrap"), Path("/build/cargo"), Path("/build/tmp")):
        folder.mkdir()
    (wheel,) = Path("/in/driver").glob("pyoxidizer-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith("/scripts/pyoxidizer"))
        DRIVER.write_bytes(archive.read(member))
    shutil.copy("/kit/cargo_wrapper.py", "/build/wrap/cargo")
    for program in (DRIVER, Path("/build/wrap/cargo")):
        program.chmod(0o755)
    Path("/build/cargo/config.toml").write_text(
        '[source.crates-io]\nreplace-with = "fetched"\n[source.fetched]\ndirectory = "/in/crates"\n'
    )


def build(words: list[str]) -> None:
    """Run the driver on the project. `words`: more arguments for the driver."""
    environ = {
        **os.environ,
        "PATH": f"/build/wrap:/opt/rust/bin:{os.environ['PATH']}",
        "RUSTC": "/opt/rust/bin/rustc",
        "CARGO_HOME": "/build/cargo",
        "CARGO_NET_OFFLINE": "true",
        "CARGO_BUILD_JOBS": os.environ["JOBS"],
        "CARGO_INCREMENTAL": "0",
        "CARGO_PROFILE_RELEASE_STRIP": "symbols",
        # An RPATH, not a RUNPATH: so wheels that need the system's libz find the one in the artifact.
        "RUSTFLAGS": "-C link-arg=-Wl,--disable-new-dtags,-rpath,$ORIGIN/lib/pylibs",
        "PYOXIDIZER_CACHE_DIR": "/build/driver/cache",
        "PYOXIDIZER_SYSTEM_RUST": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_NO_CACHE_DIR": "1",
        "TMPDIR": "/build/tmp",
    }
    told = {
        "ARCHIVE": str(ARCHIVE),
        "ARCHIVE_SHA256": hashlib.sha256(ARCHIVE.read_bytes()).hexdigest(),
        "WHEELS": "/in/wheels",
        "STAGE": str(STAGE),
    }
    given = [word for name, value in told.items() for word in ("--var", name, value)]
    done = subprocess.run(
        [str(DRIVER), "build", "--system-rust", "--release", *given, *words], cwd=PROJECT, env=environ
    )
    if done.returncode:
        sys.exit(f"PyOxidizer ended with exit status {done.returncode}")


def made_folder() -> Path:
    made = sorted(PROJECT.glob("build/*/release/*"))
    folders = [path for path in made if path.is_dir()]
    if len(folders) != 1:
        sys.exit(f"the configuration's default target gave {len(folders)} folders, not one")
    return folders[0]


def complete(folder: Path) -> list[str]:
    """Copy the files of the wheels that the driver has left out or changed. Returns their names."""
    brought = []
    for file in sorted(path for path in SITE.rglob("*") if path.is_file()):
        name = file.relative_to(SITE)
        target = folder / "lib" / name
        launcher = name.parts[0] == "bin" and not (SITE / "bin" / "__init__.py").exists()
        if launcher or "__pycache__" in name.parts:
            continue
        if not target.is_file() or not filecmp.cmp(file, target, shallow=False):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            brought.append(str(name))
        elif file.stat().st_mode & 0o100:
            target.chmod(0o755)
        else:
            target.chmod(0o644)
    return brought


def sane(folder: Path, program: Path) -> None:
    """Set modes. The driver gives programs and libraries the mode 0770. Files that were no programs in their wheel
    lose the right to be executed, except libraries.
    """
    programs = {program} | {
        folder / "lib" / path.relative_to(SITE)
        for path in SITE.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o100
    }
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs or ".so" in path.suffixes else 0o644)


def only_crates() -> None:
    configure(bzl(PROGRAM, "pass", []))
    build(["exe"])
    for path in CRATES.iterdir():
        shutil.move(path, app.OUT / path.name)


def configure(text: str) -> None:
    PROJECT.mkdir()
    config = PROJECT / "pyoxidizer.bzl"
    config.write_text(text, encoding="utf-8")
    print(f"pyoxidizer.bzl:\n{text}", flush=True)
    prepare()


def main() -> None:
    spec = json.loads(sys.argv[1])
    if spec is None:
        only_crates()
        return
    wheels = sorted(map(str, app.WHEELS.glob("*.whl")))
    app.install(SITE)
    metadata.check(SITE, app.asked(spec), spec["unmet"])
    there = app.distributions(SITE)
    installed = there[metadata.normal(spec["distribution"])]
    entry = app.chosen(
        installed, spec["script"], spec["entry_point"], app.WHEELS.glob("*.whl"), there.values()
    )
    if entry.file and not entry.file.is_python:
        sys.exit(f"the program {entry.name} is no Python ({entry.file.kind}): use the format bundle")
    name = entry.name
    if name in ("lib", "COPYING.txt"):
        sys.exit(
            f"{name!r} exists beside the program already: choose another name for app.script or the entry point"
        )

    own = Path("/in/pyoxidizer.bzl").read_text(encoding="utf-8") if spec["config"] else None
    configure(own if own is not None else bzl(PROGRAM, command(entry), wheels))
    build(spec["args"])
    folder = made_folder()
    program = folder / name
    if own is None and (folder / PROGRAM).is_file():
        (folder / PROGRAM).rename(program)
    if not program.is_file():
        sys.exit(f"the configuration's default target gave no program {name!r}")
    finish(folder, program)
    shutil.move(folder, app.OUT / name)
    app.tell(entry, payload=name, program=name)


def finish(folder: Path, program: Path) -> None:
    """Add what the driver left out, and the modes and the bytecode that a read-only copy needs."""
    if (SITE / "bin").is_dir() and not (SITE / "bin" / "__init__.py").exists():
        # These are pip's launchers, which name the interpreter of this sandbox.
        shutil.rmtree(folder / "lib" / "bin", ignore_errors=True)
    brought = complete(folder)
    print(f"files that the driver left out or changed, and that were copied: {len(brought)}")
    sane(folder, program)
    # A read-only copy, or one with other file times, must not be compiled at each start.
    compileall.compile_dir(
        folder / "lib",
        quiet=2,
        force=True,
        stripdir=str(folder / "lib"),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        workers=int(os.environ["JOBS"]),
    )


if __name__ == "__main__":
    main()
