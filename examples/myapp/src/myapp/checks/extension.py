"""The app's own C extension."""

import myextension

# Published test vectors of the 64-bit FNV-1a hash.
VECTORS = {b"": 0xCBF29CE484222325, b"a": 0xAF63DC4C8601EC8C, b"foobar": 0x85944171F73967E8}


def check() -> None:
    """Compute hashes in C and compare them with the published ones."""
    for data, expected in VECTORS.items():
        result = myextension.fnv1a(data)
        if result != expected:
            raise RuntimeError(f"fnv1a({data!r}) gave {result:#x} in place of {expected:#x}")
