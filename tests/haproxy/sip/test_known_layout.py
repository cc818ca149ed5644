"""A message whose layout is known is parsed as if it came for the first time, whatever was done to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import message
from haproxy.sip.message import ParseError, Request, parse

VECTORS = Path(__file__).parents[2] / "vectors" / "rfc4475"
EMPTY_LINE = b"\r\n\r\n"

HEAD = (
    b"Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bK8838adfcc7f25decxacd3d3e0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK-a1.7\r\n"
    b"Record-Route: <sip:192.0.2.9:5060;lr;k=bfdb7e2b79ff>\r\n"
    b'From: "Alice, A." <sip:alice@example.com>;tag=f1\r\nTo: <sip:bob@example.com>;tag=t-1\r\n'
    b"Call-ID: c1@192.0.2.1\r\nCSeq: 7 %b\r\nContact: <sip:alice@192.0.2.1:5062>\r\n"
)
BODY = b"v=0\r\ns=-\r\n"
CALL = [
    b"INVITE sip:bob@example.com SIP/2.0\r\n" + HEAD % b"INVITE" + b"Max-Forwards: 70\r\nContent-Length: 10"
    b"\r\n\r\n" + BODY,
    b"BYE sip:bob@example.com SIP/2.0\r\n" + HEAD % b"BYE" + b"Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
    b"REGISTER sip:example.com SIP/2.0\r\n" + HEAD % b"REGISTER" + b"Expires: 60\r\n\r\n",
    b"SIP/2.0 200 OK\r\n" + HEAD % b"INVITE" + b"Content-Length: 10\r\n\r\n" + BODY,
    b"SIP/2.0 180 Ringing\r\n" + HEAD % b"INVITE" + b"l: 0\r\n\r\n",
]
PIECES = [
    b"\r\n",
    b"\r",
    b"\n",
    EMPTY_LINE,
    b"\n\n",
    b" ",
    b":",
    b";",
    b",",
    b"\r\n ",
    b"tag=",
    b";branch=",
    b"0",
]
LINES = [b"Via: SIP/2.0/UDP h", b"To: <sip:a@b>", b"Call-ID:", b"Call-ID :c", b"X: y", b"Max-Forwards: 256"]
NAMES = [*b"Via v From To Call-ID CSeq Contact Max-Forwards Content-Length X".split(), b""]
"""That a line may have instead of its own."""


def outcome(data: bytes) -> object:
    """Everything that can be told of a parsed message, or of its refusal."""
    try:
        parsed = parse(data)
    except ParseError as error:
        refused = error.message
        answer = bytes(refused.response(400, to_tag=b"t")) if isinstance(refused, Request) else refused
        return error.status, error.reason, answer
    via = parsed.top_via
    return (
        type(parsed),
        bytes(parsed),
        parsed.headers(),
        parsed.body,
        (parsed.start_line, parsed.call_id, parsed.cseq, parsed.from_tag, parsed.to_tag),
        parsed.max_forwards,
        (via.raw, via.branch, via.place, via.bare, via.transport, via.param(b"rport")),
    )


def afresh(data: bytes) -> object:
    """The outcome where nothing is known of such messages."""
    message._layouts.forget()
    return outcome(data)


@given(st.data())
def test_what_is_known_changes_nothing(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from(CALL))
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(start + 8, len(damaged))))
        damaged[start:end] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=3))
    lines = bytes(damaged).split(b"\r\n")
    for _ in range(data.draw(st.integers(0, 2))):
        lines.insert(data.draw(st.integers(1, len(lines))), data.draw(st.sampled_from(LINES)))
    places = st.integers(0, len(lines) - 1)
    for _ in range(data.draw(st.integers(0, 2))):
        place, other = data.draw(places), data.draw(places)
        lines[place], lines[other] = lines[other], lines[place]
    for _ in range(data.draw(st.integers(0, 1))):
        place, name = data.draw(places), data.draw(st.sampled_from(NAMES))
        lines[place] = name + lines[place][max(0, lines[place].find(b":")) :]
    changed = b"\r\n".join(lines) + data.draw(st.sampled_from([b"", EMPTY_LINE, b"x"]))
    expected = afresh(changed)
    assert outcome(changed) == expected
    message._layouts.forget()
    outcome(original)
    assert outcome(changed) == expected


HEADER = CALL[1].partition(EMPTY_LINE)[0].split(b"\r\n")


@pytest.mark.parametrize("line", range(1, len(HEADER)))
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_taken_for_what_stood_there_before(line: int, name: bytes) -> None:
    """Each line that is checked must be known by its name, for those are not compared with the layout's."""
    changed = HEADER.copy()
    changed[line] = name + b":" + changed[line].partition(b":")[2]
    data = b"\r\n".join([*changed, b"", b""])
    expected = afresh(data)
    afresh(CALL[1])
    assert outcome(data) == expected


@pytest.mark.parametrize("one", range(1, len(HEADER)))
def test_lines_in_another_order_are_another_layout(one: int) -> None:
    """Two phones that differ in this only do not drive out each other's."""
    afresh(CALL[1])
    for other in range(1, one):
        swapped = HEADER.copy()
        swapped[one], swapped[other] = swapped[other], swapped[one]
        data = b"\r\n".join([*swapped, b"", b""])
        for each in (data, CALL[1], data):
            outcome(each)
        before = [parse(each)._layout for each in (data, CALL[1])]
        assert [parse(each)._layout for each in (data, CALL[1])] == before
        names = [line.partition(b":")[0].lower() for line in swapped[1:]]
        assert [key for key, _ in parse(data).headers()] == names


@pytest.mark.parametrize("original", CALL)
def test_these_messages_have_known_layouts(original: bytes) -> None:
    afresh(original)
    assert message._layouts.kinds == 1


@pytest.mark.parametrize("end", [b"", EMPTY_LINE, b"\r\n", b"text" + EMPTY_LINE])
@pytest.mark.parametrize("original", CALL)
def test_a_body_may_end_like_a_header(original: bytes, end: bytes) -> None:
    """The header ends at the first empty line, whatever there is to see at the end of the message."""
    head, _, body = original.partition(EMPTY_LINE)
    longer = head.rpartition(b"\r\n")[0] + EMPTY_LINE + body + end
    assert parse(longer).body == body + end
    assert outcome(longer) == afresh(longer)


def test_torture_messages_twice() -> None:
    for path in sorted(VECTORS.glob("*.dat")):
        data = path.read_bytes()
        assert afresh(data) == outcome(data), path.name
