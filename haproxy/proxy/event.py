"""What the proxy core tells, or asks of, the service around it."""

from __future__ import annotations

from dataclasses import dataclass

from haproxy.dispatcher.set import Event as Moved
from haproxy.dns.record import Question
from haproxy.registrar.location import Removed, Saved
from haproxy.sip.flow import Flow

MALFORMED = "malformed"
"""The kind of offence that is a message which cannot be parsed."""


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


Event = Resolve | Offence | Saved | Removed | Moved
