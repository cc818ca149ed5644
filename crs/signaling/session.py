"""One call between two clients: its states as a table, its parties, and the index of all calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from crs.identity import Identity
from crs.signaling.event import Relays, Wanted
from crs.signaling.message import ChangeEnd, EndReason, Relay, RelayKind, Who
from crs.signaling.outlet import Alarm


class State(StrEnum):
    """Where a call is; invite, ringing and talk are what the operator sees (manual 5.4)."""

    allocating = "allocating"
    """The relays are asked for; the callee knows nothing yet."""
    invite = "invite"
    ringing = "ringing"
    talk = "talk"
    ended = "ended"


class Input(Enum):
    """What moves a call from state to state."""

    allocated = "allocated"
    ringing = "ringing"
    answer = "answer"
    end = "end"


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.allocating, Input.allocated): State.invite,
    (State.allocating, Input.end): State.ended,
    (State.invite, Input.ringing): State.ringing,
    (State.invite, Input.answer): State.talk,
    (State.invite, Input.end): State.ended,
    (State.ringing, Input.ringing): State.ringing,
    (State.ringing, Input.answer): State.talk,
    (State.ringing, Input.end): State.ended,
    (State.talk, Input.answer): State.talk,
    (State.talk, Input.end): State.ended,
}
"""A transition to the same state is a request repeated after its reply was lost; others are refused."""

END_REASONS: Final[dict[tuple[Who, bool], tuple[EndReason, ...]]] = {
    (Who.caller, False): (EndReason.cancel,),
    (Who.callee, False): (EndReason.decline, EndReason.busy),
    (Who.caller, True): (EndReason.hangup,),
    (Who.callee, True): (EndReason.hangup,),
}
"""(who hangs up, answered) to the reasons it may give; the first stands for any other."""


class Key(NamedTuple):
    """What names a call to its parties: session ids are unique for a caller only."""

    caller: str
    session: str


class Origin(NamedTuple):
    """The connection and request that invited; the reply goes there."""

    connection: int
    request: int


class Stream(NamedTuple):
    """One media stream of a call, with a leg for each party. `group` names it to the relay."""

    group: int
    caller: Relay
    callee: Relay

    def leg(self, who: Who) -> Relay:
        """That of one party."""
        return self.caller if who is Who.caller else self.callee


def streams(wanted: Sequence[Wanted], relays: Relays) -> list[Stream]:
    """What was wanted, with what was given."""
    groups = (each.group for each in wanted)
    return list(map(Stream, groups, relays.caller, relays.callee))


class Outcome(Enum):
    """Where a change of streams is."""

    allocating = "allocating"
    """Relays for new streams are asked for; the other party knows nothing yet."""
    offered = "offered"
    accepted = "accepted"
    refused = "refused"


@dataclass(slots=True, eq=False)
class Change:
    """An offer of one party to add and remove streams; the latest one of its session."""

    label: str
    by: Who
    add: tuple[RelayKind, ...]
    remove: tuple[int, ...]
    payload: bytes = field(repr=False)
    origin: Origin
    outcome: Outcome = Outcome.allocating
    streams: list[Stream] = field(default_factory=list)
    """Those to be added."""
    answer: bytes = field(default=b"", repr=False)
    reason: ChangeEnd | None = None
    """Why it was refused."""
    timer: Alarm | None = None

    @property
    def pending(self) -> bool:
        """Whether nothing is decided yet."""
        return self.outcome in (Outcome.allocating, Outcome.offered)


@dataclass(slots=True, eq=False)
class Session:
    """One call."""

    caller: Identity
    callee: Identity
    label: str
    kinds: tuple[RelayKind, ...]
    """The streams of the invite."""
    payload: bytes = field(repr=False)
    origin: Origin
    started: float
    state: State = State.allocating
    streams: dict[int, Stream] = field(default_factory=dict)
    """By number; empty until the relays are allocated, and those of the end once it has ended."""
    next_stream: int = 0
    several: bool = False
    """Whether it has, or ever had, several streams at a time."""
    change: Change | None = None
    idle: dict[int, float] = field(default_factory=dict)
    """When the relay last said of a stream's group that it is idle."""
    answer: bytes = field(default=b"", repr=False)
    """What the callee last sent along, with Ringing or Answer."""
    reason: EndReason | None = None
    who: Who | None = None
    stopped: float = 0.0
    timer: Alarm | None = None
    away: dict[Who, Alarm] = field(default_factory=dict)
    """The parties that are not attached, each with the timer that will end the call."""

    @property
    def key(self) -> Key:
        """How both parties name it."""
        return Key(self.caller.uri, self.label)

    @property
    def parties(self) -> tuple[tuple[Who, Identity], tuple[Who, Identity]]:
        """Both clients with their roles."""
        return (Who.caller, self.caller), (Who.callee, self.callee)

    def client(self, who: Who) -> Identity:
        """The party in this role."""
        return self.caller if who is Who.caller else self.callee

    def role(self, client: Identity) -> Who:
        """What a party is in this call."""
        return Who.caller if client == self.caller else Who.callee

    def legs(self, who: Who) -> list[Relay]:
        """One party's legs of all streams."""
        return [stream.leg(who) for stream in self.streams.values()]

    @property
    def presented(self) -> bool:
        """Whether the callee was told of it."""
        return bool(self.streams)

    def move(self, what: Input) -> State | None:
        """Follow the table; the state before, or None where the table has no such transition."""
        before = self.state
        after = TRANSITIONS.get((before, what))
        if after is None:
            return None
        self.state = after
        return before

    def cancel_timers(self) -> None:
        """Stop what is still to happen."""
        if self.timer is not None:
            self.timer.cancel()
        for entry in self.away.values():
            entry.cancel()
        self.away.clear()

    @property
    def state_text(self) -> str:
        """The state as operators see it: `talk`, `hangup(busy; callee)`."""
        return str(self.state) if self.reason is None else f"hangup({self.reason}; {self.who})"


