"""Messages in a byte stream: Content-Length (RFC 3261 §18.3) and CRLF keep-alives (RFC 5626 §4.4.1)."""

from __future__ import annotations

import re
from typing import Final

from haproxy.sip.syntax import MAX_MESSAGE_BYTES

PING: Final = b"\r\n\r\n"
"""A keep-alive of the peer; answer it with PONG."""

PONG: Final = b"\r\n"
"""The answer to a ping of ours."""

_LENGTH: Final = re.compile(
    rb"\r\n(?i:Content-Length|l)[ \t]*:([^\r]*+(?:\r\n[ \t][^\r]*+)*)(?=\r\n(?![ \t]))"
)


class Framer:
    """Cuts one connection's bytes into messages.

    With `pings` we are the side that sends pings, and a lone CRLF is reported as PONG at once; without,
    it may be the first half of a ping. A message without Content-Length has no body.
    """

    def __init__(self, *, pings: bool = False, max_message: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._needed = 0
        self._pings = pings
        self._max_message = max_message
        self.fault: str | None = None
        """Why the stream cannot be read any further; the connection must be closed."""

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended: the connection's owner limits how long that may take."""
        return len(self._buffer) > 0

    def receive(self, data: bytes) -> list[bytes]:
        """Add bytes; give the messages that are now complete, PING and PONG among them, in order.

        A message that cannot be framed is given without its body, as the last one, so that its sender
        gets an answer; `fault` is set and further bytes are ignored.
        """
        if self.fault is not None:
            return []
        self._buffer += data
        frames: list[bytes] = []
        while self._buffer and self.fault is None:
            frame = self._keepalive() if self._buffer[0] == 13 else self._message()
            if frame is None:
                break
            frames.append(frame)
        return frames

    def _keepalive(self) -> bytes | None:
        start = bytes(self._buffer[:4])
        if start == PING:
            return self._take(4)
        if start[:2] != PONG[: len(start)]:
            self.fault = "neither a message nor a keep-alive"
            return None
        if len(start) == 4 or (self._pings and len(start) >= 2):
            return self._take(2)
        return None

    def _message(self) -> bytes | None:
        if self._needed == 0:
            end = self._buffer.find(b"\r\n\r\n", self._searched)
            if end < 0 or end > self._max_message:
                self._searched = max(0, len(self._buffer) - 3)
                return self._overlong() if max(end, self._searched) > self._max_message else None
            self._needed = self._size(end + 4)
        if self.fault is None and len(self._buffer) < self._needed:
            return None
        return self._take(self._needed)

    def _size(self, header_size: int) -> int:
        """Bytes of the whole message; sets `fault` where that cannot be trusted."""
        lengths = _LENGTH.findall(self._buffer, 0, header_size)
        if not lengths:
            return header_size
        text = lengths[0].strip()
        if len(lengths) > 1 or not text.isdigit() or len(text) > 20:
            self.fault = "malformed or repeated Content-Length"
            return header_size
        size = header_size + int(text)
        if size > self._max_message:
            self.fault = f"message of {size} bytes"
            return header_size
        return size

    def _overlong(self) -> bytes:
        self.fault = f"header longer than {self._max_message} bytes"
        return self._take(len(self._buffer))

    def _take(self, size: int) -> bytes:
        frame = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = self._needed = 0
        return frame
