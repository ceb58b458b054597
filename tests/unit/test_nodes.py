"""Nodes are told apart by values; their texts are for people, locks and evidence."""

import re
from pathlib import Path

import pytest

import py_portable
from py_portable.steps.identity import HouseId, NodeId

PACKAGE = Path(py_portable.__file__).parent
HOUSE = HouseId("3.13", "default")
CONTROL = NodeId("control", "built-too-new", variant="folder")


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (NodeId("image", "debian:12"), "image debian:12"),
        (NodeId("baseline", "default"), "baseline default"),
        (NodeId("baseline", "default", variant="without packages"), "baseline default without packages"),
        (NodeId("wheelhouse", house=HOUSE), "wheelhouse 3.13 (default)"),
        (NodeId("wheel", "a-1.0", HOUSE), "wheel a-1.0 3.13 (default)"),
        (NodeId("library", "openssl", HouseId("", "default")), "library openssl (default)"),
        (NodeId("interpreter", house=HOUSE), "interpreter 3.13 (default)"),
        (NodeId("interpreter", house=HOUSE, variant="from source"), "interpreter 3.13 from source (default)"),
        (
            NodeId("interpreter", house=HouseId("3.13", "default", "standalone")),
            "interpreter 3.13 (default, standalone)",
        ),
        (CONTROL, "control built-too-new folder"),
        (
            NodeId("wheelhouse", house=HOUSE, control=CONTROL),
            "wheelhouse 3.13 (default) for control built-too-new folder",
        ),
    ],
)
def test_a_node_is_called_what_locks_and_evidence_call_it(node: NodeId, text: str) -> None:
    assert str(node) == text


def test_no_module_takes_the_text_of_a_node_apart() -> None:
    kinds = "image|baseline|control|interpreter|library|wheel|wheels|wheelhouse|artifact|toolbox|tools|source"
    apart = re.compile(rf"""(startswith|removeprefix|removesuffix|partition|split|find|index)\(\(?f?["']({kinds}) """)
    found = [str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if apart.search(p.read_text())]
    # What a failure of evidence is of, which is data that was read.
    assert found == ["evidence/typed.py"]
