"""A call as its caller and as its callee see it, from the invite to the end."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from crs.client.error import CallEnded, ClientError, Closed
from crs.client.exchange import Exchange
from crs.client.keying import KeyingError, KeyOffer, Parties, StreamKeys, accept
from crs.client.media import MediaStream
from crs.signaling.message import (
    Answer,
    EndReason,
    Hangup,
    Invite,
    Invited,
    Inviting,
    Ok,
    Relay,
    RelayKind,
    Ringing,
    Who,
)
from rtlib.outcome import Outcome

log = Logger()

SILENCE: Final = 10.0
"""Seconds without a packet after which a call that the server has forgotten is over."""


class CallState(Enum):
    """Where a call is; the names of `show session`."""

    invite = "invite"
    ringing = "ringing"
    talk = "talk"
    ended = "ended"


class Call:
    """What both ends of a call have in common."""

    _who: Who
    """Who ends the call when this end does."""
    _giving_up: EndReason
    """Why a call ends when this end does so before the answer."""

    def __init__(self, reactor: Any, exchange: Exchange, parties: Parties, secret: bytes | None) -> None:
        """`secret` is the parties' end-to-end secret."""
        self._reactor = reactor
        self._exchange = exchange
        self._secret = secret
        self.parties = parties
        self.state = CallState.invite
        self.streams: list[MediaStream] = []
        self._end: CallEnded | None = None
        self._silence: IDelayedCall | None = None
        """Set once the server has forgotten this call."""
        self.ended: Outcome[CallEnded] = Outcome()
        """How the call ended, once its streams are closed; it never fails."""

    async def hangup(self, reason: EndReason | None = None) -> None:
        """End the call for both parties; nothing happens if it has ended already.

        Without a `reason` it is hangup, or before the answer what this end's giving up is called.
        """
        if self.state is CallState.ended:
            return
        why = reason or (EndReason.hangup if self.state is CallState.talk else self._giving_up)
        self.finish(why, self._who)
        if self._silence is not None:
            return
        session, caller = self.parties.session, self.parties.caller
        await self._exchange.ask(
            lambda number: Hangup(id=number, session=session, caller=caller, reason=why), Ok
        )

    def forgotten(self) -> None:
        """The server was replaced and does not know this call. Its relay may: the parties can go on talking,
        until one hangs up and the other hears nothing any more.
        """
        if self.state is not CallState.talk:
            self.finish(EndReason.lost, Who.server)
        elif self._silence is None:
            self._silence = self._reactor.callLater(SILENCE, self._check_silence, self._heard)

    def finish(self, reason: EndReason, who: Who) -> None:
        """The call is over: release the streams, then tell whoever waits for the end."""
        if self.state is CallState.ended:
            return
        self.state = CallState.ended
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        end = self._end = CallEnded(reason, who)
        self._interrupt(end)
        Deferred.fromCoroutine(self._close_streams()).addBoth(lambda _: self.ended.set(end))

    def _interrupt(self, end: CallEnded) -> None:
        """Stop whatever waits for the call to go on."""

    @property
    def _heard(self) -> int:
        return sum(stream.reception.received for stream in self.streams)

    def _check_silence(self, heard: int) -> None:
        if self._heard == heard:
            self.finish(EndReason.lost, Who.server)
        else:
            self._silence = self._reactor.callLater(SILENCE, self._check_silence, self._heard)

    def _add_streams(self, relays: Sequence[Relay], host: str, kinds: Sequence[RelayKind]) -> None:
        """Make a stream of each leg. Raises ClientError if they are not of the kinds wanted."""
        if [relay.kind for relay in relays] != list(kinds) or not relays:
            raise ClientError(f"the server gave {len(relays)} legs, not {len(kinds)} for audio")
        self.streams = [MediaStream(self._reactor, relay, host) for relay in relays]

    async def _open_streams(self) -> None:
        """Bind all legs. Raises NoAnswer, or CallEnded when the call ends meanwhile."""
        for stream in self.streams:
            try:
                await stream.open()
            except Closed as error:
                raise self._end or error from error

    async def _close_streams(self) -> None:
        for stream in self.streams:
            try:
                await stream.close()
            except OSError as error:
                log.warn("closing a stream: {error}", error=error)

    def _secure_streams(self, keys: Sequence[StreamKeys], *, caller: bool) -> None:
        for stream, stream_keys in zip(self.streams, keys, strict=True):
            stream.secure(stream_keys, caller=caller)


