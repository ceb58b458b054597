"""The runtime of onefile comes compiled, is of today's sources, and has in it nothing that ties it to a system."""

from __future__ import annotations

import platform
import random
import re
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from py_portable.errors import MachineError
from py_portable.formats import runtime
from py_portable.formats.runtime import packer
from py_portable.inspect import elf

HERE = Path(__file__).parents[2]
MACHINES = ("aarch64", "x86_64")
FORBIDDEN = {
    # What asks the name service, converts texts, loads libraries or locales, or starts a shell.
    *("getpwnam", "getpwuid", "getpwnam_r", "getpwuid_r", "getgrnam", "getgrgid", "getgrouplist", "initgroups"),
    *("getaddrinfo", "getnameinfo", "gethostbyname", "getservbyname", "res_init", "socket", "connect"),
    *("iconv", "iconv_open", "setlocale", "newlocale", "uselocale", "bindtextdomain", "dcngettext"),
    *("dlopen", "dlsym", "dlclose", "system", "popen", "execvp", "execlp", "posix_spawn", "fork", "vfork"),
    *("syslog", "tmpfile", "tmpnam", "mktemp"),
}
TELLTALES = (b"nsswitch", b"/etc/passwd", b"/etc/group", b"resolv.conf", b"gconv", b"LOCPATH", b"ld-linux", b"/bin/sh")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def test_it_was_made_of_todays_sources_by_the_pinned_compiler() -> None:
    """Where this fails: scripts/make-helpers."""
    kit = runtime.prebuilt_runtime()
    told = kit.table()
    assert told["sources"] == kit.sources_digest()
    (pin,) = re.findall(r"^ziglang==\S+", (HERE / "requirements" / "helpers.txt").read_text(), re.MULTILINE)
    assert told["compiler"] == pin
    assert set(told["sha256"]) == set(MACHINES)  # type: ignore[call-overload]


@pytest.mark.parametrize("machine", MACHINES)
def test_it_is_a_static_program_with_a_place_for_the_seal(machine: str) -> None:
    ready = runtime.prebuilt_runtime().archive(machine)
    assert ready and set(ready.sha256) == set(runtime.NAMES)
    body = ready.bodies()[runtime.PROGRAM]
    found = elf.read(body)
    assert (found.arch, found.type, found.interpreter, found.needed) == (machine, "static", None, ())
    assert body.count(packer.MAGIC) == 1 and len(body) < 250_000
    assert not [word for word in TELLTALES if word in body]


@needs("musl-gcc")
@needs("nm")
def test_nothing_in_it_depends_on_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are read from one that was linked without taking them out. No compiler has a complaint either."""
    monkeypatch.setattr(runtime, "FLAGS", (*(flag for flag in runtime.FLAGS if flag != "-s"), "-Wextra", "-Werror"))
    kit = runtime.prebuilt_runtime().archive(platform.machine())
    if kit is None:
        pytest.skip("no runtime for this machine")
    kit.unpack(tmp_path)
    runtime.compile(tmp_path, ("musl-gcc",), tmp_path / runtime.DECODER)
    told = subprocess.run(["nm", tmp_path / runtime.PROGRAM], check=True, capture_output=True, text=True).stdout
    names = {line.split()[-1] for line in told.splitlines()}
    assert {"main", "execve", "flock", "ZSTD_decompressDCtx"} <= names
    assert not names & FORBIDDEN
    # Of the decoder nothing that compresses, and none of the formats before its first release.
    assert not [name for name in names if re.match(r"ZSTD(v0|_compress)", name)]


FUZZED = r"""
#include "index.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each index behind its size in four bytes. */
int main(void)
{
    unsigned bytes, count = 0, good = 0;

    while (fread(&bytes, 4, 1, stdin) == 1) {
        uint8_t *raw = malloc(bytes ? bytes : 1);
        struct listing list;
        volatile uint64_t sum = 0;

        if (fread(raw, 1, bytes, stdin) != bytes)
            return 3;
        if (!index_read(raw, bytes, &list)) {
            good++;
            for (size_t i = 0; i < list.entry_count; i++)
                sum += strlen(list.entries[i].path) + list.entries[i].at;
            for (size_t i = 0; i < list.chunk_count; i++)
                sum += list.chunks[i].digest[DIGEST - 1] + index_chunk_bytes(&list, i);
        }
        free(list.entries);
        free(list.chunks);
        free(raw);
        count++;
    }
    printf("%u %u\n", count, good);
    return 0;
}
"""


def watched(folder: Path, text: str, *sources: str) -> Path:
    """`text` and sources of the runtime, compiled so that each access and each sum is checked."""
    (folder / "fuzz.c").write_text(text)
    words = ["gcc", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover", "-I", runtime.FOLDER]
    files = (folder / "fuzz.c", *(runtime.FOLDER / name for name in sources))
    built = subprocess.run([*words, "-o", folder / "fuzz", *files], capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert built.returncode == 0, built.stderr
    return folder / "fuzz"


@needs("gcc")
def test_no_index_is_read_beyond_its_end(tmp_path: Path) -> None:
    """20,000 changed ones, with a compiler that watches every byte and every sum."""
    program = watched(tmp_path, FUZZED, "index.c")
    dice = random.Random(5)
    chunks = [packer.Chunk(bytes(number + 1), bytes(32)) for number in range(3)]
    entries = [
        packer.Item(b"a", stat.S_IFDIR | 0o755),
        packer.Item(b"a/b", stat.S_IFREG | 0o644, 2 * packer.CHUNK_BYTES),
        packer.Item(b"a/l", stat.S_IFLNK | 0o777, target=b"../c"),
        packer.Item(b"c", stat.S_IFREG | 0o755, 7),
    ]
    good = packer.index(entries, chunks)
    stream = [good]
    for _ in range(20_000):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(raw) or 1)
            match dice.randrange(5):
                case 0:
                    raw[at : at + 1] = dice.randbytes(1)
                case 1:
                    raw[at : at + 4] = dice.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"\1\0\0\0"))
                case 2:
                    del raw[at:]
                case 3:
                    raw[at:at] = raw[dice.randrange(len(raw) or 1) :][:50]
                case 4:
                    raw[at : at + 8] = b"\xff" * dice.randint(1, 8)
        stream.append(bytes(raw))
    data = b"".join(struct.pack("<I", len(raw)) + raw for raw in stream)
    done = subprocess.run([program], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    count, taken = map(int, done.stdout.split())
    assert count == 20_001 and 1 <= taken < 20_000


def test_where_the_sources_were_changed_it_is_compiled_with_the_decoder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if shutil.which("musl-gcc") is None or platform.machine() not in MACHINES:
        pytest.skip("musl-gcc is not installed")
    folder = tmp_path / "kit"
    shutil.copytree(runtime.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runtime, "FOLDER", folder)
    with (folder / "main.c").open("a") as stream:
        stream.write("/* edited */\n")
    assert packer.MAGIC in runtime.runtime()
    assert "the compiled helpers do not belong to the C sources" in caplog.text
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MachineError, match="do not belong to the C sources"):
        runtime.runtime()


def test_a_damaged_one_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() not in MACHINES:
        pytest.skip("no runtime for this machine")
    folder = tmp_path / "py_portable" / "formats" / "runtime"
    shutil.copytree(runtime.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runtime, "FOLDER", folder)
    archive = folder / f"{platform.machine()}.tar.xz"
    archive.write_bytes(archive.read_bytes()[:-1000])
    with pytest.raises(MachineError, match="damaged") as caught:
        runtime.runtime()
    assert "git checkout -- src/py_portable/formats/runtime" in caught.value.render()
