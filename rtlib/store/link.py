"""The connection to a Redis server, which comes back by itself; requests and replies in order.

This is the one module that knows txredisapi, which has no types and imports the reactor: so import it
where the reactor has been chosen, that is when a store starts, and never at the top of another module.
txredisapi decodes what the server says (with hiredis, if that is installed). Its commands, which cost
a round trip or two Deferreds each, are not used: a store sends many requests at once and takes the
replies as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import txredisapi  # type: ignore[import-untyped]  # it has neither types nor stubs
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtlib.store.resp import Reply, Request, encode

log = Logger()

DELAYS: Final = (0.05, 5.0)
"""Seconds before connecting again: after the first failure, and at most."""
SILENCE: Final = 10.0
"""Seconds without any reply after which a connection with something unanswered is given up."""

# What a server says that can serve nobody now: it starts, it is a replica, it has forgotten its scripts.
_NOT_NOW: Final = frozenset(
    {"LOADING", "NOSCRIPT", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS"}
)


class Owner(Protocol):
    """Who uses a Link."""

    def link_up(self) -> None:
        """The server is ready; nothing of what was sent earlier will be answered any more."""

    def link_down(self, reason: str) -> None:
        """The server was lost, or could not be reached. Called again for each failure."""

    def answered(self, reply: Reply) -> None:
        """The reply to the oldest request sent since `link_up`."""


class Link:
    """Keeps a connection to one server.

    On every new connection it sends `greeting` and asks `unfit(replies)`, which says what is wrong with
    the server, or nothing.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        reactor: IReactorTime,
        owner: Owner,
        greeting: tuple[Request, ...],
        unfit: Callable[[list[Reply]], str],
    ) -> None:
        self._endpoint = endpoint
        self._reactor = reactor
        self._owner = owner
        self._greeting = greeting
        self._unfit = unfit
        self._wire: _Wire | None = None
        self._greeted: list[Reply] = []
        self._up = False
        self._stopping = False
        self._failures = 0
        self._unanswered = 0
        self._replies = 0
        self._watch: IDelayedCall | None = None
        self._task: Deferred[None] = succeed(None)

    @property
    def up(self) -> bool:
        """Requests can be sent."""
        return self._up

    def start(self) -> None:
        """Begin to connect."""
        self._task = Deferred.fromCoroutine(self._keep())
        self._task.addErrback(self._broken)

    def stop(self) -> Deferred[None]:
        """Close the connection; fires when it is closed."""
        self._stopping, self._up = True, False
        if self._wire is None:
            self._task.cancel()
        else:
            self._wire.end("the store stops")
        return self._task

    def send(self, requests: Iterable[Request]) -> None:
        """Send requests, in one piece. Only while `up`."""
        if self._wire is None:
            raise RuntimeError("there is no connection")
        wanted = tuple(requests)
        self._wire.transport.write(b"".join(map(encode, wanted)))
        self._unanswered += len(wanted)
        if self._watch is None:
            self._watch = self._reactor.callLater(SILENCE, self._look, self._replies)

    async def _keep(self) -> None:
        while not self._stopping:
            try:
                reason = await self._connection()
                if not self._stopping:
                    self._owner.link_down(reason)
                    await deferLater(self._reactor, min(DELAYS[0] * 2 ** min(self._failures, 30), DELAYS[1]))
                    self._failures += 1
            except (CancelledError, ConnectingCancelledError):
                return

    def _broken(self, failure: Failure) -> None:
        """Something that is no failure of the network: there is no use in trying again."""
        log.failure("the connection cannot be kept", failure)
        self._owner.link_down(failure.getErrorMessage())

    async def _connection(self) -> str:
        """Connect, and say in the end why there is no connection any more."""
        lost: Deferred[str] = Deferred()
        try:
            # The wire says itself that it is made: an endpoint may tell only after the first reply.
            await self._endpoint.connect(Factory.forProtocol(lambda: _Wire(self, lost)))
        except (ConnectError, OSError) as error:
            return str(error)
        return await lost

    def made(self, wire: _Wire) -> None:
        """The wire is there: greet the server."""
        self._wire = wire
        self._greeted, self._unanswered = [], 0
        self.send(self._greeting)

    def received(self, reply: Reply) -> None:
        """Something was answered."""
        if not self._unanswered:
            self.reset("it said something unasked")
            return
        self._unanswered -= 1
        self._replies += 1
        if isinstance(reply, txredisapi.RedisError) and _code(reply) in _NOT_NOW:
            self.reset(str(reply))
        elif self._up:
            self._failures = 0
            self._owner.answered(reply)
        else:
            self._greeted.append(reply)
            if not self._unanswered:
                self._finish_greeting()

    def reset(self, reason: str) -> None:
        """Leave this connection and make another."""
        self._up = False
        if self._wire is not None:
            self._wire.end(reason)

    def lost(self) -> None:
        """The wire is gone."""
        self._wire, self._up = None, False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _finish_greeting(self) -> None:
        if problem := self._unfit(self._greeted):
            self.reset(problem)
        elif not self._stopping:
            self._up = True
            self._owner.link_up()

    def _look(self, replies: int) -> None:
        """See whether anything was answered since the last look."""
        self._watch = None
        if self._unanswered and replies == self._replies:
            self.reset(f"it did not answer within {SILENCE:g} s")
        elif self._unanswered:
            self._watch = self._reactor.callLater(SILENCE, self._look, self._replies)


class _Wire(txredisapi.RedisProtocol):
    """The decoder of txredisapi, with its own list of who waits for what left out."""

    MAX_LENGTH = 2**20  # of a status, which tells the results of as many operations as a write has

    def __init__(self, link: Link, lost: Deferred[str]) -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._link = link
        self._lost = lost
        self._reason = ""

    def connectionMade(self) -> None:
        """Twisted: there is a connection."""
        self._link.made(self)

    def replyReceived(self, reply: Reply) -> None:
        """txredisapi: a complete reply. What comes after `end` is not looked at."""
        if not self._reason:
            self._link.received(reply)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the connection is gone."""
        self._reason = self._reason or reason.getErrorMessage()
        self._link.lost()
        self._lost.callback(self._reason)

    def end(self, reason: str) -> None:
        """Close the connection without waiting for the other side."""
        self._reason = self._reason or reason
        self.transport.abortConnection()


def _code(error: Exception) -> str:
    """The word that an error begins with, also that of a command inside a script (Redis 6)."""
    text = str(error)
    return text.rpartition(": -")[2].partition(" ")[0] if "script" in text else text.partition(" ")[0]
