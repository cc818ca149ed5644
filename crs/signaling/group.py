"""Groups: calls of many parties over one multicast relay, and the index of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from crs.identity import Identity
from crs.signaling.message import EndReason, Member, MemberState, Relay, Who
from crs.signaling.outlet import Alarm
from crs.signaling.session import Key


class Room(NamedTuple):
    """A conference room: a number of an account, which somebody owns."""

    number: str
    account: str
    owner: str

    @property
    def identity(self) -> Identity:
        """As what it is dialled."""
        return Identity(self.number, self.account)


class PartyState(StrEnum):
    """Where a party is; joining is what others see as the state before."""

    invited = "invited"
    ringing = "ringing"
    joining = "joining"
    """Its leg is asked for."""
    joined = "joined"
    left = "left"


@dataclass(slots=True, eq=False)
class Party:
    """One client in a group, or invited to it."""

    client: Identity
    key: Key
    """How this client names the group."""
    started: float
    state: PartyState = PartyState.invited
    before: PartyState = PartyState.invited
    """The state that it was joining from."""
    relay: Relay | None = None
    payload: bytes = field(default=b"", repr=False)
    """That of its invitation."""
    reason: EndReason | None = None
    who: Who | None = None
    stopped: float = 0.0
    timer: Alarm | None = None
    """No answer; or, once it has left, that it can be forgotten."""
    away: Alarm | None = None
    """It is not attached, and will have left when this is due."""

    @property
    def waiting(self) -> bool:
        """Whether it has not answered its invitation."""
        return self.state in (PartyState.invited, PartyState.ringing)

    @property
    def present(self) -> bool:
        """Whether it is in the group, or about to be."""
        return self.state in (PartyState.joining, PartyState.joined)

    @property
    def member(self) -> Member:
        """As others see it."""
        state = self.before if self.state is PartyState.joining else self.state
        joined = self.state is PartyState.joined and self.relay is not None
        return Member(
            uri=self.client.uri,
            account=self.client.account,
            state=MemberState(state.value),
            identifier=self.relay.identifier if joined and self.relay is not None else 0,
            reason=self.reason if self.state is PartyState.left else None,
        )

    @property
    def state_text(self) -> str:
        """The state as operators see it."""
        if self.state is PartyState.left:
            return f"hangup({self.reason}; {self.who})"
        names = {PartyState.invited: "invite", PartyState.ringing: "ringing", PartyState.joined: "talk"}
        return names.get(self.state, "invite")

    def cancel_timers(self) -> None:
        """Stop what is still to happen."""
        for timer in self.timer, self.away:
            if timer is not None:
                timer.cancel()
        self.timer = self.away = None


@dataclass(slots=True, eq=False)
class Group:
    """A group call. `number` names its relay; `owner` may end it for all."""

    number: int
    label: str
    owner: Identity
    room: Room | None = None
    parties: dict[Identity, Party] = field(default_factory=dict)
    opened: bool = False
    """Whether its relay is there."""
    ended: bool = False
    met: bool = False
    """Whether two were in it at a time."""

    def is_of(self, client: Identity) -> bool:
        """Whether this is a group call that the client has begun."""
        return self.room is None and client == self.owner

    @property
    def joined(self) -> list[Party]:
        """Who is in it."""
        return [party for party in self.parties.values() if party.state is PartyState.joined]

    @property
    def members(self) -> list[Member]:
        """Everybody, as the parties are told."""
        return [party.member for party in self.parties.values()]

    @property
    def size(self) -> int:
        """How many parties have not left."""
        return sum(party.state is not PartyState.left for party in self.parties.values())

    @property
    def deserted(self) -> bool:
        """Whether it has no reason to go on: in a room that nobody is there, else that nobody can talk."""
        present = sum(party.present for party in self.parties.values())
        waiting = sum(party.waiting for party in self.parties.values())
        return not present or (self.room is None and present + waiting <= 1)

    def ends(self, party: Party) -> tuple[Identity, Identity]:
        """Caller and callee of a party's row for the operator."""
        return (self.owner, party.client) if self.room is None else (party.client, self.room.identity)


class GroupTable:
    """All groups: by party and key, by relay, by room."""

    def __init__(self) -> None:
        self._by_party: dict[Identity, dict[Key, tuple[Group, Party]]] = {}
        self._groups: dict[int, Group] = {}
        self._rooms: dict[Identity, Group] = {}
        self._ended: dict[Party, Group] = {}
        self._calls: Counter[Identity] = Counter()

    @property
    def live(self) -> list[Group]:
        """The groups that have not ended."""
        return list(self._groups.values())

    @property
    def live_count(self) -> int:
        """How many groups have not ended."""
        return len(self._groups)

    @property
    def listed(self) -> list[tuple[Group, Party]]:
        """Those who have left within the last minute, the first first; then those of live groups."""
        left = [(group, party) for party, group in self._ended.items()]
        return left + [
            (group, party)
            for group in self._groups.values()
            for party in group.parties.values()
            if party.state is not PartyState.left
        ]

    @property
    def oldest_ended(self) -> tuple[Group, Party] | None:
        """Who left first."""
        return next(((group, party) for party, group in self._ended.items()), None)

    @property
    def ended_count(self) -> int:
        """How many have left."""
        return len(self._ended)

    def calls(self, client: Identity) -> int:
        """How many groups a client is in, or invited to."""
        return self._calls[client]

    def open(self, group: Group) -> None:
        """Keep a new group."""
        self._groups[group.number] = group
        if group.room is not None:
            self._rooms[group.room.identity] = group

    def close(self, group: Group) -> None:
        """The group has ended."""
        self._groups.pop(group.number, None)
        if group.room is not None and self._rooms.get(group.room.identity) is group:
            del self._rooms[group.room.identity]

    def add(self, group: Group, party: Party) -> None:
        """A new party of a group; it takes the place of one that has left."""
        former = group.parties.get(party.client)
        if former is not None:
            self.forget(group, former)
        group.parties[party.client] = party
        self._by_party.setdefault(party.client, {})[party.key] = (group, party)
        self._calls[party.client] += 1

    def leave(self, group: Group, party: Party) -> None:
        """A party counts no longer, but stays listed."""
        self._uncount(party.client)
        self._ended[party] = group

    def rejoin(self, party: Party) -> None:
        """A party that had left is back."""
        self._ended.pop(party, None)
        self._calls[party.client] += 1

    def forget(self, group: Group, party: Party) -> None:
        """Drop a party for good; nothing happens if that was done."""
        party.cancel_timers()
        keys = self._by_party.get(party.client, {})
        if keys.get(party.key) != (group, party):
            return
        if self._ended.pop(party, None) is None:
            self._uncount(party.client)
        if group.parties.get(party.client) is party:
            del group.parties[party.client]
        del keys[party.key]
        if not keys:
            del self._by_party[party.client]

    def find(self, client: Identity, key: Key) -> tuple[Group, Party] | None:
        """The group that this client names so, and the client in it."""
        return self._by_party.get(client, {}).get(key)

    def of(self, client: Identity) -> list[tuple[Group, Party]]:
        """The groups of a client, also those that it has left."""
        return list(self._by_party.get(client, {}).values())

    def of_number(self, number: int) -> Group | None:
        """The live group with this relay."""
        return self._groups.get(number)

    def of_room(self, room: Room) -> Group | None:
        """The call in a room, if there is one."""
        return self._rooms.get(room.identity)

    def _uncount(self, client: Identity) -> None:
        self._calls[client] -= 1
        if not self._calls[client]:
            del self._calls[client]
