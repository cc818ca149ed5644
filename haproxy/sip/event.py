"""What the transaction layer tells its user, and what it counts.

The three events that come with every message are classes of their own: a named tuple takes twice the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from haproxy.sip.client import ClientTransaction
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.server import ServerTransaction
from haproxy.sip.step import Transaction


class RequestReceived:
    """A new request, CANCEL included. Answer it with `TransactionLayer.respond`."""

    __slots__ = ("flow", "request", "transaction")

    def __init__(self, transaction: ServerTransaction, request: Request, flow: Flow) -> None:
        self.transaction = transaction
        self.request = request
        self.flow = flow
        """Where it came from; responses go to `transaction.flow`."""


class AckReceived:
    """An ACK that ends no transaction here: it acknowledges a 2xx, which is the user's business."""

    __slots__ = ("flow", "request")

    def __init__(self, request: Request, flow: Flow) -> None:
        self.request = request
        self.flow = flow


class ResponseReceived:
    """A response to a request of ours, our own Via still on top.

    Retransmitted responses are absorbed, except 2xx to INVITE.
    """

    __slots__ = ("response", "transaction")

    def __init__(self, transaction: ClientTransaction, response: Response) -> None:
        self.transaction = transaction
        self.response = response


class StrayResponse(NamedTuple):
    """A response under a Via of ours that matches no transaction. A proxy drops it (RFC 6026 §8.9)."""

    response: Response
    flow: Flow


class Timeout(NamedTuple):
    """Nobody answered: timers B, F, or a cancelled INVITE; or timer H, no ACK for a final response."""

    transaction: Transaction


class TransportError(NamedTuple):
    """The request could not be sent: as good as a 503 (RFC 3261 §8.1.3.1)."""

    transaction: ClientTransaction
    reason: str = ""


class Terminated(NamedTuple):
    """The transaction is forgotten, no event will name it again: its user may clear up.

    Told where there is a context only.
    """

    transaction: Transaction


class Malformed(NamedTuple):
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
