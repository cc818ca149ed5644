"""Where a Redis server is, and whether it answers: for settings, and for whoever looks without a reactor."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from rtlib.store.interface import StoreError
from rtlib.store.resp import Request, encode

UNIX: Final = "unix:"

DURABLE: Final = {
    b"appendonly": b"yes",
    b"appendfsync": b"always",
    b"no-appendfsync-on-rewrite": b"no",
    b"maxmemory-policy": b"noeviction",
    b"aof-load-truncated": b"no",
}
"""What the server's configuration must say, or it may lose what it has acknowledged.

With `aof-load-truncated yes` a server that was killed amid the writing of a transaction cuts its log off
behind the last complete command, which leaves the transaction open. So when it starts once more, that
part is done together with the transaction that was written next, or what follows is dropped for want of
an end (github.com/valkey-io/valkey/pull/4342). With `no` it does not start on such a log, until
`redis-check-aof --fix` has cut it off before the transaction.
"""


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


def shortfall(required: Mapping[bytes, bytes], settings: Sequence[Sequence[bytes]]) -> str:
    """What a server's settings lack, by its replies to CONFIG GET for each; nothing if they will do."""
    for (name, wanted), setting in zip(required.items(), settings, strict=True):
        if setting != [name, wanted]:
            found = b" ".join(setting[1:]).decode(errors="replace")
            return f"its setting {name.decode()} is {found or 'not known'}, not {wanted.decode()}"
    return ""


def examine(place: Place, login: Login, timeout: float, *, durable: bool) -> None:
    """Return if the server serves this client, and if need be durably.

    Blocks. Raises OSError or StoreError with the reason.
    """
    required = DURABLE if durable else {}
    with place.connect(timeout) as sock, sock.makefile("rb") as replies:

        def ask(*request: bytes) -> list[bytes]:
            sock.sendall(encode(request))
            return _reply(replies, place)

        for request in (*login.requests(), (b"PING",)):
            ask(*request)
        problem = shortfall(required, [ask(b"CONFIG", b"GET", name) for name in required])
    if problem:
        raise StoreError(f"the Redis server at {place} will not do: {problem}")


def _reply(replies: BinaryIO, place: Place) -> list[bytes]:
    """A status or an array of strings (redis.io/docs/reference/protocol-spec)."""
    line = replies.readline().rstrip()
    if line[:1] == b"+":
        return [line[1:]]
    if line[:1] != b"*":
        reason = line[1:].decode(errors="replace") or "it closed the connection"
        raise StoreError(f"the Redis server at {place} refuses clients: {reason}")
    words = []
    for _ in range(int(line[1:])):
        size = int(replies.readline()[1:])
        words.append(replies.read(size + 2)[:size])
    return words
