"""What statistics count (manual 5.4, `stats`): of each client, how many calls and messages of which kind.

The counts are in the client's record in the directory, so they are as durable as POST and DELIV of
`show message`. Test clients are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from crs.identity import Identity, is_test_client

if TYPE_CHECKING:
    from crs.signaling.directory import Directory
    from crs.signaling.event import MessageEvent, MultiSession, SessionEvent, Trace

KINDS: Final = (
    "session-outgoing",
    "session-incoming",
    "message-outgoing",
    "message-incoming",
    "system-outgoing",
    "system-incoming",
    "conference-calls",
    "initiated-multi-session",
    "accepted-multi-session",
    "sent-group-call-invite",
    "accepted-group-call-invite",
)
"""In the order of the export's columns."""

Count: TypeAlias = tuple[str, Identity]
"""A kind, and the client that it counts for."""


def counted(event: Trace) -> Iterator[Count]:
    """What an event adds one to."""
    find = _COUNTED.get(type(event).__name__)
    return iter(()) if find is None else (each for each in find(event) if not is_test_client(each[1].uri))


class Statistics:
    """Counts for the accounts that have it switched on."""

    def __init__(self, directory: Directory, is_on: Callable[[str], bool], now: Callable[[], float]) -> None:
        """`is_on(account)`; `now` is the machine's clock."""
        self._directory = directory
        self._is_on = is_on
        self._now = now

    def record(self, event: Trace) -> None:
        """Count what an event stands for."""
        for kind, client in counted(event):
            if self._is_on(client.account):
                self._directory.count(client, kind, self._now())


def _session(event: SessionEvent) -> Iterator[Count]:
    """A call when its callee is told; of several streams at once also as one; a group's parties apart."""
    begins, answered = event.state == "invite", event.state == "talk"
    if event.kind == "group":
        if begins:
            yield "sent-group-call-invite", event.caller
        elif answered:
            yield "accepted-group-call-invite", event.callee
    elif event.kind == "conference":
        if answered:
            yield "conference-calls", event.caller
    elif begins:
        yield "session-outgoing", event.caller
        yield "session-incoming", event.callee
        if event.streams > 1:
            yield "initiated-multi-session", event.caller
    elif answered and event.streams > 1:
        yield "accepted-multi-session", event.callee


def _multi_session(event: MultiSession) -> Iterator[Count]:
    """A call that has become one of several streams; once, like one that began so."""
    yield "initiated-multi-session", event.initiator
    yield "accepted-multi-session", event.acceptor


def _message(event: MessageEvent) -> Iterator[Count]:
    """A message when it is stored, and when it has been fetched."""
    kind = "system" if event.system else "message"
    if event.state == "posted content":
        yield f"{kind}-outgoing", event.sender
    elif event.state == "delivered":
        yield f"{kind}-incoming", event.recipient


_COUNTED: Final[dict[str, Callable[[Any], Iterator[Count]]]] = {
    "SessionEvent": _session,
    "MultiSession": _multi_session,
    "MessageEvent": _message,
}
"""By name: the command line program, which imports this too, must not load the machine."""
