"""`show attach`, `session`, `message`, `relay` and `relays`: what is going on now (manual 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from crs.identity import is_test_client
from rtlib.command.registry import Role, Unavailable, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.relay.interface import Relay
    from crs.signaling.rendezvous import Rendezvous

T = TypeVar("T")


class AttachRow(msgspec.Struct, frozen=True):
    """An attached client."""

    uri: Annotated[str, Column("URI", "the mobile number of the client")]
    account: Annotated[str, Column("ACCOUNT", "the account the client belongs to")]
    time: Annotated[int, Column("TIME", "time attached, in seconds")]
    version: Annotated[str, Column("VERSION", "the software version of the client")]
    address: Annotated[str, Column("IP:PORT", "the address and port of the client")]
    crs: Annotated[str, Column("CRS", "the server that handles the client")]


class SessionRow(msgspec.Struct, frozen=True):
    """A call."""

    caller: Annotated[str, Column("CALLER", "the URI of the party that called")]
    callee: Annotated[str, Column("CALLEE", "the URI of the called party")]
    time: Annotated[int, Column("TIME", "total time of the session, in seconds")]
    state: Annotated[str, Column("STATE", "invite, ringing, talk, hangup(reason; who), or why there is none")]


class MessageRow(msgspec.Struct, frozen=True):
    """A client's messages."""

    uri: Annotated[str, Column("URI", "the mobile number of the client")]
    post: Annotated[int, Column("POST", "messages posted by the client")]
    deliv: Annotated[int, Column("DELIV", "messages of the client that were delivered")]
    read: Annotated[datetime | None, Column("READ", "when the client last looked for messages, UTC")]
    account: Annotated[str, Column("ACCOUNT", "the account the client belongs to")]
    system_post: Annotated[int, Column("SYSPOST", "system messages posted, such as a group's invites")]
    system_deliv: Annotated[int, Column("SYSDELIV", "system messages that were delivered")]


class RelayRow(msgspec.Struct, frozen=True):
    """A relay resource."""

    type: Annotated[str, Column("TYPE", "the type of the relay resource")]
    nodes: Annotated[int, Column("NODES", "nodes that are active in it")]
    last_active: Annotated[datetime, Column("LAST ACTIVE", "when it was last active, UTC")]
    identifiers: Annotated[list[int], Column("IDENTIFIERS", "the identifiers that refer to it")]


class KindRow(msgspec.Struct, frozen=True):
    """The media packets of one type of relay."""

    type: Annotated[str, Column("TYPE", "the type of the relay resource")]
    rx: Annotated[int, Column("rx", "received media packets")]
    rx_bytes: Annotated[int, Column("rxBytes", "received bytes")]
    tx: Annotated[int, Column("tx", "transmitted media packets")]
    tx_bytes: Annotated[int, Column("txBytes", "transmitted bytes")]


class SentRow(msgspec.Struct, frozen=True):
    """What all types together have sent."""

    packets: Annotated[int, Column("packets", "transmitted packets")]
    bytes: Annotated[int, Column("bytes", "transmitted bytes")]
    error_no_dest: Annotated[int, Column("errorNoDest", "failed transmissions due to invalid address")]
    error: Annotated[int, Column("error", "failed transmissions")]


class ReceivedRow(msgspec.Struct, frozen=True):
    """What all types together have received."""

    packets: Annotated[int, Column("packets", "received packets")]
    bytes: Annotated[int, Column("bytes", "received bytes")]
    error_too_short: Annotated[int, Column("errorTooShort", "received packets that were too short")]
    error_too_long: Annotated[int, Column("errorTooLong", "received packets that were too long")]


class RelayStatistics(msgspec.Struct, frozen=True):
    """The relay since it was started."""

    kinds: Annotated[list[KindRow], Column("Relay types:")]
    sent: Annotated[list[SentRow], Column("Sent:")]
    received: Annotated[list[ReceivedRow], Column("Received:")]


class ShowCommands:
    """Looks into the machine and the relay; `now` is their clock, `wall` UTC."""

    def __init__(
        self,
        machine: Rendezvous,
        relay: Relay,
        server: str,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._machine = machine
        self._relay = relay
        self._server = server
        self._now = now
        self._wall = wall

    @command("show attach", role=Role.viewer)
    def attach(self) -> list[AttachRow]:
        """List the attached clients.

        Example: crs-cli show attach
        """
        from rtlib.address import join

        now = self._now()
        return [
            AttachRow(
                connection.client.uri,
                connection.client.account,
                int(now - (connection.attached_at or now)),
                connection.version,
                join(connection.host, connection.port),
                self._server,
            )
            for connection in self._machine.attachments.attached
            if not is_test_client(connection.client.uri)
        ]

    @command("show session", role=Role.viewer)
    def session(self) -> list[SessionRow]:
        """List the calls; those that ended, or never began, for another 60 seconds.

        Example: crs-cli show session
        """
        now = self._now()
        exchange = self._machine.exchange
        rows = [
            SessionRow(attempt.caller.uri, attempt.callee.uri, 0, attempt.state)
            for attempt in self._machine.calls.admission.history.recent(now)
        ]
        for session in (*exchange.table.ended, *exchange.table.live):
            if session.presented and not is_test_client(session.caller.uri):
                end = now if session.reason is None else session.stopped
                time = int(end - session.started)
                rows.append(SessionRow(session.caller.uri, session.callee.uri, time, session.state_text))
        for group, party in self._machine.bridge.table.listed:
            caller, callee = group.ends(party)
            if caller != callee:
                end = party.stopped if party.reason is not None else now
                rows.append(SessionRow(caller.uri, callee.uri, int(end - party.started), party.state_text))
        return rows

    @command("show message", role=Role.viewer)
    def message(self) -> list[MessageRow]:
        """List for each client how many messages it has posted, and how many of them were delivered.

        System messages, which clients' software sends by itself, have columns of their own.

        Example: crs-cli show message
        """
        return [
            MessageRow(
                client.uri,
                record.posted,
                record.delivered,
                _moment(record.read),
                client.account,
                record.system_posted,
                record.system_delivered,
            )
            for client, record in sorted(self._machine.directory)
            if not is_test_client(client.uri)
        ]

    @command("show relays", role=Role.viewer)
    async def relays(self) -> list[RelayRow]:
        """List the active relay resources.

        Example: crs-cli show relays
        """
        resources = await _asked(self._relay.resources())
        wall = self._wall()
        return [
            RelayRow(
                resource.kind,
                resource.nodes,
                datetime.fromtimestamp(wall - resource.active, UTC),
                list(resource.identifiers),
            )
            for resource in resources
        ]

    @command("show relay", role=Role.viewer)
    async def relay(self) -> RelayStatistics:
        """Show relay statistics.

        Example: crs-cli show relay
        """
        statistics = await _asked(self._relay.statistics())
        port = statistics.port
        kinds = [KindRow(kind, *counters) for kind, counters in statistics.kinds.items()]
        sent = SentRow(port.sent, port.sent_bytes, port.no_destination, port.send_errors)
        received = ReceivedRow(port.received, port.received_bytes, port.too_short, port.too_long)
        return RelayStatistics(kinds, [sent], [received])


async def _asked(answer: Coroutine[Any, Any, T]) -> T:
    """What the relay says. Raises Unavailable."""
    from crs.relay.interface import RelayAway

    try:
        return await answer
    except RelayAway as error:
        raise Unavailable(str(error)) from error


def _moment(wall: float) -> datetime | None:
    return datetime.fromtimestamp(wall, UTC) if wall else None
