"""The client against a server that a test plays: messages go across by hand."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from crs.client import client as client_module
from crs.client import websocket
from crs.client.call import CallState
from crs.client.client import Client
from crs.client.credentials import Credentials, Server
from crs.client.error import Closed, Refused
from crs.client.listener import Listener
from crs.client.played import Log, PlayedLink, delivered, finished, invited, start, welcome
from crs.signaling import message
from crs.signaling.message import EndReason, ErrorCode, Kind, Who


class Fixture:
    """A connected client and both ends of its link."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, listener: Listener | None = None) -> None:
        async def connect(_reactor: Any, _server: Any, _who: Any, receiver: websocket.Receiver) -> PlayedLink:
            self.link = PlayedLink(receiver)
            return self.link

        monkeypatch.setattr(websocket, "connect", connect)
        self.clock = Clock()
        self.log = Log()
        credentials = Credentials("+461", "demo", bytes(32))
        self.client = Client(self.clock, Server("crs", 5223), credentials, listener or self.log)
        assert finished(self.client.connect()) is None

    def tell(self, *messages: Any) -> None:
        """What the server sends."""
        for each in messages:
            self.link.receiver.message(message.encode(each))


@pytest.fixture
def fixture(monkeypatch: pytest.MonkeyPatch) -> Fixture:
    return Fixture(monkeypatch)


def test_attach(fixture: Fixture) -> None:
    attaching = start(fixture.client.attach())
    (sent,) = fixture.link.sent
    assert (sent.id, sent.version) == (1, client_module.VERSION)
    attached = welcome()
    fixture.tell(attached)
    assert attaching == [attached]


@pytest.mark.parametrize("take", [True, False])
def test_an_item_that_was_taken_is_confirmed(fixture: Fixture, take: bool) -> None:
    fixture.log.take = take
    fixture.tell(delivered())
    assert fixture.log.told == [delivered()]
    expected = message.Ack(id=1, kind=Kind.content, message="m1", sender="+462", account="demo")
    assert fixture.link.sent == ([expected] if take else [])


def test_a_confirmation_that_the_server_could_not_take_is_repeated(fixture: Fixture) -> None:
    def refuse(code: ErrorCode) -> None:
        fixture.tell(message.Error(id=fixture.link.sent[-1].id, code=code, reason="not now"))

    fixture.tell(delivered())
    refuse(ErrorCode.unavailable)
    assert len(fixture.link.sent) == 1
    fixture.clock.advance(0.5)
    refuse(ErrorCode.limit)
    fixture.clock.advance(0.5)
    assert len(fixture.link.sent) == 2, "each pause is longer"
    fixture.clock.advance(0.5)
    refuse(ErrorCode.not_found)
    fixture.clock.advance(60)
    assert len(fixture.link.sent) == 3, "it makes no sense any more"
    fixture.tell(delivered(message="m2"))
    refuse(ErrorCode.unavailable)
    fixture.link.abort()
    assert fixture.clock.getDelayedCalls() == []


def test_a_receipt_is_confirmed_by_default(fixture: Fixture) -> None:
    fixture.tell(delivered(kind=Kind.ack))
    (ack,) = fixture.link.sent
    assert (ack.kind, ack.message, ack.sender) == (Kind.ack, "m1", "+462")
    fixture.tell(message.Error(id=1, code=ErrorCode.unavailable, reason="no"))  # no unhandled error


def test_by_default_messages_stay_and_calls_are_refused_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    fixture = Fixture(monkeypatch, Listener())
    fixture.tell(delivered(), invited())
    (hangup,) = fixture.link.sent
    assert hangup == message.Hangup(id=1, session="s1", caller="+462", reason=EndReason.busy)


def test_a_listener_that_raises_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Log):
        def message(self, item: message.Deliver) -> bool:
            raise RuntimeError("defect of the application")

    with capturedLogs() as events:
        fixture = Fixture(monkeypatch, Broken())
        fixture.tell(delivered())
    assert fixture.link.sent == [], "not taken, so not confirmed"
    assert any("log_failure" in event for event in events)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x81\xa4type\xa6\xf3ealed", msgspec.msgpack.encode({"type": "from-the-future"})]
)
def test_what_the_client_does_not_understand_is_ignored(fixture: Fixture, data: bytes) -> None:
    fixture.link.receiver.message(data)
    fixture.tell(message.Detached(reason="superseded"))
    assert fixture.log.told == ["superseded"]


