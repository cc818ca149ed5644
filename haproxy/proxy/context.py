"""One request and all that is done to get it answered: the response context of RFC 3261 section 16.7.

Targets come in groups, tried one after the other; within a group all at once. A Genesis system that
does not answer in time, or with a server failure, is followed by the next one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from haproxy.proxy.best import choose
from haproxy.proxy.target import Groups, Target
from haproxy.sip.client import ClientTransaction
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.server import ServerTransaction
from haproxy.sip.timers import TIMER_C
from rtlib.wheel import Reminders

PATIENCE: Final = 4.0
"""Seconds that a Genesis system gets for its first response, before the next one is tried."""

LONGEST: Final = 3 * PATIENCE
"""Seconds that it gets at most, if we have lost messages ourselves: its answer may be sent again."""

TURN: Final = 20.0
"""Seconds that phones ring before those that their user would rather not use have their turn."""

RING_LIMIT: Final = TIMER_C + 1.0
"""Seconds that may pass without a provisional response: more than three minutes (section 16.6 step 11)."""


LOOK: Final = PATIENCE
"""Seconds after which a branch is looked at, however long it may take: by so much it outlives its request."""

NEVER: Final = float("inf")


class Proxying(ABC):
    """What a context needs of the core around it."""

    waiting: Reminders[Branch]
    """Has `expired` of a branch called."""

    @abstractmethod
    def launch(self, branch: Branch, now: float) -> None:
        """Send the request to the branch's target; calls `branch.failed` if that is impossible."""

    @abstractmethod
    def relaunch(self, branch: Branch, request: Request, flows: tuple[Flow, ...], now: float) -> None:
        """Send `request`, prepared for the branch's target, to the first of these flows."""

    @abstractmethod
    def forward(
        self, context: ResponseContext, response: Response, now: float, branch: Branch | None = None
    ) -> None:
        """Send a response upstream; `branch` is where it came from, if its media matters."""

    @abstractmethod
    def cancel(self, transaction: ClientTransaction, now: float) -> None:
        """Cancel an INVITE."""

    @abstractmethod
    def heard(self, branch: Branch, now: float) -> None:
        """A Genesis system answered."""

    @abstractmethod
    def unheard(self, branch: Branch, reason: str, now: float, certain: bool) -> None:
        """A Genesis system did not answer; `certain`: it could not be reached."""

    @abstractmethod
    def was_deaf(self, since: float) -> bool:
        """Whether messages have been lost, or read too late, by ourselves since then."""

    @abstractmethod
    def unavailable(self, branch: Branch, response: Response, now: float) -> None:
        """A Genesis system answered 503."""

    @abstractmethod
    def refused(self, context: ResponseContext) -> None:
        """The request is about to get its final response, and it is a failure."""

    @abstractmethod
    def local(self, context: ResponseContext, status: int) -> Response:
        """A response of our own."""


class Branch:
    """The request on its way to one target."""

    __slots__ = (
        "alternatives",
        "answered",
        "began",
        "context",
        "deadline",
        "finished",
        "response",
        "target",
        "transaction",
        "watched",
    )

    def __init__(self, context: ResponseContext, target: Target) -> None:
        self.context = context
        self.target = target
        self.transaction: ClientTransaction | None = None
        self.deadline = NEVER
        """When it has taken too long."""
        self.watched = False
        """Whether it will be looked at, then or earlier."""
        self.answered = False
        """A response has come, provisional or final."""
        self.began = 0.0
        """When the request was sent."""
        self.finished = False
        self.alternatives: tuple[Request, tuple[Flow, ...]] | None = None
        """The prepared request, and the other places of the same target (RFC 3263 section 4.3)."""
        self.response: Response | None = None
        """The final response other than 2xx; one of our own where nobody answered."""

    def started(self, transaction: ClientTransaction, now: float) -> None:
        """The request is on its way."""
        self.transaction = transaction
        self.began = now
        if self.target.destination is not None or self.alternatives is not None:
            self._wait(now + PATIENCE, now)
        elif transaction.method == b"INVITE":
            self._wait(now + (TURN if self._has_successor else RING_LIMIT), now)

    def responded(self, response: Response, now: float) -> None:
        """A response came."""
        if not self.answered:
            self.answered = True
            if self.target.destination is not None:
                self.context.proxying.heard(self, now)
        response.pop_via()
        status = response.status
        if status < 200:
            self._provisional(response, now)
            return
        self.deadline = NEVER
        if status < 300:
            self.finished = True
            self.context.succeeded(self, response, now)
        elif not self.finished and not (status == 503 and self._unavailable(response, now)):
            self.finish(_not_unavailable(response), now)

    def failed(self, status: int, reason: str, now: float) -> None:
        """Nobody answered, or nobody could be asked."""
        self.deadline = NEVER
        if self.finished:
            return
        if self._go_elsewhere(now):
            return
        if not self.answered:
            self.context.proxying.unheard(self, reason, now, certain=status == 503)
        if self.context.answered:
            self.finished = True  # the sender has its response, and its request is shed
            return
        response = self.context.proxying.local(self.context, status)
        # Where no Genesis system can be reached, the next call will get 503 as well: the sender may know.
        self.finish(response if self.target.destination is not None else _not_unavailable(response), now)

    def expired(self, now: float) -> None:
        """See whether it took too long: to answer at all, or to answer finally."""
        self.watched = False
        if self.finished or self.transaction is None or self.deadline == NEVER:
            return
        if now < self.deadline:
            self._wait(self.deadline, now)
            return
        if not self.answered and now < self.began + LONGEST and self.context.proxying.was_deaf(self.began):
            self._wait(now + PATIENCE, now)
            return
        # Should a response come all the same, the layer cancels it or we pass its 2xx on.
        self.context.proxying.cancel(self.transaction, now)
        self.failed(408, "does not answer", now)

    def cancel(self, now: float) -> None:
        """Nobody wants the answer any more."""
        if self.finished:
            return
        if self.transaction is None:
            self.finished = True
            if not self.context.answered:
                self.finish(self.context.proxying.local(self.context, 487), now)
        else:
            self.context.proxying.cancel(self.transaction, now)

    def released(self) -> None:
        """Its transaction is over: nothing more can come."""
        self.deadline = NEVER
        if self.context.answered:
            self.context.branches.clear()

    def finish(self, response: Response, now: float) -> None:
        """Keep the final response until all are there."""
        self.finished, self.response = True, response
        self.context.settle(now)

    def _provisional(self, response: Response, now: float) -> None:
        if self.finished:
            return
        if self.context.server.method == b"INVITE":
            self._wait(self.began + TURN if self._has_successor else now + RING_LIMIT, now)
        else:
            self.deadline = NEVER
        if response.status > 100 and not self.context.answered:
            self.context.proxying.forward(self.context, response, now, self)

    @property
    def _has_successor(self) -> bool:
        """Whether it is one of a user's phones, and others wait for their turn."""
        return self.target.destination is None and bool(self.context.groups)

    def _unavailable(self, response: Response, now: float) -> bool:
        """It answered 503; whether another place of the target is tried."""
        if self.target.destination is not None:
            self.context.proxying.unavailable(self, response, now)
        return self._go_elsewhere(now)

    def _go_elsewhere(self, now: float) -> bool:
        """Leave it to another branch to try the next place of the target; False where there is none."""
        alternatives, self.alternatives = self.alternatives, None
        if alternatives is None or self.context.closing:
            return False
        self.finished = True
        self.context.follow(self, *alternatives, now)
        return True

    def _wait(self, until: float, now: float) -> None:
        """Give up at that time, which is never earlier than before."""
        self.deadline = until
        if not self.watched:
            self.watched = True
            look = now + LOOK
            self.context.proxying.waiting.add(self, until if until < look else look)


