"""The audio of a group: everybody's RTP over one multicast leg, sealed end to end (crs-protocol.md 8.3).

Who has the end-to-end secret derives the key of each sender: HKDF-SHA256 (RFC 5869) over the secret with
a random salt, which travels in each packet, so that no key and nonce come twice. AES-256-GCM seals.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crs.client.leg import Leg
from crs.signaling.message import Relay
from rtlib.audio.recording import Recording
from rtlib.audio.rtp import PCMU, Reception, RtpError, parse

HEADER: Final = b"\x10\x00\x00\x00"
"""Before a sender's identifier."""

SALT: Final = 16
COUNTER: Final = 8
MAX_SENDERS: Final = 256
"""Senders whose keys are kept."""

WINDOW: Final = 64
"""How far behind the newest packet one may arrive."""

_INFO: Final = b"crs group media v1"


class Sealer:
    """Seals what one party sends."""

    def __init__(self, secret: bytes, identifier: int, entropy: Callable[[int], bytes] = os.urandom) -> None:
        """`secret` is the end-to-end secret of the group."""
        self._identifier = identifier.to_bytes(4)
        self._salt = entropy(SALT)
        self._cipher = _cipher(secret, self._salt, self._identifier)
        self._counter = 0

    def seal(self, packet: bytes) -> bytes:
        """A packet for the relay."""
        counter = self._counter.to_bytes(COUNTER)
        self._counter += 1
        head = HEADER + self._identifier
        return head + self._salt + counter + self._cipher.encrypt(bytes(4) + counter, packet, head)


@dataclass
class _Sender:
    """What is known of a sender."""

    salt: bytes
    cipher: AESGCM
    newest: int = -1
    seen: set[int] = field(default_factory=set)

    def is_new(self, counter: int) -> bool:
        """Whether no packet of this counter has come, as far back as is known."""
        return counter > self.newest - WINDOW and counter not in self.seen

    def note(self, counter: int) -> None:
        """An authentic packet has come."""
        self.newest = max(self.newest, counter)
        self.seen.add(counter)
        self.seen = {each for each in self.seen if each > self.newest - WINDOW}


class Opener:
    """Opens what others send."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._senders: dict[int, _Sender] = {}

    def open(self, data: bytes) -> tuple[int, bytes] | None:
        """Who has sent it, and what; None if it is not authentic, or came before."""
        start = 8 + SALT + COUNTER
        if len(data) < start or data[:4] != HEADER:
            return None
        salt, counter = data[8 : 8 + SALT], data[8 + SALT : start]
        identifier = int.from_bytes(data[4:8])
        sender = self._senders.get(identifier)
        if sender is None or sender.salt != salt:
            if sender is None and len(self._senders) >= MAX_SENDERS:
                return None
            sender = _Sender(salt, _cipher(self._secret, salt, data[4:8]))
        number = int.from_bytes(counter)
        if not sender.is_new(number):
            return None
        try:
            packet = sender.cipher.decrypt(bytes(4) + counter, data[start:], data[:8])
        except InvalidTag:
            return None
        sender.note(number)
        self._senders[identifier] = sender
        return identifier, packet


class Heard:
    """What came from one sender."""

    def __init__(self) -> None:
        self.reception = Reception()
        self.recording = Recording()


class GroupStream(Leg):
    """Sends to everybody in a group, and hears each of them."""

    def __init__(self, reactor: Any, relay: Relay, host: str, secret: bytes, **options: Any) -> None:
        """`secret` is the end-to-end secret of the group."""
        super().__init__(reactor, relay, host, **options)
        self._sealer = Sealer(secret, relay.identifier)
        self._opener = Opener(secret)
        self.heard: dict[int, Heard] = {}
        """By the sender's identifier."""

    def _is_control(self, datagram: bytes) -> bool:
        return not datagram.startswith(HEADER)

    def _receive(self, datagram: bytes) -> None:
        opened = self._opener.open(datagram)
        try:
            packet = parse(opened[1]) if opened is not None else None
        except RtpError:
            packet = None
        if opened is None or packet is None:
            self.counters.refused += 1
            return
        heard = self.heard.setdefault(opened[0], Heard())
        heard.reception.count(packet.sequence)
        if packet.payload_type == PCMU:
            heard.recording.add(packet)

    def _protect(self, packet: bytes) -> bytes:
        return self._sealer.seal(packet)


def _cipher(secret: bytes, salt: bytes, identifier: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=_INFO + identifier).derive(secret))