def test_events_of_calls_that_are_not_there_are_ignored(fixture: Fixture) -> None:
    fixture.tell(
        message.Rang(session="s9", payload=b""),
        message.Answered(session="s9", payload=b""),
        message.Ended(session="s9", caller="+461", reason=EndReason.hangup, who=Who.callee),
        message.Ok(id=99),
        message.Error(id=None, code=ErrorCode.bad_message, reason="?"),
    )
    assert fixture.log.told == []


def test_a_repeated_invite_is_no_second_call(fixture: Fixture) -> None:
    fixture.tell(invited(), invited(), invited(session="s2"))
    assert [call.parties.session for call in fixture.log.told] == ["s1", "s2"]
    fixture.tell(message.Ended(session="s1", caller="+462", reason=EndReason.cancel, who=Who.caller))
    assert fixture.log.told[0].state is CallState.ended
    fixture.tell(invited())
    assert len(fixture.log.told) == 3


def test_a_call_without_legs_cannot_be_answered(fixture: Fixture) -> None:
    fixture.tell(invited())
    (call,) = fixture.log.told
    answering = start(call.answer())
    (hangup,) = fixture.link.sent
    assert (hangup.session, hangup.reason) == ("s1", EndReason.decline)
    fixture.tell(message.Ok(id=1))
    assert "0 legs" in str(answering[0].value)


def test_a_refused_call_is_forgotten(fixture: Fixture) -> None:
    calling = start(fixture.client.call("+463"))
    (invite,) = fixture.link.sent
    assert (invite.to, invite.account, len(invite.streams)) == ("+463", "demo", 1)
    fixture.tell(message.Error(id=1, code=ErrorCode.not_connected, reason="+463@demo is not attached"))
    assert isinstance(calling[0].value, Refused)
    assert finished(fixture.client.close()) is None
    assert fixture.link.sent == [invite], "there is nothing to hang up"


def test_a_server_that_gives_no_legs_is_refused(fixture: Fixture) -> None:
    calling = start(fixture.client.call("+463"))
    session = fixture.link.sent[0].session
    fixture.tell(message.Inviting(id=1, session=session, relays=[]))
    assert fixture.link.sent[1].reason is EndReason.cancel
    fixture.tell(message.Ok(id=2))
    assert "0 legs, not 1" in str(calling[0].value)


def test_posts_carry_the_label_of_their_repetition(fixture: Fixture) -> None:
    posting = start(fixture.client.post("+463", b"text", label="m7", ttl=60))
    (post,) = fixture.link.sent
    assert post == message.Post(id=1, message="m7", to="+463", account=None, payload=b"text", ttl=60)
    fixture.tell(message.Posted(id=1, message="m7"))
    assert posting == ["m7"]


def test_a_lost_connection_ends_everything(fixture: Fixture) -> None:
    fixture.tell(invited())
    (call,) = fixture.log.told
    asking = start(fixture.client.detach())
    fixture.link.receiver.lost(Closed("the network is gone"))
    asked_later = start(fixture.client.detach())
    assert [str(result[0].value) for result in (asking, asked_later)] == ["the network is gone"] * 2
    assert call.state is CallState.ended
    assert fixture.log.told[-1] == "the network is gone"
    assert finished(fixture.client.close()) is None
    assert fixture.clock.getDelayedCalls() == []


def test_close_hangs_up_and_waits(fixture: Fixture) -> None:
    fixture.tell(invited())
    closing = start(fixture.client.close())
    (hangup,) = fixture.link.sent
    assert hangup.reason is EndReason.decline
    assert closing == []
    fixture.tell(message.Ok(id=1))
    assert closing == [None]
    assert fixture.clock.getDelayedCalls() == []


def test_a_server_that_does_not_close_is_cut_off(fixture: Fixture) -> None:
    fixture.link.deaf = True
    closing = start(fixture.client.close())
    fixture.clock.advance(client_module.CLOSE_TIMEOUT)
    assert closing == [None]
    assert fixture.link.aborted


def test_before_connecting_everything_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(Clock(), Server("crs", 5223), Credentials("+461", "demo", bytes(32)))
    for work in (client.attach, client.detach, lambda: client.call("+462"), lambda: client.post("+462", b"")):
        do: Callable[[], Any] = work
        assert isinstance(finished(do()).value, Closed)
    assert finished(client.close()) is None
