"""Watching silent clients."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from crs.keepalive import GRACE, INTERVAL, KeepAlive, Watch, probe


class Place:
    """A watch, and what it has done."""

    def __init__(self, policy: KeepAlive) -> None:
        self.clock = Clock()
        self.asked: list[float] = []
        self.gone: list[float] = []
        self.watch = Watch(self.clock, policy, self._ask, self._gone)

    def _ask(self) -> None:
        self.asked.append(self.clock.seconds())

    def _gone(self) -> None:
        self.gone.append(self.clock.seconds())


def test_who_never_says_anything_is_gone() -> None:
    place = Place(KeepAlive())
    place.clock.pump([1.0] * 2000)
    assert (place.asked, place.gone) == ([INTERVAL], [INTERVAL + GRACE])
    assert place.clock.getDelayedCalls() == []


def test_who_answers_is_asked_again_after_the_next_silence() -> None:
    place = Place(KeepAlive("ws", 10, 2))
    place.clock.advance(10)
    place.clock.advance(1)
    place.watch.heard()
    place.clock.pump([0.5] * 30)
    assert (place.asked, place.gone) == ([10, 21], [23])


def test_a_watch_that_is_stopped_leaves_nothing() -> None:
    place = Place(KeepAlive("ws", 10, 2))
    place.watch.stop()
    place.watch.stop()
    assert place.clock.getDelayedCalls() == []


@given(st.lists(st.integers(1, 40), max_size=40))
def test_asked_after_each_silence_and_only_then(pauses: list[int]) -> None:
    """A client that always answers in time is asked once in each silence that is long enough."""
    place = Place(KeepAlive("ws", 20, 21))
    expected: list[float] = []
    for pause in pauses:
        if pause >= 20:
            expected.append(place.clock.seconds() + 20)
        place.clock.pump([1.0] * pause)
        place.watch.heard()
    assert (place.asked, place.gone) == (expected, [])


def test_the_kernel_probes() -> None:
    with socket.socket() as sock:
        probe(sock, KeepAlive("tcp", 4.5))
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [5, 10, 3]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
