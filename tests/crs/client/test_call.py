"""Both ends of a call, against a server that a test plays; the relay is a socket that may keep silent."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from crs.client import call as calls
from crs.client import leg
from crs.client.call import IncomingCall, OutgoingCall
from crs.client.error import CallEnded, NoAnswer
from crs.client.exchange import Exchange
from crs.client.keying import KeyingError, KeyOffer, Parties, accept
from crs.relay import packet
from crs.signaling import message
from crs.signaling.message import EndReason, Relay, RelayKind, Who
from rtlib.testing.loop import installed_reactor, run

PARTIES = Parties("s1", "+461", "demo", "+462", "demo")


class Server:
    """Answers requests as it is told, and keeps them; its relay confirms binds when asked to."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.exchange = Exchange(installed_reactor(), self._take)
        self.exchange.open()
        self.relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.relay.bind(("127.0.0.1", 0))
        self.relay.setblocking(False)
        self._look: IDelayedCall | None = None

    @property
    def leg(self) -> Relay:
        port = self.relay.getsockname()[1]
        return Relay(
            stream=0,
            kind=RelayKind.rtp,
            host="127.0.0.1",
            port=port,
            identifier=5,
            peer=6,
            key=bytes(32),
        )

    def confirm_binds(self) -> None:
        """Confirm what has arrived, and again in a moment, until closed."""
        try:
            data, source = self.relay.recvfrom(100)
            control = packet.parse(data)
            assert control is not None
            self.relay.sendto(packet.build(packet.Type.bind_ack, 5, control.counter, bytes(32)), source)
        except BlockingIOError:
            pass
        self._look = installed_reactor().callLater(0.005, self.confirm_binds)

    def close(self) -> None:
        """Confirm no more."""
        if self._look is not None:
            self._look.cancel()

    def _take(self, data: bytes) -> None:
        request = message.decode_client_message(data)
        self.requests.append(request)
        reply: Any = message.Ok(id=request.id)
        if isinstance(request, message.Invite):
            reply = message.Inviting(id=request.id, session=request.session, relays=[self.leg])
        installed_reactor().callLater(0, self.exchange.answered, reply)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.relay.close()


def outgoing(server: Server, secret: bytes | None = None) -> OutgoingCall:
    return OutgoingCall(installed_reactor(), server.exchange, PARTIES, secret, 1)


def incoming(server: Server, payload: bytes, relays: list[Relay] | None = None) -> IncomingCall:
    invited = message.Invited(
        session="s1",
        caller="+461",
        account="demo",
        relays=[server.leg] if relays is None else relays,
        payload=payload,
    )
    return IncomingCall(installed_reactor(), server.exchange, PARTIES, None, invited)


async def invited(server: Server, secret: bytes | None = None) -> OutgoingCall:
    """A call whose legs are bound."""
    server.confirm_binds()
    call = outgoing(server, secret)
    await call.invite("127.0.0.1")
    return call


async def finish(server: Server, *calls: Any) -> None:
    """End calls, and the relay's work."""
    for call in calls:
        await call.hangup()
        await call.ended.wait()
    server.close()


def kinds(server: Server) -> list[str]:
    return [type(request).__name__ for request in server.requests]


def test_an_answered_call(server: Server) -> None:
    async def story() -> None:
        call = await invited(server)
        assert call.state.value == "invite"
        call.was_ringing()
        await call.rang.wait()
        payload, _ = accept(PARTIES, server.requests[0].payload, 1)
        call.was_answered(payload)
        await call.answered.wait()
        assert call.state.value == "talk"
        call.was_answered(b"repeated, and no news")
        call.was_ringing()
        assert call.state.value == "talk"
        await finish(server, call)
        assert server.requests[-1].reason is EndReason.hangup
        assert kinds(server) == ["Invite", "Hangup"]

    run(story)


def test_a_forgotten_call_goes_on_while_the_other_is_heard(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "SILENCE", 0.1)

    async def story() -> None:
        call = await invited(server)
        call.was_answered(accept(PARTIES, server.requests[0].payload, 1)[0])
        call.forgotten()
        call.forgotten()
        for number in range(5):
            call.streams[0].reception.count(number)
            await deferLater(installed_reactor(), 0.08)
            assert call.state.value == "talk"
        end = await call.ended.wait()
        assert (end.reason, end.who) == (EndReason.lost, Who.server)
        server.close()

    run(story)


