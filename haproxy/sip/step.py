"""What moves along the tables of `haproxy.sip.state`, and these resolved for speed: rows lead straight to
the next row and the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.state import Action, Input, Start, State, Table
from rtlib.wheel import Delay

NEVER: Final = float("inf")
"""A time that does not come."""

Perform: TypeAlias = Callable[[Any, Any, float], None]
"""An action on a transaction, with the message or event that caused it (None for a timer), at a time.

Any: each table names only actions for its own kind of transaction and message.
"""

Step: TypeAlias = tuple[State, "Row", bool, tuple[Perform, ...]]
"""The next state and its row, whether all timers stop, and what is done then."""

Row: TypeAlias = dict[Input, Step]

NOTHING: Final[Row] = {}
"""What can happen to a transaction that is over, or that has not begun."""


SHED: Final = Request(headers=None)
"""Stands for a request that was let go: to look at it is a defect, and raises AttributeError."""


class Beginning:
    """How transactions of one kind begin: `state.Start` with durations, in seconds."""

    __slots__ = (
        "again_timer",
        "always",
        "deadline_timer",
        "interval",
        "limit",
        "looks",
        "row",
        "state",
        "wait",
    )

    def __init__(
        self,
        start: Start,
        rows: Mapping[State, Row],
        looks: Delay[Transaction],
        *,
        interval: float,
        limit: float = NEVER,
    ) -> None:
        """`interval` is what there is between that and the next message of the same kind, if any."""
        self.state, self.row = start.state, rows[start.state]
        self.again_timer, self.deadline_timer = start.again, start.limit
        self.always = start.again is Input.timer_trying
        """The first timer runs on reliable transports, too."""
        self.looks = looks
        """Where a transaction waits for its first timer: most are answered until then."""
        self.wait = looks.seconds
        self.interval = interval
        self.limit = limit


class Transaction:
    """What client and server transactions share: request, state and timers. Only the layer changes it."""

    __slots__ = (
        "again",
        "again_timer",
        "call_id",
        "context",
        "deadline",
        "deadline_timer",
        "flow",
        "interval",
        "method",
        "reliable",
        "request",
        "row",
        "sent",
        "state",
        "watched",
    )

    def __init__(self, request: Request, flow: Flow, beginning: Beginning, now: float) -> None:
        self.request = request
        """A client's as it is sent, our Via on top; `SHED` once it is not needed any more."""
        self.method = request.method
        self.call_id = request.call_id
        self.flow = flow
        """Where messages of ours go."""
        self.context: Any = None
        """For the user's own use; the layer never looks at it."""
        self.reliable = flow.transport != "udp"
        self.sent = b""
        """What is sent again: a client's request, a server's last response."""
        self.state, self.row = beginning.state, beginning.row
        self.interval = beginning.interval
        """Seconds until it is sent again, the next time that a timer for that is set."""
        self.again = now + beginning.wait if beginning.always or not self.reliable else NEVER
        """When `again_timer` fires."""
        self.again_timer = beginning.again_timer
        self.deadline = now + beginning.limit
        """When `deadline_timer` fires."""
        self.deadline_timer = beginning.deadline_timer
        self.watched = NEVER
        """When the layer looks at these two next: at that time or earlier than they say."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state} {self.method.decode()} {self.call_id.decode()}>"


def resolve(table: Table, actions: Mapping[Action, Perform]) -> Mapping[State, Row]:
    """The rows of a table, which lead to each other."""
    rows: dict[State, Row] = {state: {} for state in table}
    for state, inputs in table.items():
        for cause, (successor, names) in inputs.items():
            performed = tuple(actions[name] for name in names if name is not Action.stop)
            rows[state][cause] = (successor, rows[successor], Action.stop in names, performed)
    return rows
