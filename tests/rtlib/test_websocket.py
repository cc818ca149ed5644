"""Framing by the cases of the Autobahn test suite: its groups 1 to 7 and 10, and the limits of group 9."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_REASON,
    PING,
    PONG,
    TEXT,
    Decoder,
    close_payload,
    header,
    unmask,
)

LIMIT = 2**20
MASK = b"\x37\xfa\x21\x3d"
HELLO = "Hello-µ@ßöäüàá-UTF-8!!".encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame as a client sends it, or should not."""
    first, rest = header(opcode, len(payload))[0], header(opcode, len(payload))[1:]
    first = (first if fin else first & 0x7F) | rsv << 4
    if not masked:
        return bytes((first,)) + rest + payload
    return bytes((first, rest[0] | 0x80)) + rest[1:] + MASK + unmask(payload, MASK)


def outcome(data: bytes, chop: int | None = None, limit: int = LIMIT) -> tuple[list[tuple[int, bytes]], int]:
    """What was found, and the close code of the problem; 0 for none."""
    decoder = Decoder(limit)
    step = chop or len(data)
    found = [event for at in range(0, len(data), step) for event in decoder.receive(data[at : at + step])]
    return found, 0 if decoder.problem is None else decoder.problem.code


# 1: messages of all lengths, at once and in pieces


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536])
@pytest.mark.parametrize("chop", [None, 997])
def test_1_messages(opcode: int, size: int, chop: int | None) -> None:
    payload = b"*" * size
    assert outcome(frame(opcode, payload) * 2, chop) == ([(opcode, payload)] * 2, 0)


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 64))
def test_1_messages_in_any_pieces(payloads: list[bytes], chop: int) -> None:
    data = b"".join(frame(BINARY, payload) for payload in payloads)
    found, code = outcome(data or frame(PING), chop)
    assert code == 0 and [payload for opcode, payload in found if opcode == BINARY] == payloads


# 2: pings and pongs


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"Hello, world!", bytes([0, 255, 254, 253, 0, 255]), b"\xfe" * 125])
@pytest.mark.parametrize("chop", [None, 1])
def test_2_control_frames(opcode: int, payload: bytes, chop: int | None) -> None:
    assert outcome(frame(opcode, payload) * 10, chop) == ([(opcode, payload)] * 10, 0)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_2_5_control_frames_that_are_too_long(opcode: int) -> None:
    assert outcome(frame(opcode, b"\xfe" * 126)) == ([], 1002)


# 3: reserved bits


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("chop", [None, 1])
def test_3_reserved_bits(rsv: int, opcode: int, chop: int | None) -> None:
    """What came before counts, what comes after does not."""
    data = frame(TEXT, HELLO) + frame(opcode, b"", rsv=rsv) + frame(PING)
    assert outcome(data, chop) == ([(TEXT, HELLO)], 1002)


# 4: opcodes


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"unknown opcode"])
@pytest.mark.parametrize("chop", [None, 1])
def test_4_unknown_opcodes(opcode: int, payload: bytes, chop: int | None) -> None:
    data = frame(TEXT, HELLO) + frame(opcode, payload) + frame(PING)
    assert outcome(data, chop) == ([(TEXT, HELLO)], 1002)


# 5: fragmentation


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_5_1_2_control_frames_in_fragments(opcode: int) -> None:
    assert outcome(frame(opcode, b"", fin=False) + frame(CONTINUATION, b"")) == ([], 1002)


@pytest.mark.parametrize("chop", [None, 1])
def test_5_3_to_8_fragments_with_pings_in_between(chop: int | None) -> None:
    parts = [frame(TEXT, b"fragment1", fin=False), frame(CONTINUATION, b"", fin=False)]
    parts += [frame(PING, b"ping"), frame(CONTINUATION, b"fragment2", fin=False), frame(PING, b"pong")]
    parts += [frame(CONTINUATION, b"fragment3"), frame(BINARY, b"next")]
    expected = [(PING, b"ping"), (PING, b"pong"), (TEXT, b"fragment1fragment2fragment3"), (BINARY, b"next")]
    assert outcome(b"".join(parts), chop) == (expected, 0)


