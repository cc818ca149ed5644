"""When Genesis systems are asked whether they are alive."""

import pytest

from haproxy.dispatcher.probe import AGAIN, Prober
from haproxy.dispatcher.set import Destination, Dispatcher


@pytest.fixture
def dispatcher() -> Dispatcher:
    made = Dispatcher()
    for user in (b"genesis_a", b"genesis_b"):
        made.registered(user, b"sip:" + user, None, 0.0)
    return made


def asked(prober: Prober, start: float, end: float) -> list[tuple[float, Destination]]:
    """Everything asked between two times, each answered at once."""
    found = []
    while (due := prober.get_timer()) is not None and due <= end:
        for destination in prober.due(max(due, start)):
            found.append((due, destination))
            prober.answered(destination, 200, due)
    return found


def test_spread_over_the_interval_and_repeated(dispatcher: Dispatcher) -> None:
    prober = Prober(dispatcher, 30.0)
    assert prober.get_timer() is None
    prober.refresh(0.0)
    first, second = dispatcher.destinations()
    assert asked(prober, 0.0, 60.0) == [(10.0, first), (20.0, second), (40.0, first), (50.0, second)]


def test_not_asked_again_before_the_outcome(dispatcher: Dispatcher) -> None:
    prober = Prober(dispatcher, 30.0)
    prober.refresh(0.0)
    assert len(prober.due(25.0)) == 2
    assert prober.due(60.0) == []


def test_the_second_loss_comes_soon_and_decides(dispatcher: Dispatcher) -> None:
    prober = Prober(dispatcher, 30.0)
    prober.refresh(0.0)
    first = prober.due(10.0)[0]
    prober.failed(first, "lost", 14.0)
    assert first.state.value == "probing"
    assert prober.get_timer() == 14.0 + AGAIN
    assert prober.due(16.0) == [first]
    prober.failed(first, "lost", 20.0)
    assert first.state.value == "inactive"


def test_transport_errors_decide_at_once(dispatcher: Dispatcher) -> None:
    prober = Prober(dispatcher, 30.0)
    prober.refresh(0.0)
    first = prober.due(10.0)[0]
    prober.failed(first, "refused", 10.0, certain=True)
    assert first.state.value == "inactive"


def test_who_left_is_forgotten(dispatcher: Dispatcher) -> None:
    prober = Prober(dispatcher, 30.0)
    prober.refresh(0.0)
    first = prober.due(10.0)[0]
    dispatcher.unregistered(first.uri, first.user, "expired")
    prober.refresh(11.0)
    prober.failed(first, "lost", 14.0)
    assert first.state.value == "active"
    assert [d.user for d in prober.due(100.0)] == [b"genesis_b"]