class OutgoingCall(Call):
    """The caller's end."""

    _who = Who.caller
    _giving_up = EndReason.cancel

    def __init__(
        self, reactor: Any, exchange: Exchange, parties: Parties, secret: bytes | None, streams: int
    ) -> None:
        """A call with `streams` audio streams."""
        super().__init__(reactor, exchange, parties, secret)
        self._offer = KeyOffer(parties, streams, secret)
        self._kinds = [RelayKind.rtp] * streams
        self.rang: Outcome[None] = Outcome()
        self.answered: Outcome[None] = Outcome()
        """Set when the streams can be used; fails with CallEnded or KeyingError."""

    async def invite(self, host: str) -> None:
        """Tell the callee and bind the legs; `host` is the server's address. Raises ClientError."""
        parties = self.parties
        inviting = await self._exchange.ask(
            lambda number: Invite(
                id=number,
                session=parties.session,
                to=parties.callee,
                account=parties.callee_account,
                streams=self._kinds,
                payload=self._offer.payload,
            ),
            Inviting,
        )
        try:
            self._add_streams(inviting.relays, host, self._kinds)
            await self._open_streams()
        except ClientError:
            await self.hangup()
            raise

    def was_ringing(self) -> None:
        """The callee's phone rings."""
        if self.state is CallState.invite:
            self.state = CallState.ringing
            self.rang.set(None)

    def was_answered(self, payload: bytes) -> None:
        """The callee has accepted: agree on the keys, or end the call."""
        if self.state not in {CallState.invite, CallState.ringing}:
            return
        try:
            self._secure_streams(self._offer.complete(payload), caller=True)
        except KeyingError as error:
            self.answered.fail(error)
            hanging_up = Deferred.fromCoroutine(self.hangup(EndReason.hangup))
            hanging_up.addErrback(lambda failure: failure.trap(ClientError))
            return
        self.state = CallState.talk
        self.rang.set(None)
        self.answered.set(None)

    def _interrupt(self, end: CallEnded) -> None:
        self.rang.fail(end)
        self.answered.fail(end)


class IncomingCall(Call):
    """The callee's end."""

    _who = Who.callee
    _giving_up = EndReason.decline

    def __init__(
        self, reactor: Any, exchange: Exchange, parties: Parties, secret: bytes | None, invited: Invited
    ) -> None:
        super().__init__(reactor, exchange, parties, secret)
        self._offer = invited.payload
        self._relays = invited.relays
        self.host = ""
        """The server's address, where the relay is if a leg names no other."""

    async def ring(self) -> None:
        """Tell the caller that the phone rings."""
        session, caller = self.parties.session, self.parties.caller
        await self._exchange.ask(lambda number: Ringing(id=number, session=session, caller=caller), Ok)
        if self.state is CallState.invite:
            self.state = CallState.ringing

    async def answer(self) -> None:
        """Accept: bind the legs, agree on the keys, tell the caller. Raises ClientError."""
        if self._end is not None:
            raise self._end
        try:
            self._add_streams(self._relays, self.host, [RelayKind.rtp] * len(self._relays))
            payload, keys = accept(self.parties, self._offer, len(self.streams), self._secret)
            await self._open_streams()
        except ClientError:
            await self.decline()
            raise
        self._secure_streams(keys, caller=False)
        session, caller = self.parties.session, self.parties.caller
        await self._exchange.ask(
            lambda number: Answer(id=number, session=session, caller=caller, payload=payload), Ok
        )
        if self.state is not CallState.ended:
            self.state = CallState.talk

    async def decline(self, reason: EndReason = EndReason.decline) -> None:
        """Refuse the call: decline or busy."""
        await self.hangup(reason)
