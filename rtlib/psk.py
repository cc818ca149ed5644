"""TLS with pre-shared keys: TLS 1.3 external PSK with (EC)DHE (RFC 8446 section 2.2), TLS 1.2 ECDHE-PSK
(RFC 5489).

pyOpenSSL has no PSK calls, so this module and `rtlib.pskstream`, and no other, call OpenSSL through the
binding of `cryptography`. One callback serves both versions (SSL_CTX_set_psk_server_callback(3)); in TLS 1.3
OpenSSL then takes the key to be for SHA-256, so only such cipher suites are offered. Contexts belong to the
reactor's thread.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import cryptography
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL
from OpenSSL.version import __version__ as pyopenssl_version
from twisted.logger import Logger

MAX_IDENTITY = 255
"""Bytes; a longer identity, an empty one and one that is not printable UTF-8 are never looked up."""
MAX_KEY = 256
"""Bytes; OpenSSL accepts no longer key (PSK_MAX_PSK_LEN)."""

GROUPS = b"X25519:P-256"
TLS13_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
TLS12_SUITES = b"ECDHE-PSK-CHACHA20-POLY1305:ECDHE-PSK-AES128-CBC-SHA256"

KeyLookup = Callable[[bytes], bytes | None]
"""Gives the key of an identity, None if there is none. Called during a handshake: it must neither block
nor wait.
"""

_REFUSE = 0
log = Logger()
_binding = Binding()
_lib: Any = _binding.lib
_ffi: Any = _binding.ffi
_connection_class: Any = SSL.Connection
_OPTIONS = _lib.SSL_OP_NO_TICKET | _lib.SSL_OP_NO_COMPRESSION | _lib.SSL_OP_NO_RENEGOTIATION


class PskUnavailable(Exception):
    """TLS-PSK does not work with the installed versions of OpenSSL, cryptography and pyOpenSSL; the text
    names them.
    """


class _PskContext(SSL.Context):
    """What both sides have in common. The context keeps its callback alive: OpenSSL has only a pointer to
    it.
    """

    def __init__(self, method: int) -> None:
        super().__init__(method)
        self.set_min_proto_version(SSL.TLS1_2_VERSION)
        self.set_options(_OPTIONS)
        self.set_mode(SSL.MODE_RELEASE_BUFFERS)
        self.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.set_cipher_list(TLS12_SUITES)
        self.set_tls13_ciphersuites(TLS13_SUITES)
        if _lib.SSL_CTX_set1_curves_list(self._context, GROUPS) != 1:
            raise PskUnavailable(_versions(f"the groups {GROUPS.decode()} are not there"))


class Accepting(Protocol):
    """A stream of `rtlib.pskstream` whose handshake is under way."""

    identity: bytes


class ServerContext(_PskContext):
    """What the connections of a server have in common."""

    def __init__(self, keys: KeyLookup) -> None:
        super().__init__(SSL.TLS_SERVER_METHOD)
        self.accepting: Accepting | None = None
        """Whose handshake calls back now, if it is not a connection of pyOpenSSL."""
        self.identities: WeakKeyDictionary[SSL.Connection, bytes] = WeakKeyDictionary()
        self._keys = keys
        self._secret = os.urandom(32)
        self._callback = _ffi.callback(
            "unsigned int(SSL *, const char *, unsigned char *, unsigned int)", self._answer
        )
        _lib.SSL_CTX_set_psk_server_callback(self._context, self._callback)

    @property
    def pointer(self) -> Any:
        """OpenSSL's own object."""
        return self._context

    def _answer(self, ssl: Any, identity: Any, key: Any, room: int) -> int:
        """Write the key of an identity and give its length; whatever is raised in here must not reach
        OpenSSL.
        """
        try:
            return self._find(ssl, _text(identity), key, room)
        except Exception:  # noqa: BLE001 - C code called this
            log.failure("looking up a TLS key failed; the client is refused")
            return _REFUSE

    def _find(self, ssl: Any, identity: bytes, key: Any, room: int) -> int:
        if not _well_formed(identity):
            return _REFUSE
        # Made in any case, so that an unknown identity costs what a wrong key costs, and fails as it does.
        decoy = hmac.digest(self._secret, identity, "sha256")
        found = self._lookup(identity)
        if self.accepting is not None:
            self.accepting.identity = identity
        else:
            self.identities[_connection_class._reverse_mapping[ssl]] = identity
        return _write(found or decoy, key, room)

    def _lookup(self, identity: bytes) -> bytes | None:
        try:
            return self._keys(identity)
        except Exception:  # noqa: BLE001 - a failed lookup must look like an unknown identity from outside
            log.failure("looking up a TLS key failed; the client is refused")
            return None


