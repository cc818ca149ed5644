"""Somebody who sends single requests by UDP, from an address of his own, and notes what comes back."""

from __future__ import annotations

import socket
from itertools import count
from types import TracebackType
from typing import Final

from haproxy.testing.genproxy import PORT, own_host

PATIENCE: Final = 10.0
"""Seconds for an answer; a slow machine may take one."""
AGENT: Final = "stranger"


class Stranger:
    """One socket; no phone, so nothing is retransmitted and nothing answered."""

    def __init__(self, host: str = "", port: int = 0) -> None:
        """An empty `host` is an address that nobody else uses."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host or own_host(), port))
        self._numbers = count(1)
        self.host, self.port = self._socket.getsockname()

    def __enter__(self) -> Stranger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def request(
        self, proxy: str, method: str = "OPTIONS", *, user: str = "", agent: str = AGENT, name: str = ""
    ) -> bytes:
        """A request for the proxy, or for a user there; each one is new. `name` is the caller's."""
        number, own = next(self._numbers), f"{self.host}:{self.port}"
        uri = f"sip:{user}@{proxy}" if user else f"sip:{proxy}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {own};branch=z9hG4bK{self.port}-{number};rport",
            f"From: {name}<sip:stranger@{own}>;tag={number}",
            f"To: <{uri}>",
            f"Call-ID: {number}@{own}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:stranger@{own}>",
            f"User-Agent: {agent}",
            "Max-Forwards: 70",
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def send(self, proxy: str, data: bytes | None = None) -> None:
        """Send an OPTIONS, or these bytes."""
        self._socket.sendto(self.request(proxy) if data is None else data, (proxy, PORT))

    def ask(self, proxy: str, data: bytes | None = None) -> str:
        """Send likewise; the first line of the answer. TimeoutError."""
        self.send(proxy, data)
        self._socket.settimeout(PATIENCE)
        return self._socket.recv(65536).partition(b"\r\n")[0].decode()

    def heard(self) -> list[str]:
        """First lines of what has come and was not asked for with `ask`."""
        self._socket.setblocking(False)
        lines = []
        while True:
            try:
                lines.append(self._socket.recv(65536).partition(b"\r\n")[0].decode())
            except BlockingIOError:
                return lines
