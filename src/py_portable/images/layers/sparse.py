"""Maps of sparse files in tar archives: GNU's old header, and the PAX formats 0.0, 0.1 and 1.0.

The formats are told in the manual of GNU tar ("Storing Sparse Files"). A map is (offset, length) of each run
of data, in order; what lies between is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from py_portable.images.layers.bounds import Refused

Map = tuple[tuple[int, int], ...]

_PREFIX = b"GNU.sparse."
_OLD_IN_HEADER = 4
_OLD_IN_EXTENSION = 21


def decimal(text: bytes, what: str) -> int:
    """A number of a PAX record. Raises Refused."""
    if not text.isdigit() or len(text) > 20:
        raise Refused(f"its {what} is not a number")
    return int(text)


def checked(found: Sequence[tuple[int, int]], stored: int, size: int) -> Map:
    """The map without empty runs, once it fits the `stored` bytes and the file's `size`. Raises Refused."""
    end = 0
    for offset, length in found:
        if offset < end or length < 0 or offset + length > size:
            raise Refused("its map of holes contradicts itself or its size")
        end = offset + length
    if sum(length for _, length in found) != stored:
        raise Refused("its map of holes does not fit its data")
    return tuple((offset, length) for offset, length in found if length)


def old(
    block: bytes, number: Callable[[bytes], int], block_after: Callable[[], bytes], limit: int
) -> tuple[list[tuple[int, int]], int]:
    """The map and the real size of GNU's type S; `block_after` gives the blocks behind the header."""
    found: list[tuple[int, int]] = []
    read = 0

    def add(data: bytes, count: int) -> None:
        for at in range(0, 24 * count, 24):
            if not data[at] and not data[at + 12]:
                return
            found.append((number(data[at : at + 12]), number(data[at + 12 : at + 24])))

    add(block[386:482], _OLD_IN_HEADER)
    more = block[482]
    while more:
        extension = block_after()
        read += len(extension)
        if read > limit:
            raise Refused("its map of holes is too long")
        add(extension[:504], _OLD_IN_EXTENSION)
        more = extension[504]
    return found, number(block[483:495])


def is_pax(records: Mapping[bytes, bytes]) -> bool:
    """Whether PAX records tell of a sparse file."""
    return any(key.startswith(_PREFIX) for key in records)


def pax(
    ordered: Sequence[tuple[bytes, bytes]],
    records: Mapping[bytes, bytes],
    take: Callable[[int], bytes],
    limit: int,
) -> tuple[list[tuple[int, int]], int, int]:
    """The map, the real size, and how many bytes of the data the map itself was (format 1.0 only)."""
    size = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
    if size is None:
        raise Refused("it is sparse and does not say its size")
    major, minor = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    if (major, minor) == (b"1", b"0"):
        numbers, read = _map_in_data(take, limit)
    elif (major, minor) in ((None, None), (b"0", b"0"), (b"0", b"1")):
        numbers, read = _map_in_records(ordered, records), 0
    else:
        raise Refused("it is sparse in a format that is not known")
    return list(zip(numbers[::2], numbers[1::2], strict=True)), decimal(size, "size"), read


def _map_in_records(ordered: Sequence[tuple[bytes, bytes]], records: Mapping[bytes, bytes]) -> list[int]:
    if b"GNU.sparse.map" in records:
        texts = records[b"GNU.sparse.map"].split(b",")
    else:
        pairs = [(k, v) for k, v in ordered if k in (b"GNU.sparse.offset", b"GNU.sparse.numbytes")]
        if any(k != (b"GNU.sparse.offset", b"GNU.sparse.numbytes")[i % 2] for i, (k, _) in enumerate(pairs)):
            raise Refused("its map of holes is out of order")
        texts = [value for _, value in pairs]
    if len(texts) % 2:
        raise Refused("its map of holes ends early")
    return [decimal(text, "map of holes") for text in texts]


def _map_in_data(take: Callable[[int], bytes], limit: int) -> tuple[list[int], int]:
    """The lines at the start of the data, filled up to a whole block."""
    data, lines, wanted = b"", 0, 1
    while lines < wanted:
        if len(data) >= limit:
            raise Refused("its map of holes is too long")
        block = take(512)
        data += block
        lines += block.count(b"\n")
        if wanted == 1 and lines:
            wanted = 1 + 2 * decimal(data.partition(b"\n")[0], "map of holes")
    return [decimal(line, "map of holes") for line in data.split(b"\n")[1:wanted]], len(data)
