"""Kinds of the nodes that give wheels."""

from __future__ import annotations

from py_portable.steps.identity import HouseId, NodeId

OF_APP = "wheel of the app"
COMPILED = ("wheel", OF_APP)
"""The kind of nodes that give a wheel compiled here."""


def of_app(house: HouseId) -> NodeId:
    """The node that gives the app's own wheel."""
    return NodeId(OF_APP, house=house)