class SessionTable:
    """All calls: by party and key, by relay group, and how many each client has."""

    def __init__(self) -> None:
        self._by_party: dict[Identity, dict[Key, Session]] = {}
        self._live: dict[Session, None] = {}
        self._groups: dict[int, Session] = {}
        self._ended: dict[Session, None] = {}
        self._calls: Counter[Identity] = Counter()

    @property
    def live(self) -> list[Session]:
        """The calls that have not ended, in the order they began."""
        return list(self._live)

    @property
    def live_count(self) -> int:
        """How many calls have not ended."""
        return len(self._live)

    @property
    def ended(self) -> list[Session]:
        """The ended calls that are still listed, the first ended first."""
        return list(self._ended)

    @property
    def oldest_ended(self) -> Session | None:
        """The ended call to forget first."""
        return next(iter(self._ended), None)

    @property
    def ended_count(self) -> int:
        """How many ended calls are listed."""
        return len(self._ended)

    def calls(self, client: Identity) -> int:
        """How many calls a client is in."""
        return self._calls[client]

    def add(self, session: Session) -> None:
        """Keep a new call."""
        self._live[session] = None
        for _, client in session.parties:
            self._by_party.setdefault(client, {})[session.key] = session
            self._calls[client] += 1

    def find(self, client: Identity, key: Key) -> Session | None:
        """The call that this party names so."""
        return self._by_party.get(client, {}).get(key)

    def of(self, client: Identity) -> list[Session]:
        """The calls of a party, ended ones included, in the order they began."""
        return list(self._by_party.get(client, {}).values())

    def of_group(self, group: int) -> Session | None:
        """The live call with the stream of this group."""
        return self._groups.get(group)

    def extend(self, session: Session, streams: Iterable[Stream]) -> None:
        """A call has got these streams."""
        for stream in streams:
            session.streams[stream.caller.stream] = stream
            self._groups[stream.group] = session
        session.several = session.several or len(session.streams) > 1

    def reduce(self, session: Session, number: int) -> Stream:
        """A call has this stream no more."""
        stream = session.streams.pop(number)
        self._groups.pop(stream.group, None)
        return stream

    def end(self, session: Session) -> None:
        """The call counts no longer, but stays listed."""
        self._drop_live(session)
        self._ended[session] = None

    def forget(self, session: Session) -> None:
        """Drop a call for good, ended or not."""
        if session in self._live:
            self._drop_live(session)
        self._ended.pop(session, None)
        for _, client in session.parties:
            calls = self._by_party.get(client)
            if calls is not None:
                calls.pop(session.key, None)
                if not calls:
                    del self._by_party[client]

    def _drop_live(self, session: Session) -> None:
        del self._live[session]
        for stream in session.streams.values():
            self._groups.pop(stream.group, None)
        for _, client in session.parties:
            self._calls[client] -= 1
            if not self._calls[client]:
                del self._calls[client]
