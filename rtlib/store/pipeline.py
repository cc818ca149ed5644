"""Requests to one server, in groups, each answered once whatever happens to the connection in between.

One group is on its way at a time: whatever was asked for meanwhile is the next one. What was not
answered when the connection was lost is sent again on the next connection, in the same words: so a
request must do no harm when it is done twice.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtlib.store.interface import StoreAway, StoreError, StoreFull, StoreUncertain
from rtlib.store.resp import Reply, Request

if TYPE_CHECKING:
    from rtlib.store.link import Link

log = Logger()

GROUP: Final = 256
"""Operations in one group: some milliseconds of the server's time."""
GROUP_BYTES: Final = 4 * 2**20
"""Bytes after which a group is closed."""
STOP_PATIENCE: Final = 0.5
"""Seconds without an answer after which a store that stops waits no longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something asked for: how many operations it counts for, how many bytes it sends, who waits."""

    cost: int
    size: int
    done: Deferred[Any] = field(init=False, default_factory=Deferred)


class Call(NamedTuple):
    """One request and the jobs that its reply ends; `outcomes` gives a result or a Failure for each."""

    request: Request
    outcomes: Callable[[Reply], Sequence[Any]]
    jobs: Sequence[Job]
    changes: bool


class Pipeline:
    """`compose` makes a group of jobs into calls; at most `limit` operations wait.

    When the server has been away for `patience` seconds, all that waits fails, and whatever is asked for
    fails at once, until it is back.
    """

    def __init__(
        self,
        name: str,
        reactor: IReactorTime,
        compose: Callable[[list[Any]], list[Call]],
        limit: int,
        patience: float,
    ) -> None:
        self._name = name
        self._reactor = reactor
        self._compose = compose
        self._limit = limit
        self._patience = patience
        self._link: Link | None = None
        self._jobs: deque[Job] = deque()
        self._calls: deque[Call] = deque()
        self._answers = 0
        self._next: IDelayedCall | None = None
        self._outage: _Outage | None = None
        self._stopped: Deferred[None] | None = None
        self._hurry: IDelayedCall | None = None
        self.waiting = 0
        """Operations accepted and not finished yet."""
        self.watch: Callable[[bool], None] = lambda _there: None
        """Told when the server goes away, and when it is back."""

    @property
    def connected(self) -> bool:
        """The server is there."""
        return self._link is not None and self._link.up

    def start(self, link: Link) -> None:
        """Begin to connect."""
        self._link = link
        self._outage = self._new_outage("it was not reached yet")
        link.start()

    def stop(self) -> Deferred[None]:
        """Finish what was accepted, as long as answers come, then close the connection."""
        if self._link is None:
            return self._stopped or succeed(None)
        if self._stopped is None:
            self._stopped = Deferred()
            self._hurry = self._reactor.callLater(STOP_PATIENCE, self._look, self._answers)
            self._end_if_idle()
        return self._stopped

    def submit(self, job: Job) -> Deferred[Any]:
        """Do it, in the order of the calls."""
        if self._link is None or self._stopped is not None:
            return fail(StoreError("the store is not running"))
        if self._outage is not None and self._outage.given_up:
            return fail(StoreAway(self._outage.text(self._name)))
        if self.waiting + job.cost > self._limit:
            return fail(StoreFull(f"{self.waiting} operations are waiting for {self._name} already"))
        self.waiting += job.cost
        self._jobs.append(job)
        self._send_soon()
        return job.done

    def link_up(self) -> None:
        """The server is there: send again what it has not answered, or else go on."""
        if self._calls:
            self._transmit()
        else:
            self._recovered()
            self._send_next()

    def link_down(self, reason: str) -> None:
        """The server is not there."""
        if self._outage is None:
            self._outage = self._new_outage(reason)
        if not self._outage.reported:
            self.watch(False)
        if reason != self._outage.reported:
            log.warn("{name} is away: {reason}", name=self._name, reason=reason)
        self._outage.reason = self._outage.reported = reason

    def answered(self, reply: Reply) -> None:
        """The oldest call was answered."""
        self._answers += 1
        self._recovered()
        call = self._calls.popleft()
        self._finish(call.jobs, _outcomes(call, reply, self._name))
        if not self._calls:
            self._send_next()

    def _send_soon(self) -> None:
        """Send in the next turn of the reactor, together with what else this turn asks for."""
        if self._next is None and not self._calls and self.connected:
            self._next = self._reactor.callLater(0, self._send_now)

    def _send_now(self) -> None:
        self._next = None
        self._send_next()

    def _send_next(self) -> None:
        """Send the next group, if there is one and none is on its way."""
        if self._calls or not self.connected:
            return
        if self._jobs:
            self._calls.extend(self._compose(self._take()))
            self._transmit()
        else:
            self._end_if_idle()

    def _take(self) -> list[Job]:
        cost = size = 0
        jobs = []
        while self._jobs and cost < GROUP and size < GROUP_BYTES:
            job = self._jobs.popleft()
            jobs.append(job)
            cost += job.cost
            size += job.size
        return jobs

    def _transmit(self) -> None:
        assert self._link is not None
        self._link.send([call.request for call in self._calls])

    def _finish(self, jobs: Sequence[Job], outcomes: Sequence[Any]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            self.waiting -= job.cost
            if not job.done.called:  # else the caller has cancelled it
                job.done.callback(outcome)

    def _new_outage(self, reason: str) -> _Outage:
        outage = _Outage(self._reactor.seconds(), reason)
        outage.timer = self._reactor.callLater(self._patience, self._give_up)
        return outage

    def _recovered(self) -> None:
        """The server answers."""
        outage, self._outage = self._outage, None
        if outage is None:
            return
        outage.cancel()
        if outage.reported:
            gone = self._reactor.seconds() - outage.since
            log.info("{name} is back after {gone:.1f} s", name=self._name, gone=gone)
            self.watch(True)

    def _give_up(self) -> None:
        """Fail all that waits: it has waited long enough, or the store stops."""
        outage = self._outage or _Outage(self._reactor.seconds(), "it does not answer")
        outage.cancel()
        outage.given_up = True
        text = outage.text(self._name)
        calls, self._calls = self._calls, deque()
        jobs, self._jobs = self._jobs, deque()
        for call in calls:
            error = StoreUncertain(f"{text}; it may have been written") if call.changes else StoreAway(text)
            self._finish(call.jobs, [Failure(error) for _ in call.jobs])
        self._finish(jobs, [Failure(StoreAway(text)) for _ in jobs])
        if calls and self._link is not None:
            self._link.reset(outage.reason)  # or an answer that is late would be taken for another's

    def _look(self, answers: int) -> None:
        """While stopping: see whether anything was answered since the last look."""
        self._hurry = None
        if answers == self._answers:
            self._give_up()
            self._end()
        else:
            self._hurry = self._reactor.callLater(STOP_PATIENCE, self._look, self._answers)

    def _end_if_idle(self) -> None:
        if self._stopped is not None and not self._calls and not self._jobs:
            self._end()

    def _end(self) -> None:
        """Close the connection and let nothing go on."""
        for timer in (self._hurry, self._next):
            if timer is not None:
                timer.cancel()
        self._hurry = self._next = None
        if self._outage is not None:
            self._outage.cancel()
        if self._link is not None and self._stopped is not None:
            link, self._link = self._link, None
            link.stop().chainDeferred(self._stopped)


class _Outage:
    """A time without the server, and why."""

    def __init__(self, since: float, reason: str) -> None:
        self.since = since
        self.reason = reason
        self.reported = ""
        self.given_up = False
        self.timer: IDelayedCall | None = None

    def text(self, name: str) -> str:
        return f"{name} is away: {self.reason}"

    def cancel(self) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


def _outcomes(call: Call, reply: Reply, name: str) -> Sequence[Any]:
    """What a reply means to those who wait for it."""
    if isinstance(reply, Exception):
        refusal = StoreError(f"{name} refused it: {reply}")
        return [Failure(refusal) for _ in call.jobs]
    try:
        return call.outcomes(reply)
    except (LookupError, TypeError, ValueError, struct.error) as error:
        strange = StoreError(f"{name} gave an answer that cannot be read: {error}")
        return [Failure(strange) for _ in call.jobs]