class ResponseContext:
    """The branches of one request, and the choice of what its sender hears."""

    __slots__ = (
        "_launching",
        "answered",
        "branches",
        "cancelled",
        "closing",
        "ending",
        "groups",
        "proxying",
        "server",
    )

    def __init__(self, proxying: Proxying, server: ServerTransaction, groups: Groups, ending: bytes) -> None:
        self.proxying = proxying
        self.server = server
        self.groups = groups
        self.ending = ending
        """The end of all branch parameters, by which a loop is recognised."""
        self.branches: list[Branch] = []
        self.answered = False
        """The sender has a final response."""
        self.cancelled = False
        self.closing = False
        """Nothing more is tried: it is cancelled, or somebody has answered for all."""
        self._launching = False

    def cancel(self, now: float) -> None:
        """The sender has cancelled the request (section 16.10)."""
        self.cancelled = True
        self._cancel_open(now)

    def succeeded(self, branch: Branch, response: Response, now: float) -> None:
        """Pass a 2xx on, every one of them, and stop all other attempts."""
        self.answered = True
        self.proxying.forward(self, response, now, branch)
        if len(self.branches) > 1:
            self._cancel_open(now)

    def follow(self, branch: Branch, request: Request, flows: tuple[Flow, ...], now: float) -> None:
        """Try another place of the target of a branch that has failed."""
        successor = Branch(self, branch.target)
        self.branches.append(successor)
        self.proxying.relaunch(successor, request, flows, now)

    def settle(self, now: float) -> None:
        """See whether there is something left to wait for or to try."""
        if self.answered or self._launching:
            return
        if any(branch.response is not None and branch.response.status >= 600 for branch in self.branches):
            self._cancel_open(now)
        if self.answered or any(not branch.finished for branch in self.branches):
            return
        if not self.cancelled and self._may_go_on() and self._is_there_another():
            self.advance(now)
        else:
            self._conclude(now)

    def advance(self, now: float) -> None:
        """Try the next group of targets; its branches may fail at once."""
        group, self.groups = self.groups[0], self.groups[1:]
        self._launching = True
        for target in group:
            branch = Branch(self, target)
            self.branches.append(branch)
            self.proxying.launch(branch, now)
        self._launching = False
        if branch.finished:
            self.settle(now)

    def _may_go_on(self) -> bool:
        """Of a Genesis system only the failure or silence says nothing about whom it was called for."""
        last = self.branches[-1]
        if last.target.destination is None:
            return True  # one phone does not speak for the user's others, except with 6xx
        if last.response is None:
            return False
        return last.response.status // 100 == 5 or (last.response.status == 408 and not last.answered)

    def _is_there_another(self) -> bool:
        """Whether a group is left that is worth trying; Genesis systems that have failed since are not."""
        while self.groups:
            if any(target.destination is None or target.destination.usable for target in self.groups[0]):
                return True
            self.groups = self.groups[1:]
        return False

    def _conclude(self, now: float) -> None:
        self.answered = True
        responses = [branch.response for branch in self.branches if branch.response is not None]
        if self.cancelled and not any(branch.answered for branch in self.branches):
            responses = [self.proxying.local(self, 487)]
        self.proxying.refused(self)
        self.proxying.forward(self, choose(responses), now)

    def _cancel_open(self, now: float) -> None:
        self.groups = ()
        self.closing = True
        for branch in self.branches:
            if not branch.finished:
                branch.cancel(now)


def _not_unavailable(response: Response) -> Response:
    """That one server is unavailable, or not to be reached, does not mean that we are (16.7 step 6)."""
    if response.status == 503:
        response.set_status(500, b"Server Internal Error")
    return response