@pytest.mark.parametrize("fin", [True, False])
def test_5_9_to_14_a_continuation_of_nothing(fin: bool) -> None:
    assert outcome(frame(CONTINUATION, b"x", fin=fin) + frame(TEXT, HELLO)) == ([], 1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_15_to_18_a_message_within_another_one(opcode: int) -> None:
    data = frame(TEXT, b"one", fin=False) + frame(opcode, b"two")
    assert outcome(data) == ([], 1002)
    whole = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b") + frame(CONTINUATION, b"c", fin=False)
    assert outcome(whole) == ([(TEXT, b"ab")], 1002)


def test_5_empty_fragments_cost_nothing() -> None:
    decoder = Decoder(LIMIT)
    decoder.receive(frame(BINARY, b"", fin=False))
    for _ in range(1000):
        assert decoder.receive(frame(CONTINUATION, b"", fin=False)) == []
    assert decoder._parts == []
    assert decoder.receive(frame(CONTINUATION, b"end")) == [(BINARY, b"end")]


# 6: UTF-8


@pytest.mark.parametrize(
    "text",
    ["", "κόσμε", "\0", "\u0080", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff", "\U0010ffff", "\ud7ff"],
)
def test_6_text(text: str) -> None:
    data = text.encode()
    assert outcome(frame(TEXT, data)) == ([(TEXT, data)], 0)
    pieces = [
        frame(TEXT, b"", fin=False),
        *(frame(CONTINUATION, data[i : i + 1], fin=False) for i in range(len(data))),
    ]
    assert outcome(b"".join(pieces) + frame(CONTINUATION)) == ([(TEXT, data)], 0)


@pytest.mark.parametrize(
    "data",
    [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf\x80\xbf",
        b"\xc0 ",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xfe\xfe\xff\xff",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xce",
    ],
)
def test_6_bytes_that_are_no_text(data: bytes) -> None:
    assert outcome(frame(TEXT, data)) == ([], 1007)
    parts = frame(TEXT, data[:1], fin=False) + frame(CONTINUATION, data[1:]) + frame(PING)
    assert outcome(parts) == ([], 1007)
    assert outcome(frame(BINARY, data)) == ([(BINARY, data)], 0)


# 7: the closing handshake


def test_7_1_what_follows_a_close_does_not_count() -> None:
    data = frame(TEXT, b"one", fin=False) + frame(CLOSE, close_payload(1000, "bye"))
    data += frame(CONTINUATION, b"two") + frame(PING) + frame(CLOSE)
    assert outcome(data) == ([(CLOSE, b"\x03\xe8bye")], 0)
    assert outcome(data, 1) == ([(CLOSE, b"\x03\xe8bye")], 0)


@pytest.mark.parametrize("payload", [b"", close_payload(1000, ""), close_payload(1000, "x" * MAX_REASON)])
def test_7_3_closes(payload: bytes) -> None:
    assert outcome(frame(CLOSE, payload)) == ([(CLOSE, payload)], 0)


def test_7_3_2_a_close_of_one_byte() -> None:
    assert outcome(frame(CLOSE, b"a")) == ([], 1002)


def test_7_5_1_a_reason_that_is_no_text() -> None:
    assert outcome(frame(CLOSE, b"\x03\xe8\xce\xba\xed\xa0\x80")) == ([], 1007)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
)
def test_7_7_codes_that_may_be_sent(code: int) -> None:
    payload = close_payload(code, "why")
    assert outcome(frame(CLOSE, payload)) == ([(CLOSE, payload)], 0)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_7_9_codes_that_may_not_be_sent(code: int) -> None:
    assert outcome(frame(CLOSE, close_payload(code, ""))) == ([], 1002)


# 9: limits, and lengths that are not what they should be


def test_9_a_message_has_a_limit_whole_or_in_fragments() -> None:
    assert outcome(frame(BINARY, bytes(100)), limit=100) == ([(BINARY, bytes(100))], 0)
    assert outcome(frame(BINARY, bytes(101)), limit=100) == ([], 1009)
    parts = frame(BINARY, bytes(60), fin=False) + frame(PING, bytes(125)) + frame(CONTINUATION, bytes(40))
    assert outcome(parts, limit=100) == ([(PING, bytes(125)), (BINARY, bytes(100))], 0)
    assert outcome(parts[:-46] + frame(CONTINUATION, bytes(41)), limit=100) == ([(PING, bytes(125))], 1009)


def test_9_a_giant_length_fails_before_anything_is_kept() -> None:
    decoder = Decoder(LIMIT)
    assert decoder.receive(b"\x82\xff" + (2**40).to_bytes(8, "big")) == []
    assert decoder.problem is not None and decoder.problem.code == 1009
    assert decoder.receive(bytes(1000)) == [] and decoder._data == b""


@pytest.mark.parametrize(
    "start",
    [b"\x82\xfe\x00\x7d", b"\x82\xff" + (65535).to_bytes(8, "big"), b"\x82\xff" + (2**63).to_bytes(8, "big")],
)
def test_9_lengths_that_are_malformed(start: bytes) -> None:
    assert outcome(start + MASK) == ([], 1002)
    assert outcome(start + MASK, 1) == ([], 1002)


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING])
@pytest.mark.parametrize("size", [0, 5, 126, 70000])
def test_a_client_must_mask(opcode: int, size: int) -> None:
    data = frame(TEXT, b"a") + frame(opcode, bytes(size), masked=False)
    assert outcome(data) == ([(TEXT, b"a")], 1002)


# 10: automatic fragmentation


@pytest.mark.parametrize("chop", [None, 1300])
def test_10_many_fragments(chop: int | None) -> None:
    payload = b"*" * 65536
    pieces = [payload[at : at + 1300] for at in range(0, len(payload), 1300)]
    frames = [frame(TEXT, pieces[0], fin=False)]
    frames += [frame(CONTINUATION, piece, fin=False) for piece in pieces[1:-1]]
    frames += [frame(CONTINUATION, pieces[-1])]
    assert outcome(b"".join(frames), chop) == ([(TEXT, payload)], 0)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_bytes_raise(data: bytes, chop: int) -> None:
    """Whatever comes, in whatever pieces, means the same."""
    assert outcome(data or b"\0", chop) == outcome(data or b"\0")


def test_a_close_reason_is_cut_between_characters() -> None:
    assert close_payload(4000, "é" * 100) == b"\x0f\xa0" + "é".encode() * 61
    assert len(close_payload(4000, "x" * 500)) == 125
