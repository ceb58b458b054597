"""One word for one thing: no two modules and no two public classes of the package have one name."""

import ast
from collections import defaultdict
from pathlib import Path

import py_portable

PACKAGE = Path(py_portable.__file__).parent
ALONE = "resources"
"""Programs that run by themselves inside a sandbox: nothing imports them."""

VERBS = ("cli", "commands")
"""Rooms whose modules are called like the command that they are of, and so like the room that does the work."""
MEANT = {
    # The format, and the file that is looked into.
    "wheel": {"formats/wheel.py", "inspect/wheel.py"},
    # What the doctor says of them.
    "engines": {"doctor/engines.py", "engines/__init__.py"},
    # The thing that the room is about.
    "store": {"store/__init__.py", "store/store.py"},
}


def test_no_two_modules_have_one_name():
    found = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        name = place.parent.name if place.stem == "__init__" else place.stem
        if place.parts[0] not in (ALONE, *VERBS) and name not in ("", "__main__"):
            found[name].add(str(place))
    assert {name: places for name, places in found.items() if len(places) > 1} == MEANT


def test_no_two_public_classes_have_one_name():
    found = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE)
        if place.parts[0] == ALONE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(place))
    twice = {name: places for name, places in found.items() if len(places) > 1}
    assert twice == {}
