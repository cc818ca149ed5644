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
    reached = {start.state}
    while True:
        more = {successor for each in reached for successor, _ in table[each].values()} | reached
        if more == reached:
            break
        reached = more
    assert reached == set(table)
    assert table[State.terminated] == {}


@pytest.mark.parametrize(("start", "table"), MACHINES)
def test_every_started_timer_has_a_row_where_it_fires(start: Start, table: Table) -> None:
    assert start.again in table[start.state]
    assert start.limit is None or start.limit in table[start.state]
    for successor, actions in (step for rows in table.values() for step in rows.values()):
        for action in actions:
            if action is Action.start_e_at_t2:
                timer = Input.timer_e
            elif action.startswith("start_"):
                timer = Input(action.removeprefix("start_").upper())
            else:
                continue
            assert timer in table[successor], (successor, timer)


def test_all_timers_stop_before_anything_else_is_done() -> None:
    steps = [step for _, table in MACHINES for rows in table.values() for step in rows.values()]
    assert {actions.index(Action.stop) for _, actions in steps if Action.stop in actions} == {0}


def test_nothing_is_unused() -> None:
    rows = [row for _, table in MACHINES for inputs in table.values() for row in inputs.items()]
    assert {cause for cause, _ in rows} == set(Input)
    assert {action for _, (_, actions) in rows for action in actions} == set(Action)


def test_reason_phrases() -> None:
    assert reason_of(486) == b"Busy Here"
    assert (reason_of(199), reason_of(299), reason_of(499)) == (REASONS[199], b"OK", b"Client Error")


def test_timers_follow_t1() -> None:
    assert (Timers().limit, Timers().d, Timers().non_invite_trying) == (32.0, 32.0, 3.5)
    fast = Timers(t1=0.05, t2=0.4, t4=0.5)
    assert (fast.limit, fast.d) == (3.2, 3.2)
