"""The Rendezvous machine: all clients of this server, their attachments, calls and mailboxes. Sans-IO.

Sources are connection numbers, given by whoever accepts connections. The five verbs are those
of `rtlib.machine`; the others tell it of connections and of work it has asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling import message
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.calls import Calls
from crs.signaling.directory import Directory
from crs.signaling.event import Event, Offence, Result
from crs.signaling.group import Room
from crs.signaling.limit import AddressAllowance, Allowances, ClientAllowance
from crs.signaling.locker import Locker
from crs.signaling.message import EndReason, ErrorCode
from crs.signaling.offers import Offers
from crs.signaling.outlet import Outlet
from crs.signaling.postoffice import PostOffice
from crs.signaling.registrar import Identification, Policy, Registrar
from crs.signaling.ticket import Sealer
from rtlib.address import subnet

CLOSE_POLICY: Final = 1008
CLOSE_SHUTDOWN: Final = 4001
CLOSE_REMOVED: Final = 4003
"""WebSocket close codes (RFC 6455 section 7.4.2); docs/crs-protocol.md says how a client reacts."""

_ATTACH_FIRST: Final = "attach first, and wait for the reply"
_UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


class _Numbered(msgspec.Struct):
    """The id of a message that is otherwise wrong."""

    id: message.RequestId


_decode_number: Final = msgspec.msgpack.Decoder(_Numbered).decode


class Rendezvous:
    """Serves `crs.v1` to any number of connections."""

    def __init__(
        self,
        identification: Identification,
        sealer: Sealer,
        policy: Policy | None = None,
        limits: LimitTable | None = None,
    ) -> None:
        """`sealer` makes the resume tokens."""
        self.attachments = AttachmentTable()
        self._limits = limits or LimitTable()
        self._outlet = Outlet(self.attachments.route, self._limits.reached)
        policy = policy or Policy()
        self.directory = Directory(self._outlet, policy.is_connected)
        self._clients: Allowances[Identity, ClientAllowance] = Allowances(ClientAllowance)
        self._addresses: Allowances[str, AddressAllowance] = Allowances(AddressAllowance)
        self.calls = Calls(self._outlet, self.attachments, self.directory, self._limits, policy.rooms)
        self.exchange = self.calls.exchange
        self.bridge = self.calls.bridge
        self.post_office = PostOffice(
            self._outlet, self.attachments, self.directory, self._limits, identification.wall
        )
        self.locker = Locker(self._outlet, identification.wall)
        self.offers = Offers(
            self._outlet,
            self.attachments,
            self.directory,
            offered=policy.offered,
            wall=identification.wall,
        )
        self.registrar = Registrar(
            identification,
            policy,
            sealer,
            self._outlet,
            attachments=self.attachments,
            directory=self.directory,
            calls=self.calls,
            post_office=self.post_office,
            offers=self.offers,
        )
        self._handlers: dict[type, Callable[[Connection, Any, float], None]] = {
            message.Attach: self.registrar.attach,
            message.Detach: self.registrar.detach,
            message.Seen: self.registrar.seen,
            message.Invite: self.calls.invite,
            message.Ringing: self.calls.ringing,
            message.Answer: self.exchange.answer,
            message.Hangup: self.exchange.hangup,
            message.Change: self.exchange.changes.offer,
            message.AcceptChange: self.exchange.changes.accept,
            message.RefuseChange: self.exchange.changes.refuse,
            message.OpenGroup: self.bridge.open,
            message.InviteMore: self.bridge.invite_more,
            message.Join: self.bridge.join,
            message.Leave: self.bridge.leave,
            message.CloseGroup: self.bridge.close,
            message.Post: self.post_office.post,
            message.PostGroup: self.post_office.post_group,
            message.Ack: self.post_office.ack,
            message.Store: self.locker.store,
            message.Fetch: self.locker.fetch,
            message.Delete: self.locker.delete,
            message.FetchUpdate: self.offers.fetch,
            message.ConfirmUpdate: self.offers.confirm,
        }

    def connected(self, number: int, client: Identity, host: str, port: int, now: float) -> None:
        """A client has proven who it is; numbers are never used twice."""
        allowance = self._clients.get(client, self._limits.of(client.account), now)
        address = self._addresses.get(subnet(host), self._limits.general, now)
        self.attachments.add(Connection(number, number, client, host, port, allowance, address))

    def disconnected(self, number: int, now: float) -> None:
        """A connection is gone; nothing happens if it was never announced."""
        connection = self.attachments.get(number)
        if connection is not None:
            self._clients.leave(connection.allowance, now)
            self._addresses.leave(connection.address, now)
            self.registrar.lost(connection, now)

    def receive(self, data: bytes, source: int, now: float) -> None:
        """Take one message of a client; what is wrong with it is answered."""
        connection = self.attachments.get(source)
        if connection is None or connection.closing:
            return
        if connection.replay is not None:
            connection.replay.received += 1
        try:
            request: message.ClientMessage | None = message.decode_client_message(data)
        except _UNDECODABLE as error:
            request, problem = None, str(error)
        limit = self._exceeded(connection, now)
        if limit:
            self._over_limit(connection, limit, _number(data) if request is None else request.id, now)
        elif request is None:
            self._bad_message(connection, data, problem)
        elif connection.attached_at is None and not isinstance(request, message.Attach | message.Detach):
            self._outlet.refuse(connection.number, request.id, ErrorCode.not_attached, _ATTACH_FIRST)
        else:
            self._handlers[type(request)](connection, request, now)

    def to_send(self, now: float) -> list[tuple[bytes, int]]:
        """What is to be sent, without that for connections that are gone."""
        return self.attachments.carried(self._outlet.take_sends())

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        return self._outlet.get_timer()

    def handle_timer(self, now: float) -> None:
        """Let time pass: unanswered calls, lost parties, counters to be saved."""
        self._outlet.expire(now)

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet."""
        return self._outlet.next_event()

    def completed(self, token: int, result: Result, now: float) -> None:
        """The result of an ask; a token that waits for nothing is ignored."""
        self._outlet.completed(token, result, now)

    def relay_idle(self, group: int, now: float) -> bool:
        """This stream has seen no packet for too long: its call may be dead. False if no call has it."""
        return self.calls.relay_idle(group, now)

    @property
    def pending(self) -> int:
        """How many asks wait for their completion."""
        return self._outlet.pending

    def remove_account(self, account: str, now: float) -> list[Identity]:
        """An account was deleted: end its calls, drop its clients. Returns those to delete from the store."""
        self.calls.end_all(EndReason.hangup, now, account)
        for connection in self.attachments:
            if connection.client.account == account and not connection.closing:
                self._outlet.send(connection.number, message.Detached(reason="removed"))
                self.registrar.unregister(connection, "account deleted", now)
                self.registrar.close(connection, CLOSE_REMOVED, "removed")
        return self.directory.forget(account)

    def refuse_calls(self, reason: str) -> None:
        """From now on new calls are refused for this reason; "" lets them begin again."""
        self.calls.admission.refusal = reason

    def close_room(self, room: Room, now: float) -> None:
        """A conference room was deleted: its call ends."""
        self.bridge.close_room(room, now)

    def deny(self, client: Identity, now: float) -> None:
        """A client may be attached no longer, which the policy says from now on; its calls are lost."""
        self.registrar.deny(client, now)

    def shutdown(self, now: float, *, keep_talks: bool = False) -> None:
        """End all calls, save all counters, close all connections; what comes in afterwards is ignored.

        With `keep_talks` those who talk are not told of an end: their media goes on without us.
        """
        self.calls.end_all(EndReason.shutdown, now, keep_talks=keep_talks)
        for connection in self.attachments:
            self.registrar.unregister(connection, "shutdown", now)
            self.registrar.close(connection, CLOSE_SHUTDOWN, "shutdown")
        self.directory.save(now)

    def _exceeded(self, connection: Connection, now: float) -> str:
        """Count one more request; the limit that forbids it, if one does."""
        if not connection.allowance.requests.take(now):
            return "requests-per-second"
        return "" if connection.address.requests.take(now) else "requests-per-address"

    def _over_limit(self, connection: Connection, limit: str, request: int | None, now: float) -> None:
        self._offence(connection, "too many requests", f"more than the limit {limit}")
        if not connection.allowance.forgive(now):
            self._limits.reached[limit] += 1
            self.registrar.unregister(connection, "too many requests", now)
            self.registrar.close(connection, CLOSE_POLICY, "too many requests")
        else:
            reason = "too many requests in a short time; wait a little"
            self._outlet.refuse_over(connection.number, request, limit, reason)

    def _bad_message(self, connection: Connection, data: bytes, problem: str) -> None:
        self._offence(connection, "bad message", problem)
        # msgspec names the constraint and the field: "Expected `bytes` of length <= 32768 - at `$.payload`".
        too_large = problem.startswith("Expected `bytes` of length <=")
        code = ErrorCode.too_large if too_large else ErrorCode.bad_message
        self._outlet.refuse(connection.number, _number(data), code, problem)

    def _offence(self, connection: Connection, kind: str, reason: str) -> None:
        self._outlet.tell(Offence(kind, connection.host, connection.client, reason))


def _number(data: bytes) -> int | None:
    """The request id of a message that could not be decoded, if that much can be read."""
    try:
        return _decode_number(data).id
    except _UNDECODABLE:
        return None
