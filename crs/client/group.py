"""A group call, or a conference room, as one of its parties sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from crs.client.error import CallEnded, ClientError
from crs.client.exchange import Exchange
from crs.client.groupmedia import GroupStream
from crs.identity import Identity
from crs.signaling import message
from crs.signaling.message import EndReason, Member, MemberState, Relay, RelayKind, Who
from rtlib.outcome import Outcome

log = Logger()


class GroupCall:
    """From `open`, `dial`, or an invitation that is followed by `join`, to `ended`."""

    def __init__(
        self,
        reactor: Any,
        exchange: Exchange,
        *,
        session: str,
        caller: str,
        secret: bytes | None,
        host: str,
    ) -> None:
        """`secret` is the end-to-end secret of all parties; `host` is the server's address."""
        self._reactor = reactor
        self._exchange = exchange
        self._secret = secret
        self._host = host
        self.session = session
        self.caller = caller
        self.members: dict[Identity, Member] = {}
        self.refused: list[message.Refusal] = []
        """Who could not be invited."""
        self.stream: GroupStream | None = None
        """Ours, once we are in."""
        self.told: Callable[[Member], None] = lambda member: None
        """Called when a party has moved."""
        self.names: dict[int, Identity] = {}
        """Who has ever been in, by the identifier of what it sent."""
        self._over = False
        self.ended: Outcome[CallEnded] = Outcome()
        """How it ended for us, once the stream is closed; it never fails."""

    async def open(self, to: Sequence[Identity]) -> None:
        """Begin a group call with these. Raises ClientError."""
        self._require_secret()
        invitees = [message.Invitee(uri=each.uri, account=each.account) for each in to]
        opened = await self._exchange.ask(
            lambda number: message.OpenGroup(id=number, session=self.session, to=invitees),
            message.GroupOpened,
        )
        self.refused = opened.refused
        await self._enter(opened.relay, opened.members)

    async def dial(self, room: str, account: str | None) -> None:
        """Enter a conference room. Raises ClientError."""
        self._require_secret()
        joined = await self._exchange.ask(
            lambda number: message.Invite(
                id=number,
                session=self.session,
                to=room,
                account=account,
                streams=[RelayKind.opaque_multicast],
            ),
            message.Joined,
        )
        await self._enter(joined.relay, joined.members)

    async def ring(self) -> None:
        """Tell the others that the phone rings."""
        await self._exchange.ask(
            lambda number: message.Ringing(id=number, session=self.session, caller=self.caller), message.Ok
        )

    async def join(self) -> None:
        """Take part, after an invitation. Raises ClientError."""
        self._require_secret()
        joined = await self._exchange.ask(
            lambda number: message.Join(id=number, session=self.session, caller=self.caller), message.Joined
        )
        await self._enter(joined.relay, joined.members)

    async def invite(self, to: Sequence[Identity]) -> list[message.Refusal]:
        """Invite more; returns who could not be invited. Raises Refused."""
        invitees = [message.Invitee(uri=each.uri, account=each.account) for each in to]
        more = await self._exchange.ask(
            lambda number: message.InviteMore(id=number, session=self.session, to=invitees),
            message.MoreInvited,
        )
        return more.refused

    async def leave(self, reason: EndReason = EndReason.hangup) -> None:
        """Leave, or decline; the others go on. Nothing happens if it has ended already."""
        if not self._over:
            who = Who.callee
            self.finish(reason, who)
            await self._exchange.ask(
                lambda number: message.Leave(
                    id=number, session=self.session, caller=self.caller, reason=reason
                ),
                message.Ok,
            )

    async def close(self) -> None:
        """End it for all. Raises Refused for who has not begun it and does not own the room."""
        await self._exchange.ask(
            lambda number: message.CloseGroup(id=number, session=self.session, caller=self.caller),
            message.Ok,
        )
        self.finish(EndReason.hangup, Who.caller)

    @property
    def joined(self) -> dict[int, Identity]:
        """Who is in, by the identifier of what they send."""
        return {
            member.identifier: client
            for client, member in self.members.items()
            if member.state is MemberState.joined
        }

    def moved(self, member: Member) -> None:
        """A party has moved."""
        client = Identity(member.uri, member.account)
        self.members[client] = member
        if member.identifier:
            self.names[member.identifier] = client
        self.told(member)

    def refreshed(self, members: Sequence[Member]) -> None:
        """The server says where all are."""
        self.members = {Identity(member.uri, member.account): member for member in members}
        self.names |= self.joined

    def finish(self, reason: EndReason, who: Who) -> None:
        """It is over for us: close the stream, then tell whoever waits for the end."""
        if not self._over:
            self._over = True
            end = CallEnded(reason, who)
            Deferred.fromCoroutine(self._close_stream()).addBoth(lambda _: self.ended.set(end))

    async def _enter(self, relay: Relay, members: Sequence[Member]) -> None:
        assert self._secret is not None
        self.refreshed(members)
        self.stream = GroupStream(self._reactor, relay, self._host, self._secret)
        try:
            await self.stream.open()
        except ClientError:
            await self.leave()
            raise

    async def _close_stream(self) -> None:
        if self.stream is not None:
            try:
                await self.stream.close()
            except OSError as error:
                log.warn("closing a stream: {error}", error=error)

    def _require_secret(self) -> None:
        if self._secret is None:
            raise ClientError("the media of a group are sealed with an end-to-end secret: there is none")
