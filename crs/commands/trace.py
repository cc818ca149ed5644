"""`trace attach`, `session` and `message`: events as they happen, until ctrl-c (manual 4.18, 5.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rtlib.command.registry import Feed, Role, Stream, command

if TYPE_CHECKING:
    from crs.signaling.event import AttachEvent, MessageEvent, SessionEvent, Trace

HEADER: Final = "event"
"""What every row begins with (manual 5.4)."""


class AttachEventRow(msgspec.Struct, frozen=True):
    """A client's registration changed."""

    header: str
    time: datetime
    connection_id: int
    type: str
    uri: str
    account: str
    ip: str
    port: int
    state: str
    description: str


class SessionEventRow(msgspec.Struct, frozen=True):
    """A call reached a state."""

    header: str
    time: datetime
    caller: str
    callee: str
    state: str
    account: str
    session_id: str


class MessageEventRow(msgspec.Struct, frozen=True):
    """Something happened to a message."""

    header: str
    time: datetime
    sender: str
    recipient: str
    state: str
    account: str
    message_id: str


class TraceCommands:
    """A feed of rows for each kind of event; `wall` gives UTC seconds."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._attach: Feed[AttachEventRow] = Feed()
        self._session: Feed[SessionEventRow] = Feed()
        self._message: Feed[MessageEventRow] = Feed()
        self.totals: Counter[tuple[str, str]] = Counter()
        """How often what happened: (attach, registered), (session, talk), (message, delivered) ..."""

    def publish(self, event: Trace) -> None:
        """Hand an event of the machine to whoever traces its kind."""
        kind, publish = _PUBLISH[type(event).__name__]
        # A label without who ended the call and why: the metric stays small.
        self.totals[kind, event.state.partition("(")[0]] += 1
        publish(self, event)

    def close(self) -> None:
        """End all traces: the server stops."""
        for feed in (self._attach, self._session, self._message):
            feed.close()

    @command("trace attach", role=Role.viewer)
    def attach(self) -> Stream[AttachEventRow]:
        """Trace the registrations of clients. Stop with ctrl-c.

        Header, Time, Connection-Id, Type, URI, Account, IP, Port, State, Description

        Example: crs-cli trace attach
        """
        return self._attach.subscribe()

    @command("trace session", role=Role.viewer)
    def session(self) -> Stream[SessionEventRow]:
        """Trace calls. Stop with ctrl-c.

        Header, Time, Caller, Callee, State, Account, Session-ID

        Example: crs-cli trace session
        """
        return self._session.subscribe()

    @command("trace message", role=Role.viewer)
    def message(self) -> Stream[MessageEventRow]:
        """Trace messages. Stop with ctrl-c.

        Header, Time, From, To, State, Account, Message-ID

        Example: crs-cli trace message
        """
        return self._message.subscribe()

    def _publish_attach(self, event: AttachEvent) -> None:
        if self._attach.active:
            row = AttachEventRow(
                header=HEADER,
                time=self._time(),
                connection_id=event.connection,
                type="primary",
                uri=event.client.uri,
                account=event.client.account,
                ip=event.host,
                port=event.port,
                state=event.state,
                description=event.description,
            )
            self._attach.publish(row)

    def _publish_session(self, event: SessionEvent) -> None:
        if self._session.active:
            row = SessionEventRow(
                header=HEADER,
                time=self._time(),
                caller=event.caller.uri,
                callee=event.callee.uri,
                state=event.state,
                account=event.callee.account,
                session_id=event.session,
            )
            self._session.publish(row)

    def _publish_message(self, event: MessageEvent) -> None:
        if self._message.active:
            row = MessageEventRow(
                header=HEADER,
                time=self._time(),
                sender=event.sender.uri,
                recipient=event.recipient.uri,
                state=event.state,
                account=event.recipient.account,
                message_id=event.message,
            )
            self._message.publish(row)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


_PUBLISH: Final[dict[str, tuple[str, Callable[[TraceCommands, Any], None]]]] = {
    "AttachEvent": ("attach", TraceCommands._publish_attach),
    "SessionEvent": ("session", TraceCommands._publish_session),
    "MessageEvent": ("message", TraceCommands._publish_message),
}
"""By name: the command line program, which imports this too, must not load the machine."""