class _ClientContext(_PskContext):
    def __init__(self, identity: bytes, key: bytes) -> None:
        super().__init__(SSL.TLS_CLIENT_METHOD)
        # A server that shows a certificate in place of the key is refused: none is ever valid here.
        self.set_verify(SSL.VERIFY_PEER, _no_certificate)
        self._identity = identity + b"\0"
        self._key = key
        self._callback = _ffi.callback(
            "unsigned int(SSL *, const char *, char *, unsigned int, unsigned char *, unsigned int)",
            self._answer,
        )
        _lib.SSL_CTX_set_psk_client_callback(self._context, self._callback)

    def _answer(self, _ssl: Any, _hint: Any, identity: Any, identity_room: int, key: Any, room: int) -> int:
        try:
            if not _write(self._identity, identity, identity_room):
                return _REFUSE
            return _write(self._key, key, room)
        except Exception:  # noqa: BLE001 - C code called this
            log.failure("giving OpenSSL the TLS key failed")
            return _REFUSE


def server_context(keys: KeyLookup) -> SSL.Context:
    """Make the context of a server that knows its clients by `keys` and by nothing else."""
    return ServerContext(keys)


def client_context(identity: bytes, key: bytes) -> SSL.Context:
    """Make the context of a client; a server that does not know `key` is refused. ValueError for unusable
    values.
    """
    if not _well_formed(identity):
        raise ValueError(f"a TLS-PSK identity must be printable UTF-8 text of 1 to {MAX_IDENTITY} bytes")
    if not 1 <= len(key) <= MAX_KEY:
        raise ValueError(f"a TLS-PSK key must have 1 to {MAX_KEY} bytes, not {len(key)}")
    return _ClientContext(identity, key)


def identity(connection: SSL.Connection) -> bytes:
    """Give the identity whose key the peer has proved to hold, on a server's connection.

    Raises ValueError while the handshake is not finished, and on a connection of another kind of context.
    """
    context = connection.get_context()
    if not isinstance(context, ServerContext) or connection.get_peer_finished() is None:
        raise ValueError("this connection has not finished a TLS-PSK handshake")
    return context.identities[connection]


def self_test() -> None:
    """Prove, in memory, that both TLS versions accept the right key and refuse a wrong one. About 5 ms,
    at start.

    Raises PskUnavailable: the binding is not a public interface, and a new version may change it.
    """
    who, key = b"self-test", os.urandom(32)
    try:
        for version in (SSL.TLS1_3_VERSION, SSL.TLS1_2_VERSION):
            if not _handshake(who, key, key, version):
                raise PskUnavailable(_versions("a handshake with the right key failed"))
            if _handshake(who, key, os.urandom(32), version):
                raise PskUnavailable(_versions("a handshake with a wrong key succeeded"))
    except (AttributeError, TypeError, SSL.Error, _ffi.error) as error:
        raise PskUnavailable(_versions(repr(error))) from error


def _handshake(who: bytes, key: bytes, offered: bytes, version: int) -> bool:
    """Connect a client with the key `offered` to a server with `key`; True if the server then knows who
    it is.
    """
    context = client_context(who, offered)
    context.set_max_proto_version(version)
    server = SSL.Connection(server_context({who: key}.get), None)
    client = SSL.Connection(context, None)
    server.set_accept_state()
    client.set_connect_state()
    try:
        for _ in range(4):
            for side, other in ((client, server), (server, client)):
                _advance(side, other)
        return identity(server) == who and server.get_protocol_version() == version
    except (SSL.Error, ValueError):
        return False


def _advance(side: SSL.Connection, other: SSL.Connection) -> None:
    with suppress(SSL.WantReadError):
        side.do_handshake()
    with suppress(SSL.WantReadError):
        other.bio_write(side.bio_read(65536))


def _text(pointer: Any) -> bytes:
    return b"" if pointer == _ffi.NULL else bytes(_ffi.string(pointer, MAX_IDENTITY + 1))


def _well_formed(identity: bytes) -> bool:
    """Tell an identity that somebody chose from a session ticket, which OpenSSL asks about in the same
    way.
    """
    if not 1 <= len(identity) <= MAX_IDENTITY:
        return False
    try:
        return identity.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _write(value: bytes, target: Any, room: int) -> int:
    """Copy into C memory; give the length, 0 if it does not fit."""
    if len(value) > room:
        log.warn("a TLS-PSK identity or key of {size} bytes is longer than OpenSSL takes", size=len(value))
        return _REFUSE
    _ffi.memmove(target, value, len(value))
    return len(value)


def _no_certificate(*_: object) -> bool:
    return False


def _versions(reason: str) -> str:
    return (
        f"TLS-PSK does not work here: {reason} (pyOpenSSL {pyopenssl_version}, "
        f"cryptography {cryptography.__version__}, {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()})"
    )
