"""Pours datagrams over a proxy from a thread, at a steady rate and from any addresses of this machine."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from haproxy.testing.genproxy import PORT

IP_PKTINFO: Final = 8
"""linux/in.h: with a datagram that is sent, the address that it comes from (ip(7)). Python lacks the name."""
TICK: Final = 0.005
"""Seconds between two looks at what is due."""

Write = Callable[[int], tuple[str, bytes]]
"""Of the number of a message: its source's address and its bytes."""


class Flood:
    """Sends while its context lasts, or until `count` are sent; one port for all addresses."""

    def __init__(self, proxy: str, rate: float, write: Write, count: int | None = None) -> None:
        """`rate` in messages/s; what cannot be sent in time is sent later."""
        self.sent = 0
        self._target = (proxy, PORT)
        self._rate = rate
        self._write = write
        self._count = count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    @property
    def done(self) -> bool:
        """Whether nothing more will be sent."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", 0))
                self._pour(sock)
        except BaseException as error:  # noqa: BLE001  raised where the context ends
            self._failure = error

    def _pour(self, sock: socket.socket) -> None:
        begun = time.monotonic()
        while not self._stop.wait(TICK):
            due = int((time.monotonic() - begun) * self._rate)
            if self._count is not None:
                due = min(due, self._count)
            while self.sent < due and not self._stop.is_set():
                source, data = self._write(self.sent)
                # struct in_pktinfo: interface, source, and nothing that counts when sending.
                info = struct.pack("=i4s4x", 0, socket.inet_aton(source))
                sock.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, self._target)
                self.sent += 1
            if self.sent == self._count:
                return
