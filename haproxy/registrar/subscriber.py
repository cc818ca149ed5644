"""Who may register and authenticate: the defined subscribers (guide 11). Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final

from haproxy.registrar.location import address_of_record
from rtlib.digest import ha1 as ha1_of

LONGER: Final = ("SHA-256", "SHA-512-256")
"""Algorithms that only a password gives hashes for: ha1 and ha1b are MD5."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One address-of-record and the hash of its password; the password itself is not kept."""

    username: bytes
    domain: bytes
    ha1: bytes = field(default=b"", repr=False)
    """Hexadecimal MD5 of username:domain:password; empty where there is no password."""
    ha1b: bytes = field(default=b"", repr=False)
    """The same of username@domain:domain:password, for user agents that give user@domain as the name."""
    ha1_sha256: bytes = field(default=b"", repr=False)
    """SHA-256 of username:domain:password (RFC 7616); empty where only MD5 hashes are known."""
    ha1_sha512_256: bytes = field(default=b"", repr=False)
    """The same by SHA-512/256."""

    @classmethod
    def with_password(cls, username: bytes, domain: bytes, password: bytes) -> Subscriber:
        """A subscriber whose hashes are made from the password."""
        text = b"%b:%b:%b" % (username, domain, password)
        long = b"%b@%b:%b:%b" % (username, domain, domain, password)
        # RFC 2617: MD5 is what deployed phones and Kamailio's tables have.
        words = _text(username), _text(domain), _text(password)
        sha256, sha512_256 = (ha1_of(words[0], words[1], words[2], name).encode() for name in LONGER)
        return cls(username, domain, _md5(text), _md5(long), sha256, sha512_256)

    def hash_for(self, name: bytes, algorithm: str) -> bytes:
        """HA1 for the name that a user agent gives, `user` or `user@domain`; empty where there is none."""
        if name == self.username:
            if algorithm == "MD5":
                return self.ha1
            if algorithm == "SHA-256":
                return self.ha1_sha256
            return self.ha1_sha512_256 if algorithm == "SHA-512-256" else b""
        long = algorithm == "MD5" and name == b"%b@%b" % (self.username, self.domain)
        return self.ha1b if long else b""

    @property
    def aor(self) -> bytes:
        """The canonical address-of-record."""
        return address_of_record(self.username, self.domain)


class Subscribers:
    """All subscribers, by address-of-record."""

    def __init__(self, subscribers: Iterable[Subscriber] = ()) -> None:
        self.replace(subscribers)

    def replace(self, subscribers: Iterable[Subscriber]) -> None:
        """Take another set of subscribers, as after a change of the configuration."""
        self._by_aor = {subscriber.aor: subscriber for subscriber in subscribers}

    def find(self, aor: bytes) -> Subscriber | None:
        """The subscriber with this address-of-record."""
        return self._by_aor.get(aor)

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self._by_aor.values())

    def __len__(self) -> int:
        return len(self._by_aor)


def _md5(text: bytes) -> bytes:
    return md5(text, usedforsecurity=False).hexdigest().encode()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
