"""The payload of a posted message: text, sealed for its recipient where both share an end-to-end secret.

ChaCha20-Poly1305 (RFC 8439) under a key and nonce of its own for each message, derived by HKDF-SHA256
from the secret, a random salt and the names of both parties (docs/crs-protocol.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct

from crs.client.error import UNDECODABLE, ClientError

_INFO: Final = b"crs message v1"
_SALT: Final = 16
_KEY: Final = 32
_NONCE: Final = 12


class SealError(ClientError):
    """The payload cannot be read; the text says why."""


class Plain(Struct, tag_field="type", tag="plain", kw_only=True):
    """Readable for the server."""

    text: str


class Sealed(Struct, tag_field="type", tag="sealed", kw_only=True, omit_defaults=True):
    """Readable with the end-to-end secret only."""

    salt: Annotated[bytes, Meta(min_length=_SALT, max_length=_SALT)]
    box: bytes
    group: bool = False
    """Whether it is for several recipients, and so bound to none of them."""


_decode: Final = msgspec.msgpack.Decoder(Plain | Sealed).decode


@dataclass(frozen=True)
class Route:
    """From whom to whom, and the message's id: bound into the seal."""

    message: str
    sender: str
    sender_account: str
    recipient: str = ""
    recipient_account: str = ""
    """Both are empty for a message to a group."""

    def names(self) -> bytes:
        """All of it as bytes, each part behind its length."""
        parts = (self.message, self.sender, self.sender_account, self.recipient, self.recipient_account)
        return b"".join(len(part.encode()).to_bytes(2, "big") + part.encode() for part in parts)


def seal(
    text: str, route: Route, secret: bytes | None, entropy: Callable[[int], bytes] = os.urandom
) -> bytes:
    """The payload of a message; not encrypted where there is no secret."""
    if secret is None:
        return msgspec.msgpack.encode(Plain(text=text))
    salt = entropy(_SALT)
    key, nonce = _derive(secret, salt, route)
    box = ChaCha20Poly1305(key).encrypt(nonce, text.encode(), None)
    return msgspec.msgpack.encode(Sealed(salt=salt, box=box, group=not route.recipient))


def unseal(payload: bytes, route: Route, secret: bytes | None) -> str:
    """The text of a payload. Raises SealError, also for a plain one where a secret says to expect a seal."""
    try:
        message = _decode(payload)
    except UNDECODABLE as error:
        raise SealError(f"not a message of a reference client: {error}") from error
    if isinstance(message, Plain):
        if secret is not None:
            raise SealError("the message is not encrypted, although there is an end-to-end secret")
        return message.text
    if secret is None:
        raise SealError("the message is encrypted and there is no end-to-end secret to open it with")
    return _open(message, route, secret)


def _open(message: Sealed, route: Route, secret: bytes) -> str:
    if message.group:
        route = Route(route.message, route.sender, route.sender_account)
    key, nonce = _derive(secret, message.salt, route)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, message.box, None).decode()
    except (InvalidTag, UnicodeDecodeError) as error:
        raise SealError("the message was sealed with another end-to-end secret, or was altered") from error


def _derive(secret: bytes, salt: bytes, route: Route) -> tuple[bytes, bytes]:
    info = _INFO + route.names()
    okm = HKDF(algorithm=SHA256(), length=_KEY + _NONCE, salt=salt, info=info).derive(secret)
    return okm[:_KEY], okm[_KEY:]
