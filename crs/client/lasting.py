"""A client that gets its connection back by itself, and its attachment with it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from crs.client.client import Client
from crs.client.error import ClientError, Closed, Denied, Refused
from crs.signaling.message import Attached, ErrorCode

RETURN_CODES: Final = frozenset({None, 1001, 1006, 1011, 4001, 4004})
"""Close codes after which a client comes back; None is a connection that was cut."""

SHUTDOWN: Final = 4001

CALL_GRACE: Final = 30.0
"""Seconds for which a server keeps the calls of a client that is away."""

log = Logger()


@dataclass(frozen=True)
class Backoff:
    """How long to wait before each attempt: random, lest all clients come at once, and longer each time."""

    first: float = 0.5
    longest: float = 30.0
    after_shutdown: tuple[float, float] = (1.0, 10.0)
    dice: random.Random = field(default_factory=random.Random)

    def pauses(self, code: int | None) -> Iterator[float]:
        """Seconds, without end, after the connection was closed with this code."""
        if code == SHUTDOWN:
            yield self.dice.uniform(*self.after_shutdown)
        limit = self.first
        while True:
            yield self.dice.uniform(0, limit)
            limit = min(self.longest, 2 * limit)


class LastingClient(Client):
    """Once attached, stays so until it is closed or sent away; `lost` is set only then.

    While the connection is away, calls and media go on, and requests wait for up to 10 s.
    """

    def __init__(self, *arguments: Any, backoff: Backoff | None = None, **options: Any) -> None:
        """As a Client."""
        super().__init__(*arguments, **options)
        self._backoff = backoff or Backoff()
        self._returning: Deferred[None] | None = None
        self._away_since = 0.0

    async def close(self) -> None:
        """End all calls and the connection; or the attempts to get it back."""
        self.closing = True
        if self._returning is None:
            await super().close()
        else:
            self._returning.cancel()
            await self.lost.wait()

    def _gone(self, reason: ClientError) -> None:
        """The connection is closed: come back, unless that is not wanted."""
        if self._returning is not None:
            self._link = None
            self._exchange.interrupt(reason)
        elif self.closing or not self._exchange.journal.attached or _is_final(reason):
            super()._gone(reason)
        else:
            self._interrupted(reason)

    def _interrupted(self, reason: ClientError) -> None:
        self._link = None
        self._away_since = self._reactor.seconds()
        self._exchange.interrupt(reason)
        self._listener.interrupted(reason)
        self._returning = Deferred.fromCoroutine(self._return(_code(reason)))
        self._returning.addErrback(self._not_returned)

    async def _return(self, code: int | None) -> None:
        """Try until attached. Raises ClientError when there is no sense in trying any more."""
        for pause in self._backoff.pauses(code):
            await deferLater(self._reactor, pause)
            if await self._attempt():
                return

    async def _attempt(self) -> bool:
        """Connect and attach; False if that may succeed later. Raises ClientError if it will not."""
        try:
            await self.connect()
            attached = await self.attach()
        except ClientError as error:
            if _is_final(error) or self.closing:
                raise
            log.info("{error}", error=error)
            self.abort()
            return False
        self._returning = None
        self._listener.returned(attached)
        return True

    def _attached(self, attached: Attached) -> None:
        """Calls that the server has given up meanwhile are over, though it may not say so."""
        away = self._reactor.seconds() - self._away_since
        same_server = attached.instance == self._instance
        if self._returning is not None and same_server and not attached.resumed and away >= CALL_GRACE:
            self._lose_calls()
        super()._attached(attached)

    def _not_returned(self, failure: Failure) -> None:
        """Give up for good."""
        self._returning = None
        if not failure.check(ClientError, CancelledError):
            log.failure("coming back", failure)
        self.abort()
        self._inbox = self._link = None
        reason = failure.value
        super()._gone(reason if isinstance(reason, ClientError) else Closed("closed"))


def _code(reason: ClientError) -> int | None:
    return reason.code if isinstance(reason, Closed) else None


def _is_final(reason: ClientError) -> bool:
    """Whether trying again would fail in the same way, or is not wanted by the server."""
    if isinstance(reason, Refused):
        return reason.code is ErrorCode.denied
    return isinstance(reason, Denied) or _code(reason) not in RETURN_CODES
