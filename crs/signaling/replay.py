"""What went over one attachment, so that it can go on over another connection and nothing is lost or doubled.

Both sides count the messages of the other since the attachment began. The server keeps what it
has sent until the client says that it was seen, within bounds: a client that stays away for
longer, or that never confirms, has to attach anew.
"""

from __future__ import annotations

from typing import Final

MAX_MESSAGES: Final = 256
MAX_BYTES: Final = 192 * 1024
"""What is kept of one attachment: less than a connection's outgoing buffer, for it is sent at once."""


class Replay:
    """The messages of one attachment. `serial` names it among those of this run of the server."""

    __slots__ = ("_kept", "_size", "received", "sent", "serial")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self.received = 0
        """How many messages the client has sent."""
        self.sent = 0
        """How many messages the client was sent, or would have been."""
        self._kept: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """One more message is sent; the oldest ones are given up beyond the bounds."""
        self.sent += 1
        self._kept.append(data)
        self._size += len(data)
        if len(self._kept) > MAX_MESSAGES or self._size > MAX_BYTES:
            self._trim()

    def seen(self, count: int) -> bool:
        """The client has the first `count` messages; False if there were not so many."""
        if count > self.sent:
            return False
        self._drop(max(0, count - self.sent + len(self._kept)))
        return True

    def since(self, count: int) -> list[bytes] | None:
        """The messages after the first `count`; None if they are not all there any more, or never were."""
        missing = self.sent - count
        if not 0 <= missing <= len(self._kept):
            return None
        return self._kept[len(self._kept) - missing :]

    def _trim(self) -> None:
        while len(self._kept) > MAX_MESSAGES or self._size > MAX_BYTES:
            self._size -= len(self._kept.pop(0))

    def _drop(self, count: int) -> None:
        self._size -= sum(map(len, self._kept[:count]))
        del self._kept[:count]
