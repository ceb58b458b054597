"""Small ELF files and wheels, written byte by byte, for tests that must not depend on a compiler."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

BASE = 0x1000000
CLASSES = [(32, "little"), (32, "big"), (64, "little"), (64, "big")]
MACHINES = {"x86_64": 62, "i686": 3, "aarch64": 183, "s390x": 22, "ppc64": 21, "ppc64le": 21, "arm": 40}
# A library, and the versions needed of it: name, weak, and the symbols bound to it.
Needs = Mapping[str, Sequence[tuple[str, bool, Sequence[str]]]]


def build_elf(
    *,
    bits: int = 64,
    order: str = "little",
    machine: int = 62,
    kind: int = 3,
    interpreter: str | None = None,
    soname: str | None = None,
    needed: Sequence[str] = ("libc.so.6",),
    rpath: str | None = None,
    runpath: str | None = None,
    needs: Needs | None = None,
    extra_tags: Sequence[tuple[int, int]] = (),
    dynamic: bool = True,
    symbol_count: str = "hash",
) -> bytes:
    """An ELF file without section headers. `symbol_count`: "hash" (DT_HASH), "gnu" (an empty DT_GNU_HASH and
    relocations) or "none"."""
    e = "<" if order == "little" else ">"
    wide = bits == 64
    word = e + ("Q" if wide else "I")
    strings = bytearray(b"\0")

    def string(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text.encode()) - 1

    symbols: list[tuple[int, int]] = [(0, 0)]
    verneed = bytearray()
    index = 2
    needs = needs or {}
    for number, (library, versions) in enumerate(needs.items()):
        last = number == len(needs) - 1
        verneed += struct.pack(
            e + "HHIII", 1, len(versions), string(library), 16, 0 if last else 16 + 16 * len(versions)
        )
        for place, (version, weak, names) in enumerate(versions):
            step = 0 if place == len(versions) - 1 else 16
            verneed += struct.pack(e + "IHHII", 0, 2 if weak else 0, index, string(version), step)
            symbols += [(string(name), index) for name in names]
            index += 1
    tags: list[tuple[int, int]] = [(1, string(name)) for name in needed]
    tags += [(tag, string(text)) for tag, text in ((14, soname), (15, rpath), (29, runpath)) if text is not None]

    header_size, segment_size = (64, 56) if wide else (52, 32)
    segments = 1 + dynamic + (interpreter is not None)
    body = bytearray(header_size + segments * segment_size)

    def place_at(block: bytes) -> int:
        body.extend(b"\0" * (-len(body) % 8))
        body.extend(block)
        return len(body) - len(block)

    interp_at = place_at(interpreter.encode() + b"\0") if interpreter is not None else 0
    interp_len = len(interpreter.encode()) + 1 if interpreter is not None else 0
    tags.append((5, BASE + place_at(bytes(strings))))
    table = b"".join(
        struct.pack(e + ("IBBHQQ" if wide else "IIIBBH"), label, *((0x12, 0, 0, 0, 0) if wide else (0, 0, 0x12, 0, 0)))
        for label, _ in symbols
    )
    tags.append((6, BASE + place_at(table)))
    tags.append((0x6FFFFFF0, BASE + place_at(b"".join(struct.pack(e + "H", version) for _, version in symbols))))
    if symbol_count == "hash":
        entry = e + ("QQ" if wide and machine == 22 else "II")
        tags.append((4, BASE + place_at(struct.pack(entry, 1, len(symbols)))))
    elif symbol_count == "gnu":
        tags.append(
            (
                0x6FFFFEF5,
                BASE + place_at(struct.pack(e + "4I", 1, 1, 1, 0) + bytes(8 if wide else 4) + bytes(4)),
            )
        )
        relocations = b"".join(
            struct.pack(e + "QQq", 0, number << 32, 0) if wide else struct.pack(e + "II", 0, number << 8)
            for number in range(1, len(symbols))
        )
        at = place_at(relocations)
        tags += [(7, BASE + at), (8, len(relocations))] if wide else [(17, BASE + at), (18, len(relocations))]
    if verneed:
        tags.append((0x6FFFFFFE, BASE + place_at(bytes(verneed))))
    tags += extra_tags
    block = b"".join(struct.pack(e + ("QQ" if wide else "II"), tag, value) for tag, value in [*tags, (0, 0)])
    dynamic_at = place_at(block)

    def segment(kind: int, at: int, length: int) -> bytes:
        if wide:
            return struct.pack(e + "IIQQQQQQ", kind, 4, at, BASE + at, BASE + at, length, length, 8)
        return struct.pack(e + "IIIIIIII", kind, at, BASE + at, BASE + at, length, length, 4, 8)

    heads = segment(1, 0, len(body))
    if dynamic:
        heads += segment(2, dynamic_at, len(block))
    if interpreter is not None:
        heads += segment(3, interp_at, interp_len)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "little" else 2, 1]) + bytes(9)
    rest = struct.pack(e + "HHI", kind, machine, 1) + struct.pack(word, 0) + struct.pack(word, header_size)
    rest += struct.pack(word, 0) + struct.pack(e + "IHHHHHH", 0, header_size, segment_size, segments, 0, 0, 0)
    body[: header_size + len(heads)] = ident + rest + heads
    return bytes(body)


def needing(version: str, *symbols: str, weak: bool = False, **options: object) -> bytes:
    """A library that needs one version of libc.so.6."""
    return build_elf(needs={"libc.so.6": [(version, weak, symbols)]}, **options)  # type: ignore[arg-type]


def build_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, bytes] | None = None,
    *,
    tags: Sequence[str] | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """A wheel of that file name; `tags` is what its WHEEL file says, by default what the name says."""
    project, version, *_, python, abi, platforms = name.removesuffix(".whl").split("-")
    said = tags if tags is not None else [f"{p}-{a}-{t}" for p in python.split(".") for a in abi.split(".")
                                          for t in platforms.split(".")]  # fmt: skip
    path = folder / name
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{project}/__init__.py", "")
        for member, data in (files or {}).items():
            archive.writestr(member, data)
        text = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n" + "".join(f"Tag: {t}\n" for t in said)
        archive.writestr(f"{project}-{version}.dist-info/WHEEL", text)
    return path
