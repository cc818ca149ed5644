"""What the proxy core tells, or asks of, the service around it."""

from __future__ import annotations

from dataclasses import dataclass

from haproxy.dispatcher.set import Event as Moved
from haproxy.dns.record import Question
from haproxy.registrar.location import Removed, Saved
from haproxy.sip.flow import Flow

MALFORMED = "malformed"
"""The kind of offence that is a message which cannot be parsed."""

IGNORED = "ignored"
"""The kind of offence that gets no answer."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Name servers have to be asked; their answer goes to `ProxyCore.resolved`."""

    question: Question


@dataclass(frozen=True, slots=True)
class Offence:
    """Somebody sent what he must not send."""

    kind: str
    flow: Flow
    reason: str


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """An outbound registration came up, went down, ended, or fails in another way."""

    uuid: str
    aor: bytes
    """The URI that is registered."""
    registrar: str
    """Where, as the operator wrote it."""
    previous: str
    current: str
    """States of `haproxy.uac.registration`."""
    status: int
    reason: str
    life: int
    """Seconds granted."""
    retry: float | None
    """Seconds to the next attempt; None where there is none."""


Event = Resolve | Offence | Saved | Removed | Moved | RegistrationChanged
