"""When new requests are refused because messages have waited too long, and which."""

from __future__ import annotations

import random
from typing import Any

import pytest

from haproxy.proxy.overload import (
    BEHIND,
    FAR_BEHIND,
    LASTING,
    QUIET,
    REPEATED,
    Overload,
    OverloadBegan,
    OverloadEnded,
)
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response, parse
from haproxy.sip.transaction import RequestReceived
from haproxy.testing.playbook import Playbook, request_bytes
from rtlib.address import pack

GENESIS = Flow("udp", 0, pack("192.0.2.11", 5060))
PHONE = Flow("udp", 0, pack("192.0.2.50", 5060))


class Bench:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.overload = Overload(lambda source: source == GENESIS, self.told.append)

    def refuses(self, method: bytes = b"INVITE", to_tag: bytes = b"", source: Flow = PHONE) -> bool:
        request = parse(request_bytes(method, to_tag=to_tag))
        assert isinstance(request, Request)
        return self.overload.refuses(request, source)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_nothing_is_refused_while_messages_wait_less_than_their_senders_do(bench: Bench) -> None:
    for step in range(100):
        bench.overload.note(BEHIND, False, 1.0 + step / 10)
        assert not bench.refuses()
    assert bench.told == []
    assert not bench.overload.behind_since(0.0)


def test_a_short_pause_is_made_up_for(bench: Bench) -> None:
    for begin in (1.0, 10.0, 20.0):
        for step in range(9):
            bench.overload.note(REPEATED, False, begin + LASTING * step / 10)
            assert not bench.refuses()
    assert bench.told == []


def test_what_is_new_is_refused_where_messages_go_on_waiting(bench: Bench) -> None:
    for step in range(11):
        bench.overload.note(BEHIND + 0.01, False, 1.0 + LASTING * step / 10)
    assert bench.refuses()
    bench.overload.note(BEHIND, False, 1.1 + LASTING)
    assert not bench.refuses()
    assert bench.overload.refused == 1


def test_what_is_sent_again_already_is_refused_at_once(bench: Bench) -> None:
    bench.overload.note(REPEATED + 0.01, False, 1.0)
    assert bench.refuses()


@pytest.mark.parametrize(
    ("method", "to_tag", "refused"),
    [
        (b"INVITE", b"", True),
        (b"MESSAGE", b"", True),
        (b"OPTIONS", b"", True),
        (b"SUBSCRIBE", b"", True),
        (b"INVITE", b";tag=t", False),
        (b"BYE", b";tag=t", False),
        (b"CANCEL", b"", False),
    ],
)
def test_what_belongs_to_a_call_goes_on(bench: Bench, method: bytes, to_tag: bytes, refused: bool) -> None:
    bench.overload.note(10.0, True, 1.0)
    assert bench.refuses(method, to_tag) == refused


def test_a_lost_datagram_is_enough_where_the_buffer_is_small(bench: Bench) -> None:
    bench.overload.note(0.02, True, 1.0)
    assert bench.refuses()
    assert bench.told == [OverloadBegan(0.02, True)]
    bench.overload.note(0.02, False, 1.1)
    assert not bench.refuses()


def test_the_second_leg_of_a_call_is_refused_last(bench: Bench) -> None:
    bench.overload.note(FAR_BEHIND - 0.01, False, 1.0)
    assert not bench.refuses(source=GENESIS)
    assert bench.refuses(source=PHONE)
    bench.overload.note(FAR_BEHIND, False, 1.1)
    assert bench.refuses(source=GENESIS)


def test_begin_and_end_are_told_once_however_often_refusing_comes_and_goes(bench: Bench) -> None:
    for turn in range(10):
        bench.overload.note(REPEATED + 0.1, False, 1.0 + turn)
        assert bench.refuses()
        bench.overload.note(0.0, False, 1.5 + turn)
        bench.overload.handle_timer(1.9 + turn)
    assert bench.told == [OverloadBegan(REPEATED + 0.1, False)]
    assert bench.overload.lasts
    bench.overload.handle_timer(10.0 + QUIET)
    assert bench.told[1:] == [OverloadEnded(9.0, 10)]
    assert not bench.overload.lasts
    bench.overload.note(REPEATED + 0.1, False, 30.0)
    bench.refuses()
    bench.overload.handle_timer(30.0 + QUIET)
    assert bench.told[3:] == [OverloadEnded(0.0, 1)]
    assert bench.overload.times == 2


