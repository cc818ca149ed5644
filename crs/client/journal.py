"""What a client must remember of its attachment, so that it can resume it (docs/crs-protocol.md, 4.1).

Sans-IO: whoever owns the connection tells it of every message in the order in which it is sent or
received, and asks it what to send when the attachment goes on.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from crs.signaling.message import Attached, Resume

CONFIRM_AFTER: Final = 16
CONFIRM_BYTES: Final = 64 * 1024
"""Messages or bytes received after which the client confirms them: a fraction of what a server keeps."""

MAX_ENTRIES: Final = 256
"""Requests that are kept because the server has not shown yet that it has them."""


class Journal:
    """The messages of one attachment, counted in both directions."""

    def __init__(self) -> None:
        self._token: bytes | None = None
        self._received = 0
        self._confirmed = 0
        self._unconfirmed_bytes = 0
        self._dropped = 0
        self._requests: deque[tuple[int, bytes]] = deque()
        self.attached = False
        """Whether there is an attachment."""

    @property
    def received(self) -> int:
        """How many messages of the attachment have arrived."""
        return self._received

    @property
    def full(self) -> bool:
        """Whether no further request can be kept."""
        return len(self._requests) >= MAX_ENTRIES

    @property
    def resume(self) -> Resume | None:
        """What the next attach says to resume this attachment; None if it cannot be resumed."""
        return None if self._token is None else Resume(token=self._token, received=self._received)

    def ask(self, number: int, data: bytes) -> None:
        """A request of this id is sent, or will be once there is a connection."""
        if self.attached:
            self._requests.append((number, data))

    def answered(self, number: int) -> None:
        """The request of this id has its reply: the server has it, and all before it."""
        if any(each == number for each, _ in self._requests):
            while self._requests[0][0] != number:
                self._drop()
            self._drop()

    def arrived(self, size: int) -> bool:
        """A message of `size` bytes has arrived that is no `attached`; True if it is time to confirm."""
        if not self.attached:
            return False
        self._received += 1
        self._unconfirmed_bytes += size
        due = self._received - self._confirmed >= CONFIRM_AFTER or self._unconfirmed_bytes >= CONFIRM_BYTES
        if due:
            self._confirmed = self._received
            self._unconfirmed_bytes = 0
        return due and self._token is not None

    def begin(self, attached: Attached) -> list[bytes]:
        """An `attached` has come: the requests to send (again), in order. A new attachment has none."""
        self._token = attached.token
        if attached.resumed:
            while self._requests and self._dropped < attached.received:
                self._drop()
            return [data for _, data in self._requests]
        self._received = self._confirmed = self._unconfirmed_bytes = self._dropped = 0
        self._requests.clear()
        self.attached = True
        return []

    def end(self) -> None:
        """The attachment is over and cannot be resumed."""
        self._token = None
        self.attached = False
        self._requests.clear()

    def _drop(self) -> None:
        self._requests.popleft()
        self._dropped += 1