def test_hanging_up_a_forgotten_call_asks_nobody(server: Server) -> None:
    async def story() -> None:
        call = await invited(server)
        call.was_answered(accept(PARTIES, server.requests[0].payload, 1)[0])
        call.forgotten()
        await finish(server, call)
        assert kinds(server) == ["Invite"]

    run(story)


def test_a_forgotten_call_that_was_not_answered_is_lost(server: Server) -> None:
    async def story() -> None:
        call = await invited(server)
        call.forgotten()
        end = await call.ended.wait()
        assert end.reason is EndReason.lost
        server.close()

    run(story)


def test_an_answer_without_a_ring_is_both(server: Server) -> None:
    async def story() -> None:
        call = await invited(server)
        call.was_answered(accept(PARTIES, server.requests[0].payload, 1)[0])
        await call.rang.wait()
        await call.answered.wait()
        await finish(server, call)

    run(story)


@pytest.mark.parametrize("payload", [b"", b"garbage", None])
def test_an_answer_with_the_wrong_keys_ends_the_call(server: Server, payload: bytes | None) -> None:
    async def story() -> None:
        call = await invited(server, b"a secret")
        wrong = accept(PARTIES, server.requests[0].payload, 1)[0] if payload is None else payload
        call.was_answered(wrong)
        with pytest.raises(KeyingError):
            await call.answered.wait()
        end = await call.ended.wait()
        assert (end.reason, end.who) == (EndReason.hangup, Who.caller)
        assert server.requests[-1].reason is EndReason.hangup, "the callee believes that it is in a call"
        await finish(server)

    run(story)


def test_a_relay_that_keeps_silent_ends_the_call(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg, "BIND_TIMEOUT", 0.05)

    async def story() -> None:
        call = outgoing(server)
        with pytest.raises(NoAnswer):
            await call.invite("127.0.0.1")
        assert server.requests[-1].reason is EndReason.cancel
        await call.ended.wait()

    run(story)


def test_a_call_that_ends_while_its_legs_are_bound(server: Server) -> None:
    async def story() -> None:
        call = outgoing(server)
        inviting = Deferred.fromCoroutine(call.invite("127.0.0.1"))
        while not call.streams:
            await turn()
        call.finish(EndReason.busy, Who.callee)
        with pytest.raises(CallEnded) as ending:
            await inviting
        assert (ending.value.reason, ending.value.who) == (EndReason.busy, Who.callee)
        for outcome in (call.rang, call.answered):
            with pytest.raises(CallEnded):
                await outcome.wait()
        assert kinds(server) == ["Invite"], "what has ended needs no hangup"

    run(story)


async def turn() -> None:
    """Let the reactor go round."""
    passed: Deferred[None] = Deferred()
    installed_reactor().callLater(0, passed.callback, None)
    await passed


def test_an_incoming_call(server: Server) -> None:
    async def story() -> None:
        server.confirm_binds()
        offer = KeyOffer(PARTIES, 1)
        call = incoming(server, offer.payload)
        await call.ring()
        assert call.state.value == "ringing"
        await call.answer()
        assert call.state.value == "talk"
        assert offer.complete(server.requests[-1].payload)
        await finish(server, call)
        assert kinds(server) == ["Ringing", "Answer", "Hangup"]
        assert {request.caller for request in server.requests} == {"+461"}

    run(story)


def test_a_call_that_has_ended_cannot_be_answered(server: Server) -> None:
    async def story() -> None:
        call = incoming(server, KeyOffer(PARTIES, 1).payload)
        call.finish(EndReason.cancel, Who.caller)
        with pytest.raises(CallEnded):
            await call.answer()
        assert call.streams == [] and kinds(server) == []

    run(story)


@pytest.mark.parametrize("problem", ["keys", "opaque", "nothing"])
def test_an_invite_that_cannot_be_accepted_is_declined(server: Server, problem: str) -> None:
    opaque = Relay(stream=0, kind=RelayKind.opaque, host="", port=1, identifier=5, peer=6, key=bytes(32))
    payload = b"" if problem == "keys" else KeyOffer(PARTIES, 1).payload
    relays = {"opaque": [opaque], "nothing": []}.get(problem)

    async def story() -> None:
        call = incoming(server, payload, relays)
        with pytest.raises(Exception, match=r"no usable keys|for audio"):
            await call.answer()
        assert [request.reason for request in server.requests] == [EndReason.decline]
        await call.ended.wait()
        await call.hangup()
        assert len(server.requests) == 1

    run(story)
