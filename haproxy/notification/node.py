"""What the others are told of this node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from haproxy.notification.event import Change, node_changed

State = Literal["online", "draining", "offline"]


class NodeState:
    """Whether this node takes calls; every change is reported."""

    def __init__(self, node: str, report: Callable[[Change], None]) -> None:
        self._node = node
        self._report = report
        self._state: State = "offline"

    def enter(self, state: State, reason: str) -> None:
        """It is in another state now."""
        previous, self._state = self._state, state
        if previous != state:
            self._report(node_changed(self._node, previous, state, reason))
