"""What the transaction layer tells its user, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from haproxy.sip.client import ClientTransaction
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.server import ServerTransaction
from haproxy.sip.step import Transaction


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A new request, CANCEL included. Answer it with `TransactionLayer.respond`."""

    transaction: ServerTransaction
    request: Request
    flow: Flow
    """Where it came from; responses go to `transaction.flow`."""


class AckReceived:
    """An ACK that ends no transaction here: it acknowledges a 2xx, which is the user's business."""

    __slots__ = ("flow", "request")

    def __init__(self, request: Request, flow: Flow) -> None:
        # No dataclass: it comes with every call.
        self.request = request
        self.flow = flow


@dataclass(frozen=True, slots=True)
class ResponseReceived:
    """A response to a request of ours, our own Via still on top.

    Retransmitted responses are absorbed, except 2xx to INVITE.
    """

    transaction: ClientTransaction
    response: Response


@dataclass(frozen=True, slots=True)
class StrayResponse:
    """A response under a Via of ours that matches no transaction. A proxy drops it (RFC 6026 §8.9)."""

    response: Response
    flow: Flow


@dataclass(frozen=True, slots=True)
class Timeout:
    """Nobody answered: timers B, F, or a cancelled INVITE; or timer H, no ACK for a final response."""

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class TransportError:
    """The request could not be sent: as good as a 503 (RFC 3261 §8.1.3.1)."""

    transaction: ClientTransaction
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Terminated:
    """The transaction is forgotten, no event will name it again: its user may clear up.

    Told where there is a context only.
    """

    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes that were not processed. `status` is what the sender was told, None if nothing."""

    flow: Flow
    reason: str
    status: int | None


Event: TypeAlias = (
    RequestReceived
    | AckReceived
    | ResponseReceived
    | StrayResponse
    | Timeout
    | TransportError
    | Terminated
    | Malformed
)

Happened: TypeAlias = (
    ServerTransaction
    | tuple[Transaction, Response | None]
    | AckReceived
    | StrayResponse
    | Timeout
    | TransportError
    | Malformed
)
"""An event as the layer keeps it: to make an object of a class for each would take a tenth of its time.

A new request is its transaction. A response comes with the transaction that it belongs to; None instead of
a response says that the transaction is forgotten.
"""


def event_of(happened: Happened) -> Event:
    """The event."""
    if isinstance(happened, ServerTransaction):
        return RequestReceived(happened, happened.request, happened.source)
    if not isinstance(happened, tuple):
        return happened
    transaction, response = happened
    if response is None:
        return Terminated(transaction)
    assert isinstance(transaction, ClientTransaction)
    return ResponseReceived(transaction, response)


@dataclass(slots=True)
class Counters:
    """What the layer has seen since the start."""

    requests: int = 0
    """New requests that became transactions."""
    responses: int = 0
    """Responses that matched a transaction."""
    absorbed: int = 0
    """Retransmitted requests answered or absorbed here."""
    sent_again: int = 0
    """Messages sent again: by timers A, E and G, and to answer retransmitted requests."""
    keepalives: int = 0
    malformed: int = 0
    foreign: int = 0
    """Responses whose top Via is not ours: dropped (RFC 3261 §18.1.2)."""
    stray: int = 0
    refused: int = 0
    """Requests answered 503 because the table of transactions was full of those without a final response."""
    shortened: int = 0
    """Transactions that ended before their time to make room for others: only repetitions were waited for."""
    timeouts: int = 0
    transport_errors: int = 0
