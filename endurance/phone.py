"""A client that keeps its account in a Ledger, and the load that it makes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from crs.client.error import ClientError, Refused
from crs.client.lasting import Backoff, LastingClient
from crs.client.listener import Listener
from crs.client.testing import CrsServer
from crs.signaling.message import Deliver, Kind
from endurance.ledger import Ledger


class Mailbox(Listener):
    """Takes every message and notes it."""

    def __init__(self, uri: str, ledger: Ledger) -> None:
        self.uri = uri
        self._ledger = ledger

    def message(self, item: Deliver) -> bool:
        """Note and confirm it."""
        self._ledger.delivered(item.message, self.uri)
        return True

    def receipt(self, item: Deliver) -> bool:
        """Note and confirm it."""
        self._ledger.receipt(item.message)
        return True

    def confirmed(self, item: Deliver) -> None:
        """It must not come again."""
        if item.kind is Kind.content:
            self._ledger.confirmed(item.message)
        else:
            self._ledger.confirmed_receipt(item.message)


class Sender:
    """Posts messages until each is acknowledged, as often as it takes."""

    def __init__(self, reactor: Any, ledger: Ledger, dice: random.Random) -> None:
        self._reactor = reactor
        self.ledger = ledger
        self._dice = dice
        self._numbers = count()
        self.refusals: Counter[str] = Counter()
        """Why posts had to be repeated."""

    async def post(self, current: Callable[[], LastingClient], to: str, size: int = 200) -> None:
        """Post a message as a client, which may be another object for each attempt."""
        label = f"{current().credentials.uri}-{next(self._numbers)}"
        payload = self._dice.randbytes(size)
        while True:
            try:
                await current().post(to, payload, label=label)
            except ClientError as error:
                self.refusals[error.code if isinstance(error, Refused) else type(error).__name__] += 1
                await pause(self._reactor, self._dice.uniform(0.05, 0.2))
            else:
                self.ledger.acknowledged(label, to)
                return


def phone(reactor: Any, server: CrsServer, listener: Mailbox, dice: random.Random) -> LastingClient:
    """A client, not connected yet, that comes back quickly whenever its connection is lost."""
    backoff = Backoff(first=0.1, longest=1.0, after_shutdown=(0.1, 1.0), dice=dice)
    return LastingClient(reactor, server.address, server.credentials(listener.uri), listener, backoff=backoff)


def pause(reactor: Any, seconds: float) -> Deferred[None]:
    """Wait."""
    return deferLater(reactor, seconds)
