from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip.framing import PING, PONG, Framer
from haproxy.sip.syntax import MAX_MESSAGE_BYTES

ONE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 5\r\n\r\nhello"
TWO = b"BYE sip:b SIP/2.0\r\nl :\r\n 0\r\nX: y\r\n\r\n"
THREE = b"BYE sip:no.length SIP/2.0\r\n\r\n"
STREAM = ONE + PING + TWO + THREE + ONE


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_segmentation_gives_the_same_messages(cuts: list[int]) -> None:
    framer = Framer()
    frames = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        frames += framer.receive(STREAM[start:end])
    assert frames == [ONE, PING, TWO, THREE, ONE]
    assert not framer.partial
    assert framer.fault is None


def test_partial() -> None:
    framer = Framer()
    assert framer.receive(ONE[:-1]) == []
    assert framer.partial
    assert framer.receive(ONE[-1:]) == [ONE]
    assert not framer.partial


def test_a_lone_line_end() -> None:
    framer = Framer()
    assert framer.receive(b"\r\n") == []
    assert framer.receive(ONE) == [PONG, ONE]
    assert Framer(pings=True).receive(b"\r\n") == [PONG]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (b"Content-Length: -1", "malformed or repeated Content-Length"),
        (b"Content-Length: 3\r\nl: 3", "malformed or repeated Content-Length"),
        (b"Content-Length: 70000", "message of 70038 bytes"),
    ],
)
def test_what_cannot_be_framed_is_handed_up_and_ends_the_stream(header: bytes, fault: str) -> None:
    framer = Framer()
    head = b"BYE sip:b SIP/2.0\r\n" + header + b"\r\n\r\n"
    fault = fault.replace("70038", str(len(head) + 70000))
    assert framer.receive(ONE + head + b"more") == [ONE, head]
    assert framer.fault == fault
    assert framer.receive(ONE) == []


def test_an_endless_header_ends_the_stream() -> None:
    framer = Framer()
    frames = []
    for _ in range(MAX_MESSAGE_BYTES // 1000 + 2):
        frames += framer.receive(b"x" * 1000)
    assert framer.fault is not None
    assert len(frames) == 1
    assert len(frames[0]) <= MAX_MESSAGE_BYTES + 1100


def test_a_lone_carriage_return_ends_the_stream() -> None:
    framer = Framer()
    assert framer.receive(b"\rx") == []
    assert framer.fault == "neither a message nor a keep-alive"


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_anything(chunks: list[bytes]) -> None:
    framer = Framer()
    taken = sum(len(frame) for chunk in chunks for frame in framer.receive(chunk))
    assert taken <= sum(map(len, chunks))
