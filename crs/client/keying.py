"""Media keys of a call, agreed end to end in the payloads of `invite` and `answer` (docs/crs-protocol.md).

X25519 (RFC 7748) between two ephemeral keys, HKDF-SHA256 (RFC 5869) over it, and the parties' end-to-end
secret as salt. Without such a secret the keys are safe from everybody but a server that answers in the
callee's place; with it, from that server too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct

from crs.client.error import UNDECODABLE, ClientError

Entropy: TypeAlias = Callable[[int], bytes]
"""Gives so many unpredictable bytes."""

_PRIVATE_KEY: Final = 32
_INFO: Final = b"crs media keys v1"
_CONFIRMATION_KEY: Final = 32
_CONFIRMATION: Final = 16


class KeyingError(ClientError):
    """No keys can be agreed with the other party; the text says why."""


class Profile(StrEnum):
    """How SRTP protects the packets, under the names of the IANA registry of SDP security descriptions."""

    aead_aes_256_gcm = "AEAD_AES_256_GCM"
    """RFC 7714."""
    aes_cm_128_hmac_sha1_80 = "AES_CM_128_HMAC_SHA1_80"
    """RFC 3711 and 4568."""


KEY_LENGTHS: Final = {Profile.aead_aes_256_gcm: 32 + 12, Profile.aes_cm_128_hmac_sha1_80: 16 + 14}
"""Bytes of master key and master salt of each profile, in the order of preference."""

PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Offer(Struct, tag_field="v", tag=1, kw_only=True):
    """The payload of `invite`."""

    public: PublicKey
    profiles: Annotated[list[str], Meta(min_length=1, max_length=8)]
    codecs: Annotated[list[str], Meta(min_length=1, max_length=8)]
    """One for each stream."""


class Acceptance(Struct, tag_field="v", tag=1, kw_only=True):
    """The payload of `answer`."""

    public: PublicKey
    profile: Profile
    confirmation: Annotated[bytes, Meta(min_length=_CONFIRMATION, max_length=_CONFIRMATION)]


_decode_offer: Final = msgspec.msgpack.Decoder(Offer).decode
_decode_acceptance: Final = msgspec.msgpack.Decoder(Acceptance).decode


@dataclass(frozen=True)
class Parties:
    """Whose call it is: bound into the keys, so that a payload fits no other call."""

    session: str
    caller: str
    caller_account: str
    callee: str
    callee_account: str


@dataclass(frozen=True, repr=False)
class StreamKeys:
    """One stream's SRTP master keys with their salts, by who sends."""

    profile: Profile
    caller: bytes
    callee: bytes


class KeyOffer:
    """The caller's half: made for one invite, completed by its answer."""

    def __init__(
        self, parties: Parties, streams: int, secret: bytes | None = None, entropy: Entropy = os.urandom
    ) -> None:
        """`secret` is the parties' end-to-end secret, which the server never has."""
        self._parties = parties
        self._streams = streams
        self._secret = secret
        self._private = X25519PrivateKey.from_private_bytes(entropy(_PRIVATE_KEY))
        offer = Offer(
            public=self._private.public_key().public_bytes_raw(),
            profiles=[profile.value for profile in KEY_LENGTHS],
            codecs=["PCMU/8000"] * streams,
        )
        self.payload: Final = msgspec.msgpack.encode(offer)

    def complete(self, payload: bytes) -> list[StreamKeys]:
        """The keys of the streams, by the answer's payload. Raises KeyingError."""
        try:
            answer = _decode_acceptance(payload)
        except UNDECODABLE as error:
            raise KeyingError(f"the answer carries no usable keys: {error}") from error
        transcript = _transcript(self._parties, self.payload, answer.public, answer.profile)
        shared = _exchange(self._private, answer.public)
        confirmation, keys = _derive(shared, self._secret, transcript, answer.profile, self._streams)
        if not hmac.compare_digest(confirmation, answer.confirmation):
            raise KeyingError("the other party has another end-to-end secret, or is not who it claims to be")
        return keys


def accept(
    parties: Parties, payload: bytes, streams: int, secret: bytes | None = None, entropy: Entropy = os.urandom
) -> tuple[bytes, list[StreamKeys]]:
    """The callee's half: the answer's payload and the keys, by the invite's payload. Raises KeyingError."""
    try:
        offer = _decode_offer(payload)
    except UNDECODABLE as error:
        raise KeyingError(f"the invite carries no usable keys: {error}") from error
    profile = next((known for known in KEY_LENGTHS if known.value in offer.profiles), None)
    if profile is None:
        raise KeyingError(f"no common SRTP profile; offered are {', '.join(offer.profiles)}")
    private = X25519PrivateKey.from_private_bytes(entropy(_PRIVATE_KEY))
    public = private.public_key().public_bytes_raw()
    transcript = _transcript(parties, payload, public, profile)
    confirmation, keys = _derive(_exchange(private, offer.public), secret, transcript, profile, streams)
    acceptance = Acceptance(public=public, profile=profile, confirmation=confirmation)
    return msgspec.msgpack.encode(acceptance), keys


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        # RFC 7748 section 6.1: a point of low order gives a shared secret that anybody knows.
        raise KeyingError("the other party's public key is not acceptable") from error


def _transcript(parties: Parties, offer: bytes, public: bytes, profile: Profile) -> bytes:
    """SHA-256 over everything both sides must agree on, each part behind its length."""
    names = (parties.session, parties.caller, parties.caller_account, parties.callee, parties.callee_account)
    digest = hashlib.sha256()
    for part in (*(name.encode() for name in names), offer, public, profile.value.encode()):
        digest.update(len(part).to_bytes(2, "big") + part)
    return digest.digest()


def _derive(
    shared: bytes, secret: bytes | None, transcript: bytes, profile: Profile, streams: int
) -> tuple[bytes, list[StreamKeys]]:
    """The answer's confirmation and the keys of each stream."""
    size = KEY_LENGTHS[profile]
    length = _CONFIRMATION_KEY + 2 * size * streams
    okm = HKDF(algorithm=SHA256(), length=length, salt=secret, info=_INFO + transcript).derive(shared)
    confirmation = hmac.digest(okm[:_CONFIRMATION_KEY], transcript, "sha256")[:_CONFIRMATION]
    halves = [okm[start : start + size] for start in range(_CONFIRMATION_KEY, length, size)]
    return confirmation, [StreamKeys(profile, *pair) for pair in zip(halves[::2], halves[1::2], strict=True)]
