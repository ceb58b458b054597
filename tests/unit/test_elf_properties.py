"""Whatever bytes come in: an answer or an ElfError, soon and without much memory."""

from __future__ import annotations

import contextlib
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from py_portable.inspect.elf import ElfError, read, symbols_needing
from py_portable.inspect.elf.floor import glibc_defects, glibc_floor
from py_portable.inspect.elf.reader import Elf
from tests.unit.elf_builder import CLASSES, build_elf, needing

SEEDS = [
    build_elf(
        bits=bits,
        order=order,
        interpreter="/lib64/ld-linux-x86-64.so.2",
        soname="libx.so",
        rpath="$ORIGIN",
        needs={
            "libc.so.6": [("GLIBC_2.34", False, ["dlopen"]), ("GLIBC_2.2.5", True, ["free"])],
            "libm.so.6": [("GLIBC_2.29", False, ["exp", "pow"])],
        },
        symbol_count=count,
    )
    for bits, order in CLASSES
    for count in ("hash", "gnu")
]
# A limit that only a loop without a bound can reach, however busy the machine is.
bounded = settings(max_examples=400, deadline=10_000)
INTERESTING = st.sampled_from([0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31, 2**32 - 1, 2**63, 2**64 - 1])


def look(data: bytes) -> None:
    """Call everything the reader offers."""
    try:
        elf = read(data)
    except ElfError:
        pass
    else:
        assert isinstance(elf, Elf)
        glibc_floor(elf)
        glibc_defects(elf)
    for version in ("GLIBC_2.34", "GLIBC_2.29"):
        with contextlib.suppress(ElfError):
            assert all(isinstance(symbol, str) for symbol in symbols_needing(data, version))


@given(st.binary(max_size=400))
@bounded
def test_any_bytes(data: bytes) -> None:
    look(data)
    look(b"\x7fELF" + data)
    look(b"\x7fELF\x02\x01\x01" + data)


@given(seed=st.sampled_from(SEEDS), data=st.data())
@bounded
def test_mutated_files(seed: bytes, data: st.DataObject) -> None:
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 8))
        width = data.draw(st.sampled_from([1, 2, 4, 8]))
        order = data.draw(st.sampled_from(["little", "big"]))
        value = data.draw(INTERESTING | st.integers(0, 2 * len(content))) % 256**width
        content[at : at + width] = value.to_bytes(width, order)
    look(bytes(content[: data.draw(st.integers(1, len(content)) | st.just(len(content)))]))


@given(seed=st.sampled_from(SEEDS), at=st.integers(0, 10_000), value=st.integers(0, 255))
@bounded
def test_one_byte_changed(seed: bytes, at: int, value: int) -> None:
    content = bytearray(seed)
    content[at % len(content)] = value
    look(bytes(content))


def test_large_numbers_in_a_small_file_allocate_little() -> None:
    tracemalloc.start()
    try:
        for seed in SEEDS:
            for at in range(0, len(seed) - 4, 4):
                content = bytearray(seed)
                content[at : at + 4] = b"\xff\xff\xff\x7f"
                look(bytes(content))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


def test_strings_that_overlap_in_a_large_file_stay_bounded() -> None:
    # 4096 libraries whose names are all the tail of one long name: the worst the limits allow.
    data = needing("GLIBC_2.34", "f", soname="x" * 4000, extra_tags=[(1, 20 + n % 3000) for n in range(4000)])
    tracemalloc.start()
    try:
        assert len(read(data).needed) == 4001
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
