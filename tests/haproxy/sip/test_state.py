"""The tables themselves: complete, closed, and every action and input in use."""

from __future__ import annotations

import pytest

from haproxy.sip import state
from haproxy.sip.state import Action, Input, Start, State, Table
from haproxy.sip.status import REASONS, reason_of
from haproxy.sip.timers import Timers

MACHINES = [
    (state.INVITE_CLIENT_START, state.INVITE_CLIENT),
    (state.NON_INVITE_CLIENT_START, state.NON_INVITE_CLIENT),
    (state.INVITE_SERVER_START, state.INVITE_SERVER),
    (state.NON_INVITE_SERVER_START, state.NON_INVITE_SERVER),
]


@pytest.mark.parametrize(("start", "table"), MACHINES)
def test_every_state_is_reached_and_every_machine_ends(start: Start, table: Table) -> None:
    reached = {start[0]}
    while True:
        more = {successor for each in reached for successor, _ in table[each].values()} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(table)
    assert table[State.terminated] == {}


@pytest.mark.parametrize(("start", "table"), MACHINES)
def test_every_started_timer_has_a_row_where_it_fires(start: Start, table: Table) -> None:
    steps = [start, *(step for rows in table.values() for step in rows.values())]
    for successor, actions in steps:
        for action in actions:
            if action in {Action.start_e_at_t2, Action.start_trying}:
                timer = Input.timer_e if action is Action.start_e_at_t2 else Input.timer_trying
            elif action.startswith("start_"):
                timer = Input(action.removeprefix("start_").upper())
            else:
                continue
            assert timer in table[successor], (successor, timer)


def test_nothing_is_unused() -> None:
    rows = [row for _, table in MACHINES for inputs in table.values() for row in inputs.items()]
    starts = {action for (_, actions), _ in MACHINES for action in actions}
    assert {cause for cause, _ in rows} == set(Input)
    assert {action for _, (_, actions) in rows for action in actions} | starts == set(Action)


def test_reason_phrases() -> None:
    assert reason_of(486) == b"Busy Here"
    assert (reason_of(199), reason_of(299), reason_of(499)) == (REASONS[199], b"OK", b"Client Error")


def test_timers_follow_t1() -> None:
    assert (Timers().limit, Timers().d, Timers().non_invite_trying) == (32.0, 32.0, 3.5)
    fast = Timers(t1=0.05, t2=0.4, t4=0.5)
    assert (fast.limit, fast.d) == (3.2, 3.2)
