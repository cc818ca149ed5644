"""What moves along the tables of `haproxy.sip.state`, and these resolved for speed: rows lead straight to
the next row and the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.state import Action, Input, Start, State, Table

NEVER: Final = float("inf")
"""A time that does not come."""

Perform: TypeAlias = Callable[[Any, Any, float], None]
"""An action on a transaction, with the message or event that caused it (None for a timer), at a time.

Any: each table names only actions for its own kind of transaction and message.
"""

Step: TypeAlias = tuple[State, "Row", tuple[Perform, ...]]
Row: TypeAlias = dict[Input, Step]

NOTHING: Final[Row] = {}
"""What can happen to a transaction that is over, or that has not begun."""


class Transaction:
    """What client and server transactions share: request, state and timers. Only the layer changes it."""

    __slots__ = (
        "again",
        "again_timer",
        "context",
        "deadline",
        "deadline_timer",
        "flow",
        "interval",
        "reliable",
        "request",
        "row",
        "sent",
        "state",
        "watched",
    )

    state: State
    row: Row
    again_timer: Input
    deadline_timer: Input

    def __init__(self, request: Request, flow: Flow, interval: float) -> None:
        self.request = request
        """A client's as it is sent, our Via on top."""
        self.flow = flow
        """Where messages of ours go."""
        self.context: Any = None
        """For the user's own use; the layer never looks at it."""
        self.reliable = flow.transport != "udp"
        self.sent = b""
        """What is sent again: a client's request, a server's last response."""
        self.interval = interval
        """Seconds until it is sent again, once there is a timer for that."""
        self.again = NEVER
        """When `again_timer` fires; neither that nor `state` and `row` are there before the first step."""
        self.deadline = NEVER
        """When `deadline_timer` fires."""
        self.watched = NEVER
        """When the layer looks at these two next: at that time or earlier than they say."""

    @property
    def method(self) -> bytes:
        """The request's method."""
        return self.request.method

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state} {self.request!r}>"


def resolve(start: Start, table: Table, actions: Mapping[Action, Perform]) -> Step:
    """The first step of a machine, from which all others are reached."""
    rows: dict[State, Row] = {state: {} for state in table}
    for state, inputs in table.items():
        for cause, (successor, names) in inputs.items():
            rows[state][cause] = (successor, rows[successor], tuple(actions[name] for name in names))
    state, names = start
    return state, rows[state], tuple(actions[name] for name in names)
