"""The tables of `haproxy.sip.state` resolved for speed: rows lead straight to the next row and the calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from haproxy.sip.state import Action, Input, Start, State, Table
from rtlib.wheel import Entry

Perform: TypeAlias = Callable[[Any, Any, float], None]
"""An action on a transaction, with the message or event that caused it (None for a timer), at a time.

Any: each table names only actions for its own kind of transaction and message.
"""

Step: TypeAlias = tuple[State, "Row", tuple[Perform, ...]]
Row: TypeAlias = dict[Input, Step]
TimerEntry: TypeAlias = Entry[tuple[Any, Input]]


def resolve(start: Start, table: Table, actions: Mapping[Action, Perform]) -> Step:
    """The first step of a machine, from which all others are reached."""
    rows: dict[State, Row] = {state: {} for state in table}
    for state, inputs in table.items():
        for cause, (successor, names) in inputs.items():
            rows[state][cause] = (successor, rows[successor], tuple(actions[name] for name in names))
    state, names = start
    return state, rows[state], tuple(actions[name] for name in names)
