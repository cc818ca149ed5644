"""Frames of a WebSocket, as a server reads and writes them (RFC 6455). Sans-IO."""

from __future__ import annotations

from typing import Final, NamedTuple

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
"""Opcodes (section 5.2)."""

CLOSE_NORMAL: Final = 1000
CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_UNSUPPORTED: Final = 1003
CLOSE_BAD_DATA: Final = 1007
CLOSE_POLICY: Final = 1008
CLOSE_TOO_BIG: Final = 1009
"""Close codes (section 7.4.1)."""

MAX_CONTROL: Final = 125
"""Bytes that a control frame carries at most (section 5.5)."""
MAX_REASON: Final = MAX_CONTROL - 2

_FINAL: Final = 0x80
_MASKED: Final = 0x80
_RESERVED: Final = 0x70
_WHOLE: Final = _FINAL | BINARY
_REGISTERED: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""Codes below 3000 that may be sent (the IANA registry of section 11.7)."""


class Problem(NamedTuple):
    """Why a connection fails: the code to close it with, and what was wrong."""

    code: int
    reason: str


class Decoder:
    """Cuts what a client sends into whole messages and control frames.

    After the first `problem`, and after a close frame, nothing more is read.
    """

    __slots__ = ("_data", "_ended", "_kind", "_parts", "_size", "limit", "problem")

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of one message."""
        self.limit = limit
        self.problem: Problem | None = None
        self._data = b""
        self._kind = CONTINUATION
        self._parts: list[bytes] | None = None
        self._size = 0
        self._ended = False

    # In line, not in functions of their own: this runs for each message of a client.
    def receive(self, data: bytes) -> list[tuple[int, bytes]]:  # noqa: PLR0911, PLR0912
        """Take bytes; give opcode and payload of what is complete now: TEXT, BINARY, CLOSE, PING or PONG."""
        found: list[tuple[int, bytes]] = []
        if self._ended:
            return found
        if self._data:
            data = self._data + data
        at, end = 0, len(data)
        while end - at >= 2:
            first, size = data[at], data[at + 1] - _MASKED
            if first != _WHOLE or self._kind or size < 0:
                problem = self._objection(first, size)
                if problem is not None:
                    return self._fail(found, problem)
            head = 6
            if size >= 126:
                head = 8 if size == 126 else 14
                if end - at < head - 4:
                    break
                short, size = size, int.from_bytes(data[at + 2 : at + head - 4], "big")
                if size < 126 or (short == 127 and size < 65536):
                    return self._fail(found, Problem(CLOSE_PROTOCOL_ERROR, "a length that is not minimal"))
            if self._size + size > self.limit:
                if size >> 63:
                    return self._fail(found, Problem(CLOSE_PROTOCOL_ERROR, "a length above 2^63"))
                if not first & CLOSE:
                    reason = f"a message of more than {self.limit} bytes"
                    return self._fail(found, Problem(CLOSE_TOO_BIG, reason))
            begin = at + head
            if end < begin + size:
                break
            at = begin + size
            payload = unmask(data[begin:at], data[begin - 4 : begin])
            if first == _WHOLE:
                found.append((BINARY, payload))
            elif not self._take(first, payload, found):
                return found
        self._data = data[at:] if at else data
        return found

    def _objection(self, first: int, size: int) -> Problem | None:
        """What is wrong with the first two bytes of a frame."""
        opcode = first & 15
        if first & _RESERVED:
            reason = "reserved bits are set"
        elif size < 0:
            reason = "a frame that is not masked"
        elif opcode > PONG or BINARY < opcode < CLOSE:
            reason = f"the unknown opcode {opcode}"
        elif opcode >= CLOSE and not first & _FINAL:
            reason = "a control frame in fragments"
        elif opcode >= CLOSE and size > MAX_CONTROL:
            reason = f"a control frame of more than {MAX_CONTROL} bytes"
        elif opcode == CONTINUATION and not self._kind:
            reason = "a continuation of nothing"
        elif opcode in (TEXT, BINARY) and self._kind:
            reason = "a message within another one"
        else:
            return None
        return Problem(CLOSE_PROTOCOL_ERROR, reason)

    def _take(self, first: int, payload: bytes, found: list[tuple[int, bytes]]) -> bool:
        """Take one frame that is not a whole binary message; False if nothing may follow it."""
        opcode = first & 15
        if opcode >= CLOSE:
            problem = _close_problem(payload) if opcode == CLOSE else None
            if problem is not None:
                self._fail(found, problem)
                return False
            found.append((opcode, payload))
            self._ended = opcode == CLOSE
            return not self._ended
        kind = opcode or self._kind
        self._size += len(payload)
        if self._parts is None:
            self._parts = []
        if payload:
            # Empty fragments may come without end: they must not be kept.
            self._parts.append(payload)
        if not first & _FINAL:
            self._kind = kind
            return True
        whole = b"".join(self._parts)
        self._kind, self._parts, self._size = CONTINUATION, None, 0
        if kind == TEXT and not _is_text(whole):
            self._fail(found, Problem(CLOSE_BAD_DATA, "text that is not UTF-8"))
            return False
        found.append((kind, whole))
        return True

    def _fail(self, found: list[tuple[int, bytes]], problem: Problem) -> list[tuple[int, bytes]]:
        self.problem, self._ended = problem, True
        self._data, self._parts = b"", None
        return found


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Exclusive or with the mask, repeated (section 5.3): in one operation on long integers."""
    size = len(payload)
    key = (mask * ((size + 3) >> 2))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def header(opcode: int, size: int) -> bytes:
    """What comes before an unmasked payload of `size` bytes, sent in one frame."""
    if size < 126:
        return bytes((_FINAL | opcode, size))
    if size < 65536:
        return bytes((_FINAL | opcode, 126, size >> 8, size & 255))
    return bytes((_FINAL | opcode, 127)) + size.to_bytes(8, "big")


def close_payload(code: int, reason: str) -> bytes:
    """What a close frame carries; a long reason is cut, between characters."""
    text = reason.encode()[:MAX_REASON].decode(errors="ignore")
    return code.to_bytes(2, "big") + text.encode()


def _close_problem(payload: bytes) -> Problem | None:
    """What is wrong with the payload of a close frame (section 7.4)."""
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _REGISTERED or 3000 <= code < 5000):
        return Problem(CLOSE_PROTOCOL_ERROR, "a close code that may not be sent")
    if not _is_text(payload[2:]):
        return Problem(CLOSE_BAD_DATA, "a close reason that is not UTF-8")
    return None


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
