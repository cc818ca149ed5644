"""The table of transactions: how many it holds, who makes room, what is kept of each, who is found in it."""

from __future__ import annotations

import pytest

from haproxy.sip.flow import Flow
from haproxy.sip.state import State
from haproxy.sip.transaction import (
    LayerFull,
    RequestReceived,
    ResponseReceived,
    Terminated,
    TransportError,
)
from haproxy.testing.playbook import Playbook, request_bytes
from rtlib.address import pack


def test_full() -> None:
    book = Playbook(limit=1)
    book.server(b"OPTIONS")
    book.hear(request_bytes(b"OPTIONS", branch=b"z9hG4bK2")).hear(
        request_bytes(b"OPTIONS", branch=b"z9hG4bK2")
    )
    first, second = book.outgoing()
    assert bytes(first) == bytes(second)
    assert bytes(first).startswith(b"SIP/2.0 503 ")
    assert first.first(b"retry-after") == b"5"
    assert first.to_tag
    book.hear(request_bytes(b"OPTIONS")).told()
    assert book.layer.counters.refused == 1  # however often it comes
    book.client(b"OPTIONS")
    book.client(b"OPTIONS")
    with pytest.raises(LayerFull):
        book.client(b"OPTIONS")


def test_those_that_are_answered_make_room() -> None:
    book = Playbook(limit=2)
    ringing, answered = book.server(b"INVITE"), book.server(b"OPTIONS", branch=b"z9hG4bK2")
    book.respond(answered, 200)
    book.outgoing()
    ended, received = book.hear(request_bytes(b"OPTIONS", branch=b"z9hG4bK3")).events()
    assert isinstance(ended, Terminated) and ended.transaction is answered
    assert isinstance(received, RequestReceived)
    assert answered.state is State.terminated
    assert set(book.layer.transactions()) == {ringing, received.transaction}
    # None of these two may end: now there is no room.
    book.hear(request_bytes(b"OPTIONS", branch=b"z9hG4bK4"))
    assert bytes(book.outgoing()[-1]).startswith(b"SIP/2.0 503 ")
    assert (book.layer.counters.shortened, book.layer.counters.refused) == (1, 1)


def test_answered_requests_of_ours_make_room() -> None:
    book = Playbook(limit=1)
    first, second = book.client(b"OPTIONS"), book.client(b"OPTIONS")
    book.answer(second, 200)
    third = book.client(b"OPTIONS")
    assert second.state is State.terminated
    assert set(book.layer.transactions()) == {first, third}
    with pytest.raises(LayerFull):
        book.client(b"OPTIONS")


def test_an_accepted_invite_keeps_neither_its_request_nor_its_response() -> None:
    book = Playbook()
    transaction = book.server(b"INVITE")
    book.respond(transaction, 180).sent("180")
    book.layer.shed(transaction)
    assert transaction.sent
    book.respond(transaction, 200).sent("200")
    book.layer.shed(transaction)
    assert (transaction.state, transaction.sent) == (State.accepted, b"")
    for late in (lambda: transaction.request.body, lambda: transaction.request.uri):
        with pytest.raises(AttributeError):
            late()
    assert transaction.method == b"INVITE"
    book.hear(request_bytes(b"INVITE")).sent()
    other = book.client(b"INVITE").request.response(200, to_tag=b"t")
    book.layer.respond(transaction, other, book.now)
    book.sent("200")


def test_abandoned_transactions_are_gone_without_a_word() -> None:
    book = Playbook()
    client, server = book.client(b"INVITE"), book.server(b"INVITE")
    book.layer.abandon(client)
    book.layer.abandon(server)
    assert list(book.layer.transactions()) == []
    book.until(100.0).sent().told()
    book.respond(server, 200).sent().told()
    assert book.layer.get_timer() is None


def test_what_is_over_cannot_take_its_successor_along() -> None:
    book = Playbook()
    first = book.server(b"OPTIONS")
    book.layer.abandon(first)
    second = book.server(b"OPTIONS")
    book.layer.abandon(first)
    assert list(book.layer.transactions()) == [second]


def test_transport_errors_touch_only_their_flow_and_searches_are_rare() -> None:
    book = Playbook()
    book.client(b"OPTIONS")
    book.layer.transport_error(Flow("udp", 1, pack("192.0.2.77", 5060)), book.now)
    book.until(0.01).told()
    book.layer.transport_error(book.flow, book.now)
    book.until(0.05).told()
    book.until(0.2).told(TransportError, Terminated)


def test_a_search_looks_at_those_that_wait_and_not_at_those_that_linger() -> None:
    """A system that dies under load leaves thousands behind, and is searched for ten times a second."""
    book = Playbook()
    for number in range(50):
        book.respond(book.server(b"OPTIONS", branch=b"z9hG4bK%d" % number), 200)
        book.sent("200").answer(book.client(b"INVITE"), 200).told(ResponseReceived)
    book.until(2.0)
    ringing, waiting = book.client(b"INVITE"), book.client(b"INVITE")
    book.answer(ringing, 180).until(4.0)
    assert len(book.layer) == 102
    assert list(book.layer.waiting()) == [waiting]


def test_listing() -> None:
    book = Playbook()
    server, client = book.server(b"OPTIONS"), book.client(b"INVITE")
    assert list(book.layer.transactions()) == [server, client]
    assert (server.method, client.method) == (b"OPTIONS", b"INVITE")
    assert repr(server).startswith("<ServerTransaction trying OPTIONS ")
