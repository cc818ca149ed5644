"""`trace`: events as they happen, until ctrl-c (manual 4.18, 5.4). While nobody watches no row is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from crs.commands.tracerow import (
    HEADER,
    AttachEventRow,
    ConnectionEventRow,
    LogEventRow,
    MessageEventRow,
    ObjectEventRow,
    SessionEventRow,
    StatisticsEventRow,
)
from crs.statistics import counted
from rtlib.command.registry import Feed, Role, Stream, command

if TYPE_CHECKING:
    from crs.doorway import ConnectionEvent
    from crs.identity import Identity
    from crs.signaling.event import AttachEvent, MessageEvent, SessionEvent, Trace
    from rtlib.log import Watcher


class TraceCommands:
    """A feed of rows for each kind of event."""

    def __init__(self, wall: Callable[[], float], watch_log: Callable[[Watcher | None], None]) -> None:
        """`wall` gives UTC seconds; `watch_log` has every event of the log told to somebody, or nobody."""
        self._wall = wall
        self._watch_log = watch_log
        self._attach: Feed[AttachEventRow] = Feed()
        self._session: Feed[SessionEventRow] = Feed()
        self._message: Feed[MessageEventRow] = Feed()
        self._object: Feed[ObjectEventRow] = Feed()
        self._connection: Feed[ConnectionEventRow] = Feed()
        self._statistics: Feed[StatisticsEventRow] = Feed()
        self._log: Feed[LogEventRow] = Feed(on_active=self._watch)
        self.totals: Counter[tuple[str, str]] = Counter()
        """How often what happened: (attach, registered), (session, talk), (message, delivered) ..."""

    def publish(self, event: Trace) -> None:
        """Hand an event of the machine to whoever traces its kind."""
        kind, publish = _PUBLISH[type(event).__name__]
        # A label without who ended the call and why: the metric stays small.
        self.totals[kind, event.state.partition("(")[0]] += 1
        publish(self, event)
        if self._statistics.active:
            for type_, client in counted(event):
                row = StatisticsEventRow(HEADER, self._time(), type_, client.uri, client.account)
                self._statistics.publish(row)

    def publish_object(self, client: Identity, event: str) -> None:
        """Something that is kept of a client has changed."""
        if self._object.active:
            self._object.publish(ObjectEventRow(HEADER, self._time(), client.uri, event))

    def publish_connection(self, event: ConnectionEvent) -> None:
        """A connection has reached a state."""
        if self._connection.active:
            row = ConnectionEventRow(
                header=HEADER,
                time=self._time(),
                id=event.number,
                user_type="unknown" if event.client is None else "client",
                user="unknown" if event.client is None else str(event.client),
                ip=event.host,
                port=event.port,
                state=event.state,
            )
            self._connection.publish(row)

    def close(self) -> None:
        """End all traces: the server stops."""
        for feed in self._feeds:
            feed.close()

    @property
    def readers(self) -> int:
        """How many traces are running."""
        return sum(feed.readers for feed in self._feeds)

    @property
    def _feeds(self) -> tuple[Feed[Any], ...]:
        return (
            self._attach,
            self._session,
            self._message,
            self._object,
            self._connection,
            self._statistics,
            self._log,
        )

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

    @command("trace object", role=Role.viewer)
    def object(self) -> Stream[ObjectEventRow]:
        """Trace changes of what the server keeps of a client. Stop with ctrl-c.

        Header, Time, From, Event

        Example: crs-cli trace object
        """
        return self._object.subscribe()

    @command("trace event", role=Role.viewer)
    def event(self) -> Stream[LogEventRow]:
        """Trace what the server logs, debug events included, whatever the log's level. Stop with ctrl-c.

        Module, Type, Time, Information

        Example: crs-cli trace event
        """
        return self._log.subscribe()

    @command("trace connection", role=Role.viewer)
    def connection(self) -> Stream[ConnectionEventRow]:
        """Trace the connections of clients. Stop with ctrl-c.

        Header, Time, Id, User-Type, User, IP, Port, State

        Example: crs-cli trace connection
        """
        return self._connection.subscribe()

    @command("trace statistics", role=Role.viewer)
    def statistics(self) -> Stream[StatisticsEventRow]:
        """Trace what statistics count: calls and messages. Stop with ctrl-c.

        Header, Time, Type, Uri, Account

        Example: crs-cli trace statistics
        """
        return self._statistics.subscribe()

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

    def _watch(self, active: bool) -> None:
        self._watch_log(self._publish_log if active else None)

    def _publish_log(self, module: str, wall: float, information: str) -> None:
        self._log.publish(LogEventRow(module, "dbg", datetime.fromtimestamp(wall, UTC), information))

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


_PUBLISH: Final[dict[str, tuple[str, Callable[[TraceCommands, Any], None]]]] = {
    "AttachEvent": ("attach", TraceCommands._publish_attach),
    "SessionEvent": ("session", TraceCommands._publish_session),
    "MultiSession": ("session", lambda _commands, _event: None),
    "MessageEvent": ("message", TraceCommands._publish_message),
}
"""By name: the command line program, which imports this too, must not load the machine."""
