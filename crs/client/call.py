"""A call as its caller and as its callee see it, from the invite to the end."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from secrets import token_urlsafe
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from crs.client.change import IncomingChange
from crs.client.error import CallEnded, ChangeDeclined, ClientError, Closed
from crs.client.exchange import Exchange
from crs.client.keying import KeyingError, KeyOffer, Parties, StreamKeys, accept
from crs.client.media import MediaStream
from crs.signaling.message import (
    Answer,
    Change,
    ChangeAccepted,
    ChangeOffered,
    ChangeRefused,
    Changing,
    EndReason,
    Hangup,
    Invite,
    Invited,
    Inviting,
    Ok,
    RefuseChange,
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


class _Offered:
    """A change that we have offered."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.streams: list[MediaStream] = []
        """Those to be added."""
        self.over = False
        """Whether it was decided on, or the call has ended."""
        self.decided: Outcome[bytes] = Outcome()
        """The other party's payload; fails with ChangeDeclined or CallEnded."""


class Call:
    """What both ends of a call have in common."""

    _who: Who
    """Who ends the call when this end does."""
    _giving_up: EndReason
    """Why a call ends when this end does so before the answer."""

    def __init__(self, reactor: Any, exchange: Exchange, parties: Parties, secret: bytes | None) -> None:
        """`secret` is the parties' end-to-end secret."""
        self._reactor = reactor
        self.exchange = exchange
        self.secret = secret
        self.parties = parties
        self.host = ""
        """The server's address, where the relay is if a leg names no other."""
        self.state = CallState.invite
        self.streams: list[MediaStream] = []
        self._end: CallEnded | None = None
        self._offered: _Offered | None = None
        self._last_change = ""
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
        await self.exchange.ask(
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

    async def change(self, add: int = 0, remove: Sequence[int] = ()) -> None:
        """Offer to add audio streams and to remove some, by their numbers; wait until the other party agrees.

        Raises ChangeDeclined, CallEnded or another ClientError; then the call is as it was.
        """
        label = token_urlsafe(6)
        offer = KeyOffer(self.changing(label, own=True), add, self.secret) if add else None
        offered = self._offered = _Offered(label)
        session, caller = self.parties.session, self.parties.caller
        changing = await self.exchange.ask(
            lambda number: Change(
                id=number,
                session=session,
                caller=caller,
                change=label,
                add=[RelayKind.rtp] * add,
                remove=list(remove),
                payload=offer.payload if offer is not None else b"",
            ),
            Changing,
        )
        streams = offered.streams = self.make_streams(changing.relays)
        try:
            if not offered.over:
                await self._bind(offered)
            payload = await offered.decided.wait()
        except ClientError:
            await self.discard(streams)
            if not offered.over:
                await self._withdraw(label)
            raise
        keys = offer.complete(payload) if offer is not None else []
        for stream, stream_keys in zip(streams, keys, strict=True):
            stream.secure(stream_keys, caller=True)
        await self.replace(remove, streams)

    def change_offered(self, offered: ChangeOffered) -> IncomingChange | None:
        """The other party offers a change; None if that is no news."""
        if offered.change == self._last_change:
            return None
        self._last_change = offered.change
        return IncomingChange(self, offered)

    def change_accepted(self, accepted: ChangeAccepted) -> None:
        """The other party agrees."""
        if self._offered is not None and self._offered.label == accepted.change:
            self._offered.over = True
            self._offered.decided.set(accepted.payload)

    def change_refused(self, refused: ChangeRefused) -> None:
        """The other party, or the server, does not agree."""
        if self._offered is not None and self._offered.label == refused.change:
            self._give_up(self._offered, ChangeDeclined(refused.reason))

    def changing(self, label: str, *, own: bool) -> Parties:
        """Whose change it is, for its keys: who offers it stands as the caller."""
        mine, theirs = self._ends()
        first, second = (mine, theirs) if own else (theirs, mine)
        return Parties(f"{self.parties.session}/{label}", *first, *second)

    def make_streams(self, relays: Sequence[Relay]) -> list[MediaStream]:
        """A stream for each leg."""
        return [MediaStream(self._reactor, relay, self.host) for relay in relays]

    async def replace(self, remove: Sequence[int], added: Sequence[MediaStream]) -> None:
        """A change was made."""
        gone = [stream for stream in self.streams if stream.relay.stream in remove]
        self.streams = [stream for stream in self.streams if stream not in gone] + list(added)
        await self.discard(gone)
        if self.state is CallState.ended:
            await self._close_streams()

    async def discard(self, streams: Sequence[MediaStream]) -> None:
        """Close streams."""
        for stream in streams:
            try:
                await stream.close()
            except OSError as error:
                log.warn("closing a stream: {error}", error=error)

    async def _bind(self, offered: _Offered) -> None:
        """Bind the new legs; who refuses meanwhile says more than the relay, which then answers no more."""
        try:
            for stream in offered.streams:
                await stream.open()
        except ClientError:
            if not offered.over:
                raise

    def _give_up(self, offered: _Offered, reason: ClientError) -> None:
        """A change of ours is not made."""
        offered.over = True
        offered.decided.fail(reason)
        Deferred.fromCoroutine(self.discard(offered.streams))

    async def _withdraw(self, label: str) -> None:
        session, caller = self.parties.session, self.parties.caller
        await self.exchange.ask(
            lambda number: RefuseChange(id=number, session=session, caller=caller, change=label), Ok
        )

    def _ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Our URI and account, and the other party's."""
        parties = self.parties
        ends = (parties.caller, parties.caller_account), (parties.callee, parties.callee_account)
        return ends if self._who is Who.caller else ends[::-1]

    def finish(self, reason: EndReason, who: Who) -> None:
        """The call is over: release the streams, then tell whoever waits for the end."""
        if self.state is CallState.ended:
            return
        self.state = CallState.ended
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        end = self._end = CallEnded(reason, who)
        self._interrupt(end)
        if self._offered is not None and not self._offered.over:
            self._give_up(self._offered, end)
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

    def _add_streams(self, relays: Sequence[Relay], kinds: Sequence[RelayKind]) -> None:
        """Make a stream of each leg. Raises ClientError if they are not of the kinds wanted."""
        if [relay.kind for relay in relays] != list(kinds) or not relays:
            raise ClientError(f"the server gave {len(relays)} legs, not {len(kinds)} for audio")
        self.streams = self.make_streams(relays)

    async def _open_streams(self) -> None:
        """Bind all legs. Raises NoAnswer, or CallEnded when the call ends meanwhile."""
        for stream in self.streams:
            try:
                await stream.open()
            except Closed as error:
                raise self._end or error from error

    async def _close_streams(self) -> None:
        await self.discard(self.streams)

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
        inviting = await self.exchange.ask(
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
            self.host = host
            self._add_streams(inviting.relays, self._kinds)
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

    async def ring(self) -> None:
        """Tell the caller that the phone rings."""
        session, caller = self.parties.session, self.parties.caller
        await self.exchange.ask(lambda number: Ringing(id=number, session=session, caller=caller), Ok)
        if self.state is CallState.invite:
            self.state = CallState.ringing

    async def answer(self) -> None:
        """Accept: bind the legs, agree on the keys, tell the caller. Raises ClientError."""
        if self._end is not None:
            raise self._end
        try:
            self._add_streams(self._relays, [RelayKind.rtp] * len(self._relays))
            payload, keys = accept(self.parties, self._offer, len(self.streams), self.secret)
            await self._open_streams()
        except ClientError:
            await self.decline()
            raise
        self._secure_streams(keys, caller=False)
        session, caller = self.parties.session, self.parties.caller
        await self.exchange.ask(
            lambda number: Answer(id=number, session=session, caller=caller, payload=payload), Ok
        )
        if self.state is not CallState.ended:
            self.state = CallState.talk

    async def decline(self, reason: EndReason = EndReason.decline) -> None:
        """Refuse the call: decline or busy."""
        await self.hangup(reason)
