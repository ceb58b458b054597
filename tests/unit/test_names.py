"""One word for one thing: no two public classes of the package have one name."""

import ast
from collections import defaultdict
from pathlib import Path

import py_portable

PACKAGE = Path(py_portable.__file__).parent
ALONE = "resources"
"""Programs that run by themselves inside a sandbox: nothing imports them."""


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
