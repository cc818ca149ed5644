"""Questions to name servers, and what they answer. Names are in lower case, without the last dot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["NAPTR", "SRV", "A", "AAAA"]


class Question(NamedTuple):
    """What is asked."""

    name: str
    kind: Kind


class Naptr(NamedTuple):
    """Which transport to use, and where its SRV records are (RFC 3403)."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


class Srv(NamedTuple):
    """One server of a service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


Record: TypeAlias = Naptr | Srv | str
"""A and AAAA records are numeric addresses."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one name; none where the name servers say that there are none."""

    records: tuple[Record, ...] = ()
    ttl: float = 0.0
    """Seconds that it holds."""
    failed: bool = False
    """No name server answered at all."""
