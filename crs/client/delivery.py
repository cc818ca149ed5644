"""Items of the server's mailbox: handed up, and confirmed once they were taken."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from crs.client.error import Refused
from crs.client.exchange import Exchange, ignoring_errors
from crs.client.listener import Listener
from crs.signaling import message

PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds after which a confirmation is repeated that the server could not take: doubled each time."""

_LATER: Final = frozenset({message.ErrorCode.unavailable, message.ErrorCode.limit})
"""Refusals that end by themselves."""


class Delivery:
    """Hands one client's items to its listener; only what was taken is confirmed, the rest comes again."""

    def __init__(self, reactor: Any, exchange: Exchange, listener: Listener) -> None:
        self._reactor = reactor
        self._exchange = exchange
        self._listener = listener
        self._pauses: set[Deferred[None]] = set()

    def deliver(self, event: message.Deliver) -> None:
        """Hand an item up. What is not taken comes again at the next attach."""
        handler = self._listener.message if event.kind is message.Kind.content else self._listener.receipt
        if handler(event):
            Deferred.fromCoroutine(ignoring_errors(self._confirm(event)))

    def stop(self) -> None:
        """The client ends: confirm nothing more."""
        for waiting in list(self._pauses):
            waiting.cancel()

    async def _confirm(self, event: message.Deliver) -> None:
        """Confirm an item, as often as it takes: the server delivers only so many before the first is."""
        pause = PAUSE
        while True:
            try:
                await self._exchange.ask(
                    lambda number: message.Ack(
                        id=number,
                        kind=event.kind,
                        message=event.message,
                        sender=event.sender,
                        account=event.account,
                    ),
                    message.Ok,
                )
            except Refused as error:
                if error.code not in _LATER:
                    raise
            else:
                self._listener.confirmed(event)
                return
            await self._wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _wait(self, seconds: float) -> None:
        """Wait, unless the client ends meanwhile. Raises CancelledError."""
        waiting: Deferred[None] = deferLater(self._reactor, seconds)
        self._pauses.add(waiting)
        try:
            await waiting
        finally:
            self._pauses.discard(waiting)
