"""Rows of a trace: made only while somebody watches, joined by Call-ID, filtered."""

from __future__ import annotations

from typing import Any

from haproxy.commands.trace import TraceFilter, TraceRow
from haproxy.sip.flow import Flow
from haproxy.tracing import CALLS, PEERS, SipTracer
from rtlib.address import pack
from rtlib.command.render import trace_line
from rtlib.testing import loop

PHONE, GENESIS = Flow("udp", 0, pack("192.0.2.50", 5060)), Flow("tls", 2, pack("192.0.2.11", 5061), 1)


def message(
    first: str, call: str = "c1", user: str = "5000", sequence: str = "1 INVITE", body: bytes = b""
) -> bytes:
    """One message of a call."""
    lines = [
        first,
        "Via: SIP/2.0/UDP 192.0.2.50;branch=z9hG4bK1",
        f"From: <sip:{user}@x>;tag=1",
        "To: <sip:100@x>",
        f"Call-ID: {call}",
        f"CSeq: {sequence}",
        "Content-Type: application/sdp" if body else "Max-Forwards: 70",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


INVITE = message("INVITE sip:100@x SIP/2.0", body=b"v=0\r\n")
RINGING = message("SIP/2.0 180 Ringing")


def watch(*steps: tuple[bytes, Flow, bool], **wanted: Any) -> list[TraceRow]:
    """The rows that somebody sees of these messages."""
    rows: list[TraceRow] = []

    async def story() -> None:
        tracer = SipTracer(lambda: 1e9)
        stream = tracer.subscribe(TraceFilter(**wanted))
        assert tracer.active
        for data, flow, received in steps:
            tracer.messages([(data, flow)], received)
        tracer.close()
        rows.extend([row async for row in stream])
        assert not tracer.active

    loop.run(story)
    return rows


LADDER = (
    (INVITE, PHONE, True),
    (INVITE, GENESIS, False),
    (RINGING, GENESIS, True),
    (RINGING, PHONE, False),
)


def test_both_legs_in_one_ladder() -> None:
    text = "".join(trace_line(row) for row in watch(*LADDER))
    lines = text.splitlines()
    assert lines[0] == "#1 is Call-ID c1"
    assert lines[1].startswith("01:46:40.000 #1         udp:192.0.2.50:5060 --")
    assert " INVITE sip:100@x (application/sdp) " in lines[1]
    assert lines[1].endswith("-> |")
    assert lines[2].strip().endswith("-> tls:192.0.2.11:5061")
    assert "| <-" in lines[3]
    assert " 180 Ringing " in lines[3]
    assert "udp:192.0.2.50:5060 <-" in lines[4]
    bars = {line.index("|") for line in lines[1:]}
    assert len(bars) == 1


def test_filters() -> None:
    other = message("MESSAGE sip:101@x SIP/2.0", "d2", "5001", "7 MESSAGE")
    steps = (*LADDER, (other, PHONE, True))
    assert len(watch(*steps)) == 5
    assert [row.call_id for row in watch(*steps, call="d")] == ["d2"]
    assert [row.users for row in watch(*steps, user="5001")] == [["5001", "100", "101"]]
    assert [row.cseq for row in watch(*steps, method="message")] == [7]
    assert len(watch(*steps, method="INVITE", user="5000")) == 4


def test_what_cannot_be_read_is_shown_too() -> None:
    (row,) = watch((b"nonsense\x00\x1b[31m\r\n\r\n", PHONE, True))
    assert row.message.startswith("unreadable: ")
    assert "\x1b" not in trace_line(row)


def test_bounds() -> None:
    rows = watch(*((message("INVITE sip:1@x SIP/2.0", f"c{n}"), PHONE, True) for n in range(CALLS + 10)))
    assert rows[-1].call == len({row.call for row in rows}) or rows[-1].call > CALLS - 10
    flows = [Flow("udp", 0, pack(f"192.0.2.{n}", 5060)) for n in range(1, PEERS + 5)]
    rows = watch(*((INVITE, flow, True) for flow in flows))
    assert max(row.lane for row in rows) == PEERS


def test_control_characters_do_not_reach_the_terminal() -> None:
    (row,) = watch((message("INVITE sip:100@x SIP/2.0", "c\x1b[2J"), PHONE, True))
    assert "\x1b" not in trace_line(row)
