"""Where a Redis server is, and whether it answers: for settings, and for whoever looks without a reactor."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from rtlib.store.interface import StoreError
from rtlib.store.resp import Request, encode

UNIX: Final = "unix:"


class Place(NamedTuple):
    """The path of a UNIX socket, or a host and a port."""

    path: str
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def endpoint(self, reactor: Any) -> Any:
        """What a client connects to."""
        from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint

        if self.path:
            return UNIXClientEndpoint(reactor, self.path)
        return HostnameEndpoint(reactor, self.host, self.port)

    def connect(self, timeout: float) -> socket.socket:
        """A blocking connection. Raises OSError."""
        if not self.path:
            return socket.create_connection((self.host, self.port), timeout)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout)
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock


@dataclass(frozen=True)
class Login:
    """What the server wants to know of a client; an empty name is the user `default`."""

    name: str = ""
    password: str = field(default="", repr=False)
    database: int = 0

    def requests(self) -> tuple[Request, ...]:
        """What to say on a new connection."""
        user = (self.name.encode(),) if self.name else ()
        auth = ((b"AUTH", *user, self.password.encode()),) if self.password else ()
        select = ((b"SELECT", b"%d" % self.database),) if self.database else ()
        return auth + select


def parse_place(text: str) -> Place:
    """A Place from `unix:/path` or `host:port`. Raises ValueError."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not Path(path).is_absolute():
            raise ValueError(f"{text!r}: the path of a socket begins with /")
        return Place(path)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is neither unix:/PATH nor HOST:PORT")
    return Place("", host, int(port))


def ping(place: Place, login: Login, timeout: float) -> None:
    """Return if the server serves this client. Blocks. Raises OSError or StoreError with the reason."""
    with place.connect(timeout) as sock, sock.makefile("rb") as replies:
        for request in (*login.requests(), (b"PING",)):
            sock.sendall(encode(request))
            reply = replies.readline().rstrip()
            if reply[:1] != b"+":
                reason = reply[1:].decode(errors="replace") or "it closed the connection"
                raise StoreError(f"the Redis server at {place} refuses clients: {reason}")
