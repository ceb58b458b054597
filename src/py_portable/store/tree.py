"""`python -m py_portable.store.tree hash|state|remove PATH`: the program that the store runs under a prefix.

A tree that belongs to a mapped range of foreign ids can be read and removed only from inside that mapping.
Imported by nothing, so that it can be run as a module.
"""

from __future__ import annotations

import sys
from pathlib import Path

from py_portable.store import seal
from py_portable.store.manifest import encode
from py_portable.store.walk import manifest, remove


def main(arguments: list[str]) -> int:
    """`hash` writes the manifest to stdout, `state` what a seal is made of.

    The exit status is 0, or 1 for a system error, or 2 for a wrong command line.
    """
    try:
        match arguments:
            case ["hash", path]:
                sys.stdout.buffer.write(encode(manifest(Path(path))))
            case ["state", path]:
                state = seal.look(Path(path))
                print(state.value, state.newest)
            case ["remove", path]:
                remove(Path(path))
            case _:
                print("usage: python -m py_portable.store.tree hash|state|remove PATH", file=sys.stderr)
                return 2
    except OSError as problem:
        print(f"{problem.strerror}: {problem.filename!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
