"""When Genesis systems are asked whether they are alive."""

from itertools import pairwise

import pytest

from haproxy.dispatcher.destination import Destination, Rules
from haproxy.dispatcher.probe import AGAIN, Pace, Prober
from haproxy.dispatcher.set import Dispatcher


@pytest.fixture
def dispatcher() -> Dispatcher:
    made = Dispatcher()
    for user in (b"genesis_a", b"genesis_b"):
        made.registered(user, b"sip:" + user, b"flow of " + user, 0.0)
    return made


@pytest.fixture
def prober(dispatcher: Dispatcher) -> Prober:
    made = Prober(dispatcher)
    made.refresh(0.0)
    return made


def answer(prober: Prober, destination: Destination, now: float, status: int = 200) -> None:
    prober.answered(destination, status, now, 0.01, "OPTIONS")


def lose(prober: Prober, destination: Destination, now: float, certain: bool = False) -> None:
    prober.failed(destination, "lost", now, certain=certain, asked=now - 4.0, kind="OPTIONS")


def times(prober: Prober, destination: Destination, end: float, patience: float = 0.0) -> list[float]:
    """When a destination is asked up to a time; each probe is lost after `patience`."""
    found = []
    while (due := prober.get_timer()) is not None and due <= end:
        for each in prober.due(due):
            if each is destination:
                found.append(due)
                lose(prober, each, due + patience)
            else:
                answer(prober, each, due)
    return found


def test_spread_over_the_interval_and_repeated(dispatcher: Dispatcher, prober: Prober) -> None:
    first, second = dispatcher.destinations()
    found = []
    while (due := prober.get_timer()) is not None and due <= 60.0:
        for each in prober.due(due):
            found.append((due, each))
            answer(prober, each, due)
    assert found == [(10.0, first), (20.0, second), (40.0, first), (50.0, second)]


def test_nothing_to_ask() -> None:
    prober = Prober(Dispatcher())
    prober.refresh(0.0)
    assert prober.get_timer() is None
    assert prober.due(100.0) == []


def test_who_registered_before_a_restart_is_asked_at_once() -> None:
    dispatcher = Dispatcher()
    dispatcher.restored(b"genesis_a", b"sip:a", None, 0.0)
    prober = Prober(dispatcher)
    prober.refresh(0.0)
    due = prober.get_timer()
    assert due is not None
    assert due <= AGAIN


def test_not_asked_again_before_the_outcome(prober: Prober) -> None:
    assert len(prober.due(25.0)) == 2
    assert prober.due(60.0) == []


def test_the_second_loss_comes_soon_and_decides(prober: Prober) -> None:
    first = prober.due(10.0)[0]
    lose(prober, first, 14.0)
    assert first.state.value == "probing"
    assert prober.get_timer() == 14.0 + AGAIN
    assert prober.due(16.0) == [first]
    lose(prober, first, 20.0)
    assert first.state.value == "inactive"
    assert prober.outcomes == {"answered": 0, "refused": 0, "failed": 2}


def test_one_whose_answer_we_may_have_lost_is_asked_again_soon(
    dispatcher: Dispatcher, prober: Prober
) -> None:
    first = prober.due(10.0)[0]
    dispatcher.deaf = lambda since: True
    lose(prober, first, 14.0)
    assert first.state.value == "active"
    assert prober.next_of(first) == 14.0 + AGAIN


def test_transport_errors_decide_at_once(prober: Prober) -> None:
    first = prober.due(10.0)[0]
    lose(prober, first, 10.0, certain=True)
    assert first.state.value == "inactive"


@pytest.mark.parametrize("status", [408, 503])
def test_who_answers_that_it_cannot_work_has_failed(prober: Prober, status: int) -> None:
    first = prober.due(10.0)[0]
    answer(prober, first, 10.0, status)
    assert first.state.value == "probing"
    assert first.reason == f"answered {status} to a probe"


def test_the_dead_are_asked_ever_less_often_up_to_the_interval(
    dispatcher: Dispatcher, prober: Prober
) -> None:
    first = dispatcher.destinations()[0]
    asked = times(prober, first, 140.0)
    steps = [round(b - a) for a, b in pairwise(asked)]
    assert steps == [2, 2, 4, 8, 16, 30, 30, 30]


def test_who_answers_again_is_asked_again_soon(prober: Prober) -> None:
    first = prober.due(10.0)[0]
    lose(prober, first, 10.0, certain=True)
    assert prober.due(12.0) == [first]
    answer(prober, first, 12.0)
    assert first.state.value == "inactive"
    assert prober.due(14.0) == [first]
    answer(prober, first, 14.0)
    assert first.state.value == "active"
    assert prober.next_of(first) == 44.0


def test_who_is_held_down_is_asked_when_that_is_over(dispatcher: Dispatcher, prober: Prober) -> None:
    dispatcher.rules = Rules(up=1, hold_down=20.0)
    first = prober.due(10.0)[0]
    lose(prober, first, 10.0, certain=True)
    prober.due(12.0)
    answer(prober, first, 12.0)
    assert first.state.value == "active"
    prober.due(42.0)
    lose(prober, first, 42.0, certain=True)
    prober.due(44.0)
    answer(prober, first, 44.0)
    assert first.state.value == "inactive"
    assert prober.next_of(first) == 62.0


def test_suspicion_asks_at_once_but_not_again_and_again(dispatcher: Dispatcher, prober: Prober) -> None:
    first, second = dispatcher.destinations()
    prober.suspect_flow(b"flow of genesis_a", 5.0)
    assert prober.due(5.0) == [first]
    prober.suspect(first, 5.5)  # asked already
    assert prober.due(5.5) == []
    answer(prober, first, 5.6)
    prober.suspect(first, 5.7)
    assert prober.next_of(first) == 5.0 + AGAIN
    assert prober.next_of(second) == 20.0


def test_who_could_not_be_asked_has_not_failed(prober: Prober) -> None:
    first = prober.due(10.0)[0]
    prober.postponed(first, 10.0)
    assert first.state.value == "active"
    assert prober.due(12.0) == [first]


def test_another_pace_holds_from_the_next_probe(prober: Prober) -> None:
    prober.pace = Pace(interval=5.0)
    first = prober.due(10.0)[0]
    answer(prober, first, 10.0)
    assert prober.next_of(first) == 15.0


def test_who_left_is_forgotten(dispatcher: Dispatcher, prober: Prober) -> None:
    first = prober.due(10.0)[0]
    dispatcher.unregistered(first.uri, first.user, "expired", 11.0)
    prober.refresh(11.0)
    lose(prober, first, 14.0)
    answer(prober, first, 14.0)
    assert first.state.value == "active"
    assert [d.user for d in prober.due(100.0)] == [b"genesis_b"]
