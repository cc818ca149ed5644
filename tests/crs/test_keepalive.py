"""Watching silent clients."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from crs.keepalive import GRACE, INTERVAL, KeepAlive, Watch, probe


class Place:
    """A watch in seconds that pass, and what it has said."""

    def __init__(self, policy: KeepAlive) -> None:
        self.now = 0.0
        self.asked: list[float] = []
        self.gone: list[float] = []
        self.watch = Watch(policy, self.now)
        self.due: float | None = policy.interval

    def advance(self, seconds: float) -> None:
        self.now += seconds
        if self.due is None or self.now < self.due:
            return
        found = self.watch.look(self.now)
        if found is None:
            self.gone.append(self.now)
            self.due = None
        else:
            ask, self.due = found
            assert self.due > self.now
            if ask:
                self.asked.append(self.now)

    def heard(self) -> None:
        due = self.watch.heard(self.now)
        if due is not None:
            self.due = due


def test_who_never_says_anything_is_gone() -> None:
    place = Place(KeepAlive())
    for _ in range(2000):
        place.advance(1.0)
    assert (place.asked, place.gone) == ([INTERVAL], [INTERVAL + GRACE])


def test_who_answers_is_asked_again_after_the_next_silence() -> None:
    place = Place(KeepAlive("ws", 10, 2))
    place.advance(10)
    place.advance(1)
    place.heard()
    for _ in range(30):
        place.advance(0.5)
    assert (place.asked, place.gone) == ([10, 21], [23])


@given(st.lists(st.integers(1, 40), max_size=40))
def test_asked_after_each_silence_and_only_then(pauses: list[int]) -> None:
    """A client that always answers in time is asked once in each silence that is long enough."""
    place = Place(KeepAlive("ws", 20, 21))
    expected: list[float] = []
    for pause in pauses:
        if pause >= 20:
            expected.append(place.now + 20)
        for _ in range(pause):
            place.advance(1.0)
        place.heard()
    assert (place.asked, place.gone) == (expected, [])


def test_the_kernel_probes() -> None:
    with socket.socket() as sock:
        probe(sock, KeepAlive("tcp", 4.5))
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [5, 10, 3]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
