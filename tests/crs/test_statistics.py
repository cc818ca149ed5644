"""What statistics count."""

from __future__ import annotations

import pytest

from crs.identity import Identity
from crs.signaling.event import AttachEvent, MessageEvent, MultiSession, SessionEvent, Trace
from crs.statistics import KINDS, counted

ALICE, BOB = Identity("+1", "blue"), Identity("+2", "green")


def session(state: str, streams: int = 1, kind: str = "call") -> SessionEvent:
    return SessionEvent(ALICE, BOB, state, "s", streams, kind)  # type: ignore[arg-type]


def mail(state: str, system: bool = False) -> MessageEvent:
    return MessageEvent(ALICE, BOB, state, "m", system)


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (session("invite"), ["session-outgoing +1", "session-incoming +2"]),
        (session("ringing"), []),
        (session("talk"), []),
        (session("responder not found"), []),
        (session("hangup(cancel; caller)", 2), []),
        (session("invite", 2), ["session-outgoing +1", "session-incoming +2", "initiated-multi-session +1"]),
        (session("talk", 2), ["accepted-multi-session +2"]),
        (MultiSession(ALICE, BOB), ["initiated-multi-session +1", "accepted-multi-session +2"]),
        (session("invite", 1, "group"), ["sent-group-call-invite +1"]),
        (session("talk", 1, "group"), ["accepted-group-call-invite +2"]),
        (session("talk", 1, "conference"), ["conference-calls +1"]),
        (session("invite", 1, "conference"), []),
        (mail("posted content"), ["message-outgoing +1"]),
        (mail("delivered"), ["message-incoming +2"]),
        (mail("posted content", True), ["system-outgoing +1"]),
        (mail("delivered", True), ["system-incoming +2"]),
        (mail("posted ack"), []),
        (mail("not-found"), []),
        (AttachEvent(1, ALICE, "192.0.2.1", 5, "registered", ""), []),
    ],
)
def test_what_an_event_counts_for(event: Trace, counts: list[str]) -> None:
    found = list(counted(event))
    assert [f"{kind} {client.uri}" for kind, client in found] == counts
    assert {kind for kind, _ in found} <= set(KINDS)


def test_test_clients_do_not_count() -> None:
    test = Identity("urn:x-crs:client:test-1-crs1", "blue")
    assert list(counted(SessionEvent(test, BOB, "invite", "s"))) == [("session-incoming", BOB)]
