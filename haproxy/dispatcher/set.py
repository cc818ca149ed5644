"""The two dispatch sets: who is in them, who is up, which one is primary (guide 1.2.1, 7.1.16-7.1.23).

Sets have fixed numbers: 1 holds the systems that register with `dispatchPriUser`, 0 those
with `dispatchSecUser`. The role "primary" moves between the numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from haproxy.dispatcher.destination import NEVER, PARDONS, REST, Destination, Evidence, Rules, State

PRIMARY_SET = 1
SECONDARY_SET = 0

LIMIT = 10
"""Destinations in one set (`dispatchLimit`)."""

SIZE = 8
"""All destinations together, as a power of two (`dispatchSize`)."""

EVENTS = 1000

REGISTERED = "registered"


@dataclass(frozen=True, slots=True)
class DestinationChanged:
    """A destination came up, went down, joined or left."""

    number: int
    uri: bytes
    previous: str
    current: str
    reason: str


@dataclass(frozen=True, slots=True)
class DestinationRefused:
    """A system wanted to join, and there was no room for it."""

    number: int
    user: bytes
    uri: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class PrimaryChanged:
    """Calls go to another set from now on."""

    previous: int
    current: int
    reason: str


Event = DestinationChanged | DestinationRefused | PrimaryChanged


class Dispatcher:
    """Both sets, and the choice between them."""

    def __init__(
        self,
        *,
        primary_user: bytes = b"genesis_a",
        secondary_user: bytes = b"genesis_b",
        limit: int = LIMIT,
        size: int = SIZE,
        persistent: bool = True,
        rules: Rules | None = None,
        preferred: int = PRIMARY_SET,
    ) -> None:
        # Longest first: the guide's own example has "genesis" and "genesis_b".
        users = [(primary_user, PRIMARY_SET), (secondary_user, SECONDARY_SET)]
        self._prefixes = sorted(users, key=lambda row: -len(row[0]))
        self._limit = limit
        self._total = 2**size
        self.persistent = persistent
        """Whether a failover swaps the sets (`astPersistentFailover`); may be changed while running."""
        self._rules = rules or Rules()
        self.deaf: Callable[[float], bool] = lambda since: False
        """Whether we have lost, since then, what was sent to us; set by whoever has the sockets."""
        self._preferred = preferred
        self._current = preferred
        self._sets: dict[int, list[Destination]] = {PRIMARY_SET: [], SECONDARY_SET: []}
        self.members: tuple[Destination, ...] = ()
        """All destinations, in no particular order."""
        self.version = 0
        """Another number whenever somebody joined, left or has another place, state or rest."""
        self._turn = {PRIMARY_SET: 0, SECONDARY_SET: 0}
        self._orders: list[tuple[Destination, ...]] = []
        """What `candidates` gives, turn by turn."""
        self._first = preferred
        """The set whose turns these are."""
        self._ordered_until = NEVER
        """When they are to be found anew, if nothing else changes them before."""
        self.events: deque[Event] = deque(maxlen=EVENTS)
        """What `next_event` hands out."""
        self.refused = 0
        """Systems that found no room."""
        self.failovers = 0
        """Moves to another set because all destinations of one had failed."""
        self.rests = 0
        """Times that a destination asked for no calls."""

    def set_of(self, user: bytes) -> int | None:
        """The number of the set that a registration of this user belongs to; None for ordinary users."""
        for prefix, number in self._prefixes:
            if user.startswith(prefix):
                return number
        return None

    @property
    def rules(self) -> Rules:
        """How evidence becomes a state; may be changed while running."""
        return self._rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._rules = rules
        self._changed()

    @property
    def primary(self) -> int:
        """The number of the set that calls go to now."""
        return self._current

    @property
    def preferred(self) -> int:
        """The number of the set that is primary while it has a usable destination."""
        return self._preferred

    def destinations(self, number: int | None = None) -> list[Destination]:
        """Those of one set in order of registration; of both, the primary set first."""
        if number is not None:
            return list(self._sets[number])
        return [*self._sets[self._current], *self._sets[1 - self._current]]

    def no_room(self, user: bytes, uris: Sequence[bytes]) -> str:
        """Why `registered` would not take all these (`dispatchLimit`, `dispatchSize`); empty if it would."""
        number = self.set_of(user)
        if number is None:
            return ""
        members = self._sets[number]
        new = len(set(uris).difference(destination.uri for destination in members))
        if new and len(members) + new > self._limit:
            return f"set {number} has dispatchLimit = {self._limit} systems already"
        if new and sum(map(len, self._sets.values())) + new > self._total:
            return f"the sets have 2^dispatchSize = {self._total} systems already"
        return ""

    def refuse(self, user: bytes, uri: bytes, reason: str) -> None:
        """Tell that a system was not taken."""
        self.refused += 1
        self.events.append(DestinationRefused(self.set_of(user) or 0, user, uri, reason))

    def registered(self, user: bytes, uri: bytes, flow: Hashable | None, now: float) -> Destination | None:
        """Take or refresh a member; to register is a sign of life. None when the set is full."""
        number = self.set_of(user)
        if number is None:
            return None
        known = next((d for d in self._sets[number] if d.uri == uri), None)
        if known is not None:
            if known.flow != flow:
                self._changed()
            known.flow, known.user, known.heard = flow, user, now
            if not known.usable:
                self._judge(known, self.rules.answered(known, now), REGISTERED, now)
                self._record(known, "REGISTER", REGISTERED, now)
            return known
        reason = self.no_room(user, (uri,))
        if reason:
            self.refuse(user, uri, reason)
            return None
        joined = Destination(number, user, uri, flow, since=now, heard=now)
        self._record(joined, "REGISTER", REGISTERED, now)
        self._join(joined, now)
        return joined

    def restored(self, user: bytes, uri: bytes, flow: Hashable | None, now: float) -> None:
        """Take a member that had registered before a restart, and may be alive or not."""
        member = self.registered(user, uri, flow, now)
        if member is not None:
            member.reason, member.heard = "was registered before the restart", float("-inf")

    def unregistered(self, uri: bytes, user: bytes, reason: str, now: float) -> None:
        """Forget a member: it unregistered, or its registration expired."""
        number = self.set_of(user)
        members = [] if number is None else self._sets[number]
        gone = next((d for d in members if d.uri == uri), None)
        if gone is None:
            return
        members.remove(gone)
        self._gather()
        gone.gone = True
        self.events.append(DestinationChanged(gone.number, uri, gone.state.value, "removed", reason))
        self._choose(f"{uri.decode(errors='replace')} {reason}", now)

    def failed(
        self,
        destination: Destination,
        reason: str,
        now: float,
        *,
        certain: bool = True,
        since: float = float("inf"),
        kind: str = "call",
        status: int = 0,
    ) -> None:
        """It did not do what a living system does.

        `certain`: the network said that nobody is there; that decides at once. Silence is told with `since`,
        the time of the question: where anything was heard of the system after that, or its answer may have
        been lost by us, it says nothing.
        """
        if destination.gone:
            return
        if kind == "call":
            destination.failed_calls += 1
        pardon = "" if certain else self._pardon(destination, since)
        if pardon:
            destination.pardons += 1
        else:
            self._judge(destination, self.rules.failed(destination, certain), reason, now)
        reason += pardon
        self._record(destination, kind, reason, now, status=status)

    def silent(self, destination: Destination, reason: str, now: float, since: float) -> None:
        """It has not answered a call: more than a lost datagram, for an INVITE is sent four times in 4 s."""
        if not self._pardon(destination, since):
            destination.failures = max(destination.failures, self.rules.down - 1)
        self.failed(destination, reason, now, certain=False, since=since)

    def answered(
        self,
        destination: Destination,
        now: float,
        *,
        kind: str = "OPTIONS",
        status: int = 200,
        rtt: float | None = None,
    ) -> None:
        """It has answered a probe."""
        if destination.gone:
            return
        destination.heard, destination.pardons, destination.rtt = now, 0, rtt
        self._judge(destination, self.rules.answered(destination, now), f"answered {status} to a probe", now)
        self._record(destination, kind, f"answered {status}", now, status=status, rtt=rtt)

    def heard(self, destination: Destination, now: float) -> None:
        """It has answered a call. That dispels a doubt, but brings back only who is not probed."""
        destination.heard, destination.pardons = now, 0
        destination.calls += 1
        if destination.state is State.ACTIVE:
            destination.failures = 0
        elif destination.usable or not self.rules.probing:
            self._judge(destination, self.rules.answered(destination, now), "answered a call", now)
            self._record(destination, "call", "answered", now)

    def rest(self, destination: Destination, seconds: int, now: float) -> None:
        """It has answered a call with 503, and asks for no more calls so long (RFC 3261 section 21.5.4)."""
        seconds = min(seconds, REST)
        if destination.gone or seconds <= 0:
            return
        self.rests += 1
        destination.rests_until = now + seconds
        self._changed()
        self._record(destination, "call", f"answered 503: no calls for {seconds} s", now, status=503)

    def candidates(self, now: float) -> tuple[Destination, ...]:
        """Where to send the next call, in the order to try: round robin, those in doubt last in their set.

        Those that rest come after both sets: they get calls where all that are up rest.
        """
        if now >= self._ordered_until:
            self._line_up(now)
        orders, first = self._orders, self._first
        turn = self._turn[first]
        self._turn[first] = turn + 1
        return orders[turn % len(orders)]

    def set_primary(self, number: int, reason: str, now: float) -> None:
        """Make a set the preferred one, in both failover modes. ValueError if it is not 0 or 1."""
        if number not in self._sets:
            raise ValueError(f"there is no dispatch set {number}: the sets are 0 and 1")
        self._preferred = number
        self._choose(reason, now, failure=False)

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet."""
        return self.events.popleft() if self.events else None

    def _join(self, destination: Destination, now: float) -> None:
        self._sets[destination.number].append(destination)
        self._gather()
        self.events.append(
            DestinationChanged(destination.number, destination.uri, "none", "active", REGISTERED)
        )
        self._choose(REGISTERED, now, failure=False)

    def _gather(self) -> None:
        self.members = tuple(each for destinations in self._sets.values() for each in destinations)
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._ordered_until = NEVER

    def _line_up(self, now: float) -> None:
        """Find the orders of all turns, which are good until something changes or one has rested."""
        if not self.rules.probing:
            self._try_again(now)
        first, second = self._current, 1 - self._current
        active, doubtful = self._ready(first, now)
        others, doubted = self._ready(second, now)
        if not active and not doubtful:
            first, second = second, first
            active, doubtful, others, doubted = others, doubted, active, doubtful
        turn = self._turn[second] % max(1, len(others))
        resting = [each for each in self.destinations() if each.usable and each.rests_until > now]
        behind = [*doubtful, *others[turn:], *others[:turn], *doubted, *sorted(resting, key=_end_of_rest)]
        turns = range(max(1, len(active)))
        self._orders = [(*active[turn:], *active[:turn], *behind) for turn in turns]
        self._first = first
        ends = [each.rests_until for each in resting]
        if not self.rules.probing:
            ends += [each.since + self.rules.hold_down for each in self.members if not each.usable]
        self._ordered_until = min(ends, default=float("inf"))

    def _ready(self, number: int, now: float) -> tuple[list[Destination], list[Destination]]:
        """Those of a set that are active, and those in doubt; without those that rest."""
        awake = [each for each in self._sets[number] if each.rests_until <= now]
        active = [each for each in awake if each.state is State.ACTIVE]
        return active, [each for each in awake if each.state is State.PROBING]

    def _judge(self, destination: Destination, state: State, reason: str, now: float) -> None:
        """Give a destination a state, and see what follows for the sets."""
        if destination.state is not state:
            self._change(destination, state, reason, now)
            self._choose(f"{destination.uri.decode(errors='replace')} {reason}", now)
        elif not destination.usable and self.rules.is_well(destination):
            self._choose("", now)  # it may be the last one there is

    def _pardon(self, destination: Destination, since: float) -> str:
        """Why a destination's silence since then says nothing of it; empty if it does."""
        if destination.heard > since:
            return "; but something was heard of it since"
        if destination.pardons < PARDONS and self.deaf(since):
            return "; but we have lost datagrams meanwhile, its answer maybe"
        return ""

    def _change(self, destination: Destination, state: State, reason: str, now: float) -> None:
        previous = destination.state
        self._changed()
        destination.state, destination.since, destination.reason = state, now, reason
        if state is State.INACTIVE:
            destination.successes = 0
            self.rules.fell(destination, now)
        elif previous is State.INACTIVE:
            destination.recovered = now
        self.events.append(
            DestinationChanged(destination.number, destination.uri, previous.value, state.value, reason)
        )

    def _record(
        self,
        destination: Destination,
        kind: str,
        outcome: str,
        now: float,
        *,
        status: int = 0,
        rtt: float | None = None,
    ) -> None:
        destination.history.append(Evidence(now, kind, outcome, status, rtt, destination.state))

    def _try_again(self, now: float) -> None:
        """Where nobody probes, calls show whether an inactive destination is back."""
        for destination in self.members:
            if not destination.usable and now - destination.since >= self.rules.hold_down:
                destination.failures = self.rules.down - 1
                self._change(destination, State.PROBING, "tried again after the hold-down", now)
                self._record(destination, "timer", destination.reason, now)
                self._choose(f"{destination.uri.decode(errors='replace')} {destination.reason}", now)

    def _end_hold_down(self, now: float) -> None:
        """A flapping destination is better than none."""
        for destination in self.destinations():
            if not destination.usable and self.rules.is_well(destination):
                self._change(destination, State.ACTIVE, "answers, and is all there is: not held down", now)

    def _choose(self, reason: str, now: float, failure: bool = True) -> None:
        """Move to the set that calls should go to; a move because of a failure lasts, if that is wanted.

        At start the secondary systems may register first: that is no failure of the primary.
        """
        up = self._up()
        if not any(up.values()):
            self._end_hold_down(now)
            up = self._up()
        order = (self._preferred, 1 - self._preferred)
        target = next((number for number in order if up[number]), self._current)
        if target == self._current:
            return
        self.events.append(
            PrimaryChanged(self._current, target, reason or "it has the only system that answers")
        )
        self._current = target
        self._changed()
        if failure:
            self.failovers += target != self._preferred
            if self.persistent:
                self._preferred = target

    def _up(self) -> dict[int, bool]:
        return {number: any(d.usable for d in members) for number, members in self._sets.items()}


def _end_of_rest(destination: Destination) -> float:
    return destination.rests_until
