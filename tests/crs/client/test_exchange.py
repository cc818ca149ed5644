from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from crs.client import exchange
from crs.client.error import Closed, NoAnswer, Refused
from crs.client.exchange import Exchange
from crs.signaling.message import Attach, Attached, Detach, Error, ErrorCode, Ok, decode_client_message


class Talk:
    """An open exchange, what it sent, and how the requests ended."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[Any] = []
        self.exchange = Exchange(self.clock, lambda data: self.sent.append(decode_client_message(data)))
        self.exchange.open()

    def detach(self) -> list[Any]:
        results: list[Any] = []
        asking = self.exchange.ask(lambda number: Detach(id=number), Ok)
        Deferred.fromCoroutine(asking).addBoth(results.append)
        return results


def test_replies_find_their_requests_in_any_order() -> None:
    talk = Talk()
    first, second = talk.detach(), talk.detach()
    assert talk.sent == [Detach(id=1), Detach(id=2)]
    talk.exchange.answered(Ok(id=2))
    assert (first, second) == ([], [Ok(id=2)])
    talk.exchange.answered(Ok(id=1))
    assert first == [Ok(id=1)]
    assert talk.clock.getDelayedCalls() == []


def test_a_refusal_is_raised_with_its_code() -> None:
    talk = Talk()
    outcome = talk.detach()
    talk.exchange.answered(Error(id=1, code=ErrorCode.limit, reason="slow down"))
    error = outcome[0].value
    assert isinstance(error, Refused)
    assert (error.code, str(error)) == (ErrorCode.limit, "slow down (limit)")


def test_replies_to_nothing_are_ignored() -> None:
    talk = Talk()
    talk.exchange.answered(Ok(id=9))
    talk.exchange.answered(Error(id=None, code=ErrorCode.bad_message, reason="what?"))
    outcome = talk.detach()
    talk.exchange.answered(Ok(id=1))
    talk.exchange.answered(Ok(id=1))
    assert outcome == [Ok(id=1)]


def test_a_late_reply_is_ignored() -> None:
    talk = Talk()
    outcome = talk.detach()
    talk.clock.advance(exchange.REPLY_TIMEOUT)
    assert isinstance(outcome[0].value, NoAnswer)
    talk.exchange.answered(Ok(id=1))
    assert len(outcome) == 1


def test_a_reply_of_another_type_is_no_answer() -> None:
    talk = Talk()
    results: list[Any] = []
    asking = talk.exchange.ask(lambda number: Attach(id=number, version="x"), Attached)
    Deferred.fromCoroutine(asking).addBoth(results.append)
    talk.exchange.answered(Ok(id=1))
    assert "answered Attach with Ok" in str(results[0].value)


def test_closing_fails_what_waits_and_what_comes_later() -> None:
    talk = Talk()
    waiting = talk.detach()
    talk.exchange.close(Closed("gone"))
    assert [str(results[0].value) for results in (waiting, talk.detach())] == ["gone", "gone"]
    assert len(talk.sent) == 1
    assert talk.clock.getDelayedCalls() == []


def test_nothing_is_sent_before_it_is_open() -> None:
    sent: list[bytes] = []
    results: list[Any] = []
    asking = Exchange(Clock(), sent.append).ask(lambda number: Detach(id=number), Ok)
    Deferred.fromCoroutine(asking).addBoth(results.append)
    assert isinstance(results[0].value, Closed)
    assert sent == []


def test_waiting_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_WAITING", 2)
    talk = Talk()
    talk.detach()
    talk.detach()
    assert isinstance(talk.detach()[0].value, NoAnswer)
    talk.exchange.answered(Ok(id=1))
    assert talk.detach() == []
    talk.exchange.close(Closed("end"))
