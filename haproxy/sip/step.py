"""What moves along the tables of `haproxy.sip.state`, and these resolved for speed: rows lead straight to
the next row and the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, TypeAlias

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.state import CLASSES, Action, Input, Start, State, Table
from rtlib.wheel import NEVER, Delay

Perform: TypeAlias = Callable[[Any, Any, float], None]
"""An action on a transaction, with the message or event that caused it (None for a timer), at a time.

Any: each table names only actions for its own kind of transaction and message.
"""

Lingering: TypeAlias = Mapping[Action, "Delay[Transaction] | None"]
"""Where those stay that wait for repetitions only, by the timer that ends them; None where it is zero.

What ends them is not told to the tables: all that a row has for these timers is `terminated`.
"""

Key: TypeAlias = bytes | tuple[Hashable, ...]
"""What a transaction is found by. Mostly in one piece: what is looked up again and again is hashed once."""

SHED: Final = Request(headers=None)
"""Stands for a request that was let go: to look at it is a defect, and raises AttributeError."""

_RETRANSMISSIONS: Final = {Action.start_a, Action.start_e, Action.start_e_at_t2, Action.start_g}
"""What does not happen on reliable transports."""


class Step:
    """What an input does to a transaction in a state."""

    __slots__ = ("ends", "linger", "more", "passes", "row", "stops")

    def __init__(
        self,
        row: Row,
        stops: bool,
        passes: bool,
        linger: Delay[Transaction] | None,
        more: tuple[Perform, ...],
    ) -> None:
        self.row = row
        """Of the next state."""
        self.stops = stops
        """All timers stop."""
        self.passes = passes
        """The response is passed on: sent by a server transaction, told by a client's."""
        self.linger = linger
        """Where the transaction stays until its end."""
        self.more = more
        """What else is done."""
        self.ends = row is OVER


class Row:
    """What can happen to a transaction in a state."""

    __slots__ = ("responses", "state", "steps")

    def __init__(self, state: State) -> None:
        self.state = state
        self.steps: dict[Input, Step] = {}
        self.responses: list[Step | None] = [None] * 7
        """The steps of responses by the class of their status."""

    def add(self, cause: Input, step: Step) -> None:
        """Have an input do something."""
        self.steps[cause] = step
        for number, each in CLASSES.items():
            if each is cause:
                self.responses[number] = step


OVER: Final = Row(State.terminated)


class Beginning:
    """How transactions of one kind begin: `state.Start` with durations, in seconds."""

    __slots__ = ("again_timer", "deadline_timer", "interval", "looks", "rest", "row")

    def __init__(
        self, start: Start, row: Row, looks: Delay[Transaction], *, again: bool, limit: float = NEVER
    ) -> None:
        self.row = row
        self.looks = looks
        """Where a transaction waits for its first timer: most are answered until then."""
        self.again_timer = start.again if again else None
        self.deadline_timer = start.limit
        self.interval = looks.seconds
        self.rest = limit - looks.seconds
        """Seconds from the first timer to the deadline."""


class Kind:
    """How transactions of one kind begin on unreliable and on reliable transports."""

    __slots__ = ("reliable", "unreliable")

    def __init__(self, unreliable: Beginning, reliable: Beginning) -> None:
        self.unreliable = unreliable
        self.reliable = reliable


class Alarms:
    """The timers of a transaction that has not been answered before its first timer, or not acknowledged."""

    __slots__ = ("again", "again_timer", "deadline", "deadline_timer", "interval", "watched")

    def __init__(self) -> None:
        self.again = NEVER
        """When `again_timer` fires."""
        self.again_timer: Input | None = None
        self.deadline = NEVER
        """When `deadline_timer` fires."""
        self.deadline_timer: Input | None = None
        self.interval = 0.0
        """Seconds between the last two messages of the same kind; 0 before the second."""
        self.watched = NEVER
        """When the layer looks at these two next: at that time or earlier than they say."""

    def begin(self, beginning: Beginning, when: float) -> None:
        """The first timer of a transaction was due then: only now it needs timers of its own."""
        self.watched = when
        if beginning.again_timer is not None:
            self.again, self.again_timer = when, beginning.again_timer
        self.deadline, self.deadline_timer = when + beginning.rest, beginning.deadline_timer
        self.interval = beginning.interval


class Transaction:
    """What client and server transactions share: request, state and timers. Only the layer changes it."""

    __slots__ = ("call_id", "context", "flow", "key", "method", "request", "row", "sent", "timers")

    request: Request
    """A client's as it is sent, our Via on top; `SHED` once it is not needed any more."""
    method: bytes
    call_id: bytes
    flow: Flow
    """Where messages of ours go."""
    key: Key
    context: Any
    """For the user's own use; the layer never looks at it."""
    sent: bytes
    """What is sent again: a client's request, a server's last response."""
    row: Row
    timers: Beginning | Alarms | None
    """None when no timer runs; those of the beginning, until the first one is due."""

    @property
    def state(self) -> State:
        """The state of RFC 3261."""
        return self.row.state

    @property
    def reliable(self) -> bool:
        """Whether its transport retransmits by itself."""
        return self.flow.transport != "udp"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state} {self.method.decode()} {self.call_id.decode()}>"


def resolve(
    table: Table, actions: Mapping[Action, Perform], lingering: Lingering, *, reliable: bool
) -> Mapping[State, Row]:
    """The rows of a table, which lead to each other."""
    rows = {state: OVER if state is State.terminated else Row(state) for state in table}
    for state, inputs in table.items():
        for cause, (successor, names) in inputs.items():
            row, linger, more = rows[successor], None, []
            for name in names:
                if name in lingering:
                    linger = lingering[name]
                    row = OVER if linger is None else row
                elif name in actions and not (reliable and name in _RETRANSMISSIONS):
                    more.append(actions[name])
            passes = Action.send in names or Action.deliver in names
            rows[state].add(cause, Step(row, Action.stop in names, passes, linger, tuple(more)))
    return rows
