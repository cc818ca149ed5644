"""Resume tokens: which attachment a client had, sealed so that only servers of its pool can make or read one.

ChaCha20-Poly1305 (RFC 8439) under a key and nonce of its own for each token, by HKDF-SHA256
(RFC 5869) from the pool's key and a random salt. Clients keep a token and know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO: Final = b"crs resume token v1"
_SALT: Final = 16
_KEY: Final = 32
_NONCE: Final = 12


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    instance: str
    """The run of the server that made it."""
    uri: str
    account: str
    serial: int
    """Number of the attachment in that run."""


_decode: Final = msgspec.msgpack.Decoder(Ticket).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Sealer:
    """Makes and reads tokens."""

    def __init__(self, key: bytes, entropy: Callable[[int], bytes]) -> None:
        """`key`: any number of secret bytes that all hosts of the pool have; `entropy(n)`: n random bytes."""
        self._key = key
        self._former = key
        self._entropy = entropy

    def change(self, key: bytes) -> None:
        """Seal with another key from now on. Tokens of the one before it can still be read."""
        self._key, self._former = key, self._key

    def seal(self, ticket: Ticket) -> bytes:
        """A token."""
        salt = self._entropy(_SALT)
        key, nonce = _derive(self._key, salt)
        return salt + ChaCha20Poly1305(key).encrypt(nonce, _encode(ticket), None)

    def open(self, token: bytes) -> Ticket | None:
        """What a token says; None if no server with our key, or our former one, has made it."""
        ticket = _open(self._key, token)
        return ticket if ticket is not None or self._former == self._key else _open(self._former, token)


def _open(secret: bytes, token: bytes) -> Ticket | None:
    key, nonce = _derive(secret, token[:_SALT])
    try:
        return _decode(ChaCha20Poly1305(key).decrypt(nonce, token[_SALT:], None))
    except (InvalidTag, msgspec.MsgspecError):
        return None


def _derive(secret: bytes, salt: bytes) -> tuple[bytes, bytes]:
    okm = HKDF(algorithm=SHA256(), length=_KEY + _NONCE, salt=salt, info=_INFO).derive(secret)
    return okm[:_KEY], okm[_KEY:]
