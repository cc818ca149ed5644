"""A client that comes back by itself, against a server that a test plays."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from crs.client import websocket
from crs.client.call import CallState
from crs.client.credentials import Credentials, Server
from crs.client.error import ClientError, Closed, Denied, Refused, Unreachable
from crs.client.lasting import CALL_GRACE, Backoff, LastingClient
from crs.client.played import Log, PlayedLink, delivered, finished, invited, start, welcome
from crs.signaling import message
from crs.signaling.message import ErrorCode


class Place:
    """A client that is attached; each connection is a new link, unless there is a problem."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.links: list[PlayedLink] = []
        self.problem: ClientError | None = None
        self.hanging: Deferred[None] | None = None
        monkeypatch.setattr(websocket, "connect", self._connect)
        self.clock = Clock()
        self.log = Log()
        credentials = Credentials("+461", "demo", bytes(32))
        self.client = LastingClient(self.clock, Server("crs", 5223), credentials, self.log)
        assert finished(self.client.connect()) is None
        attaching = start(self.client.attach())
        self.tell(welcome(self.link.sent[0].id))
        assert attaching[0].resumed is False

    async def _connect(self, _reactor: Any, _server: Any, _who: Any, receiver: Any) -> PlayedLink:
        if self.problem is not None:
            raise self.problem
        if self.hanging is not None:
            await self.hanging
        self.links.append(PlayedLink(receiver))
        return self.links[-1]

    @property
    def link(self) -> PlayedLink:
        return self.links[-1]

    def tell(self, *messages: Any) -> None:
        for each in messages:
            self.link.receiver.message(message.encode(each))

    def cut(self, code: int | None = None) -> None:
        self.link.receiver.lost(Closed("cut", code))

    def come_back(self, **changes: Any) -> message.Attach:
        """The connection is there again, and the attach is answered."""
        self.clock.advance(60)
        request = self.link.sent[0]
        assert isinstance(request, message.Attach)
        self.tell(welcome(request.id, **({"resumed": True} | changes)))
        return request


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def test_it_resumes_where_it_was(place: Place) -> None:
    place.tell(invited(), message.Ok(id=99))
    place.cut()
    request = place.come_back()
    assert request.resume == message.Resume(token=b"token", received=2)
    call, *news = place.log.told
    assert call.state is CallState.invite
    assert news == ["interrupted: cut", "returned: True"]
    assert not place.client.lost.decided


def test_requests_that_did_not_arrive_are_sent_again_and_later_ones_behind_them(place: Place) -> None:
    posts = [start(place.client.post("+462", b"x", label=label)) for label in ("m1", "m2")]
    place.cut()
    posts.append(start(place.client.post("+462", b"x", label="m3")))
    place.clock.advance(1)
    place.tell(welcome(place.link.sent[0].id, resumed=True, received=1))
    sent = place.link.sent[1:]
    assert [each.message for each in sent] == ["m2", "m3"]
    place.tell(*(message.Posted(id=number, message="m") for number in (2, sent[0].id, sent[1].id)))
    assert posts == [["m1"], ["m2"], ["m3"]]


def test_who_could_not_resume_does_not_know(place: Place) -> None:
    place.tell(invited())
    posting = start(place.client.post("+462", b"x"))
    place.cut()
    place.clock.advance(1)
    place.tell(welcome(place.link.sent[0].id))
    assert isinstance(posting[0].value, Closed)
    assert place.log.told[0].state is CallState.invite, "the server keeps it for a while"


def test_after_a_crash_of_the_server_the_calls_are_gone(place: Place) -> None:
    place.tell(invited())
    place.cut()
    place.come_back(resumed=False, instance="run 2")
    assert place.log.told[0].state is CallState.ended


def test_after_the_grace_period_the_calls_are_gone(place: Place) -> None:
    place.tell(invited())
    place.problem = Unreachable("nobody is there")
    place.cut()
    for _ in range(int(CALL_GRACE) + 1):
        place.clock.advance(1)
    place.problem = None
    place.come_back(resumed=False)
    assert place.log.told[0].state is CallState.ended


@pytest.mark.parametrize("code", [1000, 1008, 4000, 4003])
def test_who_is_sent_away_stays_away(place: Place, code: int) -> None:
    place.cut(code)
    assert place.client.lost.decided
    assert place.log.told == ["cut"]
    assert place.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "problem", [Denied("wrong key"), Closed("superseded", 4000), Refused(ErrorCode.denied, "no")]
)
def test_it_gives_up_when_there_is_no_sense_in_trying(place: Place, problem: ClientError) -> None:
    place.problem = problem
    place.cut()
    place.clock.advance(1)
    assert place.log.told == ["interrupted: cut", str(problem)]
    assert place.clock.getDelayedCalls() == []


def test_it_tries_until_it_succeeds(place: Place) -> None:
    place.problem = Unreachable("nobody is there")
    place.cut()
    for _ in range(300):
        place.clock.advance(1)
    place.problem = None
    place.clock.advance(60)
    # The connection is lost again before the attach is answered, and a stale link says something.
    stale = place.link
    place.cut()
    place.come_back()
    stale.receiver.lost(Closed("stale"))
    stale.receiver.message(message.encode(message.Detached(reason="stale")))
    assert place.log.told == ["interrupted: cut", "returned: True"]


def test_who_detached_does_not_come_back(place: Place) -> None:
    start(place.client.detach())
    place.tell(message.Ok(id=2))
    place.cut()
    assert place.log.told == ["cut"]


def test_closed_while_it_is_away(place: Place) -> None:
    place.tell(invited())
    place.cut()
    assert start(place.client.close()) == [None]
    assert place.log.told[0].state is CallState.ended
    assert place.log.told[-1] == "closed"
    assert place.clock.getDelayedCalls() == []


@pytest.mark.parametrize("how", [Unreachable("the name was not resolved"), CancelledError()])
def test_closed_while_it_connects(place: Place, how: Exception) -> None:
    """An endpoint says in its own way that it was cancelled."""
    place.hanging = Deferred(lambda deferred: deferred.errback(how))
    place.cut()
    place.clock.advance(1)
    assert start(place.client.close()) == [None]
    assert place.client.lost.decided
    assert place.clock.getDelayedCalls() == []


def test_a_call_begun_while_it_is_away_knows_where_the_relay_is(place: Place) -> None:
    place.cut()
    assert place.client._host == "192.0.2.1"


def test_closed_while_it_attaches(place: Place) -> None:
    place.cut()
    place.clock.advance(1)
    assert len(place.links) == 2
    assert start(place.client.close()) == [None]
    assert place.link.aborted
    assert place.clock.getDelayedCalls() == []


def test_it_confirms_what_arrives(place: Place) -> None:
    place.log.take = False
    for _ in range(16):
        place.tell(delivered())
    assert place.link.sent[1:] == [message.Seen(id=2, count=16)]


def test_pauses_grow_and_are_random() -> None:
    backoff = Backoff(first=1, longest=8)
    pauses = backoff.pauses(None)
    limits = [1, 2, 4, 8, 8, 8]
    drawn = [next(pauses) for _ in limits]
    assert all(0 <= pause <= limit for pause, limit in zip(drawn, limits, strict=True))
    assert len(set(drawn)) > 1
    assert 1 <= next(backoff.pauses(4001)) <= 10
