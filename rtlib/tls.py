"""TLS-PSK for Twisted: what `TLSMemoryBIOFactory` takes to make the connection objects of `rtlib.psk`
contexts.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from rtlib import psk


@implementer(IOpenSSLServerConnectionCreator)
class PskServerOptions:
    """Accepts clients by their keys: `TLSMemoryBIOFactory(PskServerOptions(keys), False, factory, clock)`.

    The wrapped protocol then finds out who it talks to with `peer_identity(self.transport)`, from its
    `handshakeCompleted` (IHandshakeListener) or any later moment.
    """

    def __init__(self, keys: psk.KeyLookup) -> None:
        self._context = psk.server_context(keys)

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Make the TLS side of one accepted connection."""
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLClientConnectionCreator)
class PskClientOptions:
    """Connects as `identity` with `key`: `TLSMemoryBIOFactory(PskClientOptions(identity, key), True,
    factory, clock)`.
    """

    def __init__(self, identity: bytes, key: bytes) -> None:
        self._context = psk.client_context(identity, key)

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Make the TLS side of one outgoing connection."""
        return SSL.Connection(self._context, None)


def peer_identity(transport: Any) -> bytes:
    """Give the identity that the client behind a TLS transport has proved. ValueError before the
    handshake is done.
    """
    return psk.identity(transport.getHandle())
