"""One registration of ours at another registrar, in SIP's terms (guide 12.2). Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, field

from haproxy.proxy.hop import Hop
from haproxy.proxy.side import Side
from rtlib import digest


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registrar's challenge is answered with."""

    username: str = ""
    realm: str = ""
    """The realm that the challenge must have; empty for any."""
    password: str = field(default="", repr=False)
    ha1: str = field(default="", repr=False)
    """The MD5 hash that stands for the password where there is none; it answers MD5 challenges only."""

    def secret(self, challenge: digest.Challenge) -> str | None:
        """HA1 for a challenge; None where we have none of its algorithm."""
        if self.password:
            return digest.ha1(self.username, challenge.realm, self.password, challenge.algorithm)
        is_md5 = challenge.algorithm.upper() in {"MD5", "MD5-SESS"}
        return self.ha1 if self.ha1 and is_md5 else None


@dataclass(frozen=True, slots=True)
class Account:
    """What is registered, where, and how."""

    uuid: str
    registrar: bytes
    """The Request-URI."""
    aor: bytes
    """The URI of To and From."""
    contact: bytes
    """The URI of Contact."""
    hop: Hop
    """Where the requests go."""
    side: Side
    """The network they leave by."""
    credentials: Credentials
    proxy: str = ""
    """`hop` as the operator wrote it."""
    expires: int = 3600
    """Seconds to ask for."""
    delay: float = 0.0
    """Seconds from the start to the first request."""

    def same_binding(self, other: Account) -> bool:
        """Whether both make the same binding at the same place: then one can go on as the other."""
        return _binding(self) == _binding(other)


def _binding(account: Account) -> tuple[object, ...]:
    return account.registrar, account.aor, account.contact, account.hop, account.side
