"""What the parts of the Rendezvous machine share: the way out for messages and events, asks, and timers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TypeAlias

from crs.signaling import message
from crs.signaling.event import Ask, Event, Notice, Result
from rtlib.wheel import Entry, Wheel

Continuation: TypeAlias = Callable[[Result, float], None]
Timer: TypeAlias = Callable[[float], None]
Route: TypeAlias = Callable[[int, bytes], int | None]


class Alarm:
    """A call that is due at some time, unless it is cancelled before it is made."""

    __slots__ = ("_call", "_entry")

    def __init__(self, call: Timer) -> None:
        self._call: Timer | None = call
        self._entry: Entry[Alarm] | None = None

    def schedule(self, wheel: Wheel[Alarm], when: float) -> None:
        """Put it on a wheel."""
        self._entry = wheel.schedule(self, when)

    def cancel(self) -> None:
        """Never make the call; also when it has expired in one batch with what cancels it."""
        self._call = None
        # Without the entry there is no cycle for the garbage collector to find.
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.cancel()

    def fire(self, now: float) -> None:
        """Make the call."""
        call, self._call, self._entry = self._call, None, None
        if call is not None:
            call(now)


class Outlet:
    """Carries what the parts of the machine decide; it decides nothing.

    Both queues are emptied by the driver after each batch, so the input bounds them. Pending
    asks are bounded by those who ask: one of each kind for a connection or session, and
    the limit `requests-waiting` of requests.
    """

    def __init__(self, route: Route, reached: Counter[str] | None = None) -> None:
        """`route` tells which link carries a message to a connection, if one does; `reached` counts the
        limits.
        """
        self._route = route
        self._reached: Counter[str] = Counter() if reached is None else reached
        self._sends: list[tuple[bytes, int]] = []
        self._events: deque[Event] = deque()
        self._pending: dict[int, Continuation] = {}
        self._next_token = 1
        self._timers: Wheel[Alarm] = Wheel()

    @property
    def pending(self) -> int:
        """How many asks wait for their completion."""
        return len(self._pending)

    def send(self, connection: int | None, content: message.ServerMessage) -> None:
        """Send to a connection; to nobody where there is none, which spares every caller the question."""
        if connection is None:
            return
        data = message.encode(content)
        link = self._route(connection, data)
        if link is not None:
            self._sends.append((data, link))

    def send_over(self, link: int, data: bytes) -> None:
        """Send over a link, without a route: what stands outside of an attachment, or was sent before."""
        self._sends.append((data, link))

    def refuse(self, connection: int, request: int | None, code: message.ErrorCode, reason: str) -> None:
        """Answer a request with an Error."""
        self.send(connection, message.Error(id=request, code=code, reason=reason))

    def refuse_over(self, connection: int, request: int | None, limit: str, reason: str) -> None:
        """Refuse a request for the named limit, which is counted."""
        self._reached[limit] += 1
        self.refuse(connection, request, message.ErrorCode.limit, reason)

    def tell(self, notice: Notice) -> None:
        """Hand out what needs no answer."""
        self._events.append(notice)

    def ask(self, build: Callable[[int], Ask], then: Continuation) -> int:
        """Hand out what `build(token)` makes; `then` is called with the result. Returns the token."""
        token = self._next_token
        self._next_token += 1
        self._pending[token] = then
        self._events.append(build(token))
        return token

    def completed(self, token: int, result: Result, now: float) -> None:
        """Hand a result to whoever asked; a token that is not pending is ignored."""
        then = self._pending.pop(token, None)
        if then is not None:
            then(result, now)

    def at(self, when: float, call: Timer) -> Alarm:
        """Have `call(now)` called at `when`, on the clock of `now`."""
        alarm = Alarm(call)
        alarm.schedule(self._timers, when)
        return alarm

    def get_timer(self) -> float | None:
        """When `expire` is to be called."""
        return self._timers.get_timer()

    def expire(self, now: float) -> None:
        """Call what is due."""
        for alarm in self._timers.expire(now):
            alarm.fire(now)

    def take_sends(self) -> list[tuple[bytes, int]]:
        """What is to be sent since the last call."""
        sends, self._sends = self._sends, []
        return sends

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet."""
        return self._events.popleft() if self._events else None
