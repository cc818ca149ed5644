"""A client's connection as everything but `crs.websocket` sees it, and who is told of it."""

from __future__ import annotations

from typing import Protocol

from crs.identity import Identity


class Connection(Protocol):
    """One client's open connection: who it is, where it comes from, and the way to it."""

    @property
    def identity(self) -> Identity:
        """Who the client has proven to be."""

    @property
    def psk_identity(self) -> bytes:
        """How the client has named itself and its key in the TLS handshake."""

    host: str
    port: int

    def send(self, data: bytes) -> None:
        """Send one message; nothing happens on a connection that is closing."""

    def close(self, code: int, reason: str) -> None:
        """Close with this code, after what was sent before; cut off who does not answer within a second."""


class Receiver(Protocol):
    """Who is told of connections."""

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def received(self, connection: Connection, data: bytes) -> None:
        """One message of an opened connection. It may wait for those of others until `flush`."""

    def flush(self) -> None:
        """Nothing more has come in for now: what was received is to be worked on."""

    def closed(self, connection: Connection) -> None:
        """An opened connection is gone, or about to be: nothing sent arrives any more. Told once."""

    def offended(self, kind: str, host: str, reason: str) -> None:
        """Somebody at `host` did what a correct client does not."""
