"""Plans and reports with the texts of their nodes in the place of the nodes' identities: short to write in a test."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from py_portable.plan.assemble import Plan
from py_portable.steps.graph import ImageNode, Node
from py_portable.steps.identity import NodeId
from py_portable.steps.runner import Report


def by_text(found: Mapping[NodeId, Any]) -> dict[str, Any]:
    texts = {str(node): value for node, value in found.items()}
    assert len(texts) == len(found), "two nodes are called the same"
    return texts


def node_written(node: Node) -> Any:
    named: Any = replace(node, name=str(node.name))
    if isinstance(node, ImageNode):
        return named
    return replace(named, needs=tuple(map(str, node.needs)), image=str(node.image) if node.image else None)


def written(plan: Plan) -> Any:
    loose: Any = plan
    return replace(
        loose,
        nodes={name: node_written(node) for name, node in by_text(plan.nodes).items()},
        artifacts={name: str(node) if node else None for name, node in plan.artifacts.items()},
        images={name: str(node) for name, node in plan.images.items()},
        controls=tuple(replace(control, node=str(control.node)) for control in loose.controls),
    )


def report_written(report: Report) -> Any:
    fields: Any = {name: by_text(value) for name, value in vars(report).items()}
    return Report(**fields)