def test_where_nothing_more_comes_it_ends_too(bench: Bench) -> None:
    bench.overload.note(5.0, False, 1.0)
    bench.overload.handle_timer(1.0 + QUIET)
    assert not bench.overload.refusing


def test_it_is_known_since_when_answers_may_have_been_missed(bench: Bench) -> None:
    bench.overload.note(REPEATED + 0.1, False, 1.0)
    assert bench.overload.behind_since(1.0)
    assert not bench.overload.behind_since(1.1)


def test_the_longest_wait_is_told_once(bench: Bench) -> None:
    for waited in (0.1, 0.2, 0.1):
        bench.overload.note(waited, False, 1.0)
    assert bench.overload.take_longest() == 0.2
    assert bench.overload.take_longest() == 0.0


class TestLayer:
    """A refusal leaves nothing behind; what is known already is not refused."""

    refusing = True

    def make(self) -> Playbook:
        return Playbook(refuses=lambda request, source: self.refusing)

    def test_the_sender_may_try_later(self) -> None:
        book = self.make().hear(request_bytes(b"INVITE"))
        [response] = book.outgoing()
        assert isinstance(response, Response)
        assert (response.status, response.first(b"retry-after")) == (503, b"5")
        book.told()
        assert len(book.layer) == 0

    def test_its_ack_is_nobodys_business(self) -> None:
        book = self.make().hear(request_bytes(b"INVITE"))
        [response] = book.outgoing()
        assert response.to_tag is not None
        book.hear(request_bytes(b"ACK", to_tag=b";tag=" + response.to_tag)).sent().told()

    def test_the_ack_of_a_call_is(self) -> None:
        book = self.make().hear(request_bytes(b"ACK", to_tag=b";tag=t"))
        assert len(book.events()) == 1

    def test_repetitions_of_what_was_taken_are_not_refused(self) -> None:
        self.refusing = False
        book = self.make()
        book.server(b"INVITE")
        self.refusing = True
        book.hear(request_bytes(b"INVITE")).sent().told()
        book.until(0.3).sent("100")
        book.hear(request_bytes(b"INVITE")).sent("100")

    def test_a_repetition_of_what_was_refused_is_refused_when_it_is_over(self) -> None:
        """Its sender has given the call up, or will: it must not reach anybody."""
        book = self.make().hear(request_bytes(b"INVITE")).sent("503")
        self.refusing = False
        book.hear(request_bytes(b"INVITE")).sent("503").told()
        book.hear(request_bytes(b"INVITE", branch=b"z9hG4bKanother")).sent().told(RequestReceived)

    def test_so_many_are_remembered_for_so_long(self) -> None:
        book = self.make()
        branches = [b"z9hG4bK%d" % number for number in range(20_001)]
        for branch in branches:
            book.hear(request_bytes(b"MESSAGE", branch=branch)).sent("503")
        self.refusing = False
        book.hear(request_bytes(b"MESSAGE", branch=branches[-1])).sent("503")
        book.hear(request_bytes(b"MESSAGE", branch=branches[1])).sent("503").told()
        book.hear(request_bytes(b"MESSAGE", branch=branches[0])).told(RequestReceived)
        book.until(33.0).events()
        book.hear(request_bytes(b"MESSAGE", branch=branches[-1])).told(RequestReceived)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_it_ends_when_there_is_quiet(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    now = 0.0
    for _ in range(200):
        now += chance.random()
        waited = chance.choice([0.0, 0.05, 0.2, 0.4, 2.0])
        bench.overload.note(waited, chance.random() < 0.1, now)
        bench.overload.handle_timer(now)
    bench.overload.handle_timer(now + QUIET)
    assert not bench.overload.refusing
    assert [type(each) for each in bench.told[-2:]] == [OverloadBegan, OverloadEnded]
