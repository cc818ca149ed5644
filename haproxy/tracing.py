"""What goes through the proxy's sockets, call by call, for whoever watches; nothing is made for nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from haproxy.commands.trace import TraceFilter, TraceRow
from haproxy.sip.flow import Flow
from haproxy.sip.message import Message, ParseError, Request, Response, parse
from haproxy.sip.uri import UriError
from rtlib.address import text
from rtlib.command.registry import Feed, Stream

CALLS: Final = 1000
"""Calls whose number and peers are remembered while somebody watches."""
PEERS: Final = 16
"""Peers of one call that get a lane of their own."""

Batch = Sequence[tuple[bytes, Flow]]


class _Call:
    """A Call-ID that was seen: its number, and its peers in the order in which they appeared."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.peers: list[str] = []

    def lane(self, peer: str) -> int:
        """0 for whoever began, 1 for the next peer ..."""
        if peer not in self.peers and len(self.peers) < PEERS:
            self.peers.append(peer)
        return self.peers.index(peer) if peer in self.peers else PEERS


class SipTracer:
    """Makes a row of each message that somebody wants to see."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` gives seconds of UTC."""
        self._wall = wall
        self._feed: Feed[TraceRow] = Feed(on_active=self._watched)
        self._calls: dict[bytes, _Call] = {}
        self._number = 0
        self.active = False
        """Whether anybody watches; who calls `messages` asks before."""

    @property
    def watchers(self) -> int:
        """How many watch."""
        return self._feed.readers

    def subscribe(self, wanted: TraceFilter) -> Stream[TraceRow]:
        """Rows from now on. Raises Unavailable."""
        return self._feed.subscribe(wanted.matches)

    def close(self) -> None:
        """The proxy stops."""
        self._feed.close()

    def messages(self, batch: Batch, received: bool) -> None:
        """Messages that were received, or are being sent."""
        now = self._wall()
        for data, flow in batch:
            row = self._row(data, flow, received, now)
            if row is not None:
                self._feed.publish(row)

    def _watched(self, active: bool) -> None:
        self.active = active
        if not active:
            self._calls.clear()

    def _row(self, data: bytes, flow: Flow, received: bool, now: float) -> TraceRow | None:
        try:
            message = parse(data)
            method, sequence = message.cseq_method, message.cseq_number
        except ParseError as error:
            return self._unreadable(data, flow, received, now, str(error))
        call = self._call(message.call_id)
        peer = text(flow.remote)
        first = not call.peers
        return TraceRow(
            time=datetime.fromtimestamp(now, UTC),
            call=call.number,
            lane=call.lane(peer),
            received=received,
            transport=flow.transport,
            peer=peer,
            message=_summary(message),
            method=_text(method),
            cseq=sequence,
            call_id=_text(message.call_id),
            users=_users(message),
            size=len(data),
            first=first,
        )

    def _unreadable(self, data: bytes, flow: Flow, received: bool, now: float, reason: str) -> TraceRow:
        return TraceRow(
            time=datetime.fromtimestamp(now, UTC),
            call=0,
            lane=0,
            received=received,
            transport=flow.transport,
            peer=text(flow.remote),
            message=f"unreadable: {reason}",
            method="",
            cseq=0,
            call_id="",
            users=[],
            size=len(data),
            first=False,
        )

    def _call(self, call_id: bytes) -> _Call:
        call = self._calls.get(call_id)
        if call is None:
            if len(self._calls) >= CALLS:
                del self._calls[next(iter(self._calls))]
            self._number += 1
            call = self._calls[call_id] = _Call(self._number)
        return call


def _summary(message: Message) -> str:
    body = message.first(b"content-type") if message.body else None
    kind = "" if body is None else f" ({_text(body.partition(b';')[0].strip())})"
    if isinstance(message, Request):
        return f"{_text(message.method)} {_text(message.uri)}{kind}"
    if isinstance(message, Response):
        return f"{message.status} {_text(message.reason)}{kind}"
    return ""


def _users(message: Message) -> list[str]:
    """Who takes part, by the names in From, To and Request-URI."""
    found = []
    for read in (lambda: message.from_.target, lambda: message.to.target):
        try:
            found.append(read())
        except ValueError:
            continue
    if isinstance(message, Request):
        with suppress(UriError):
            found.append(message.target)
    return list(dict.fromkeys(_text(uri.username) for uri in found if uri.username))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
