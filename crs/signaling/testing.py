"""For tests: the Rendezvous machine with clients, a store and a relay in memory; time is a number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from crs.identity import Identity
from crs.limits import Limits, LimitTable
from crs.signaling import message
from crs.signaling.event import (
    AddNode,
    AllocateRelay,
    AppendItem,
    Ask,
    Blob,
    CloseConnection,
    ConfirmItem,
    DeleteItem,
    Done,
    Event,
    Failed,
    FetchItems,
    Full,
    Items,
    KeptItem,
    LookUp,
    NewItem,
    Node,
    ReadBlob,
    Relays,
    ReleaseRelay,
    RemoveNode,
    Result,
    SaveClients,
    SaveCounts,
    StoredState,
    StoreItem,
    Wanted,
)
from crs.signaling.group import Room
from crs.signaling.offers import Offered
from crs.signaling.registrar import Identification, Policy
from crs.signaling.rendezvous import Rendezvous
from crs.signaling.ticket import Sealer

Message = TypeVar("Message")

START: Final = 1000.0
MAX_STATE: Final = 8
"""Items that all clients together may store."""

WALL: Final = 1_700_000_000.0
"""UTC of the time START."""


class MemoryStorage:
    """Does what is asked of the storage, at once and in order."""

    def __init__(self) -> None:
        self.saved: dict[Identity, bytes] = {}
        self.mailboxes: defaultdict[Identity, list[KeptItem]] = defaultdict(list)
        self.seen: set[tuple[Identity, str]] = set()
        """Every item that ever was in a mailbox."""
        self.state: dict[tuple[Identity, message.ItemKind, str], bytes] = {}
        """What clients have stored."""
        self.blobs: dict[tuple[Identity, str], Blob] = {}
        """What updates hold for clients, by month."""
        self._sequence = count(1)
        self._work: dict[type, Callable[[Any], Result]] = {
            SaveClients: self._save,
            SaveCounts: self._save,
            AppendItem: lambda ask: self._append(ask.item),
            ConfirmItem: self._confirm,
            FetchItems: self._fetch,
            StoreItem: self._store,
            DeleteItem: lambda ask: Done(self.state.pop((ask.client, ask.kind, ask.name), None) is not None),
            ReadBlob: lambda ask: self.blobs.get((ask.client, ask.month), Failed("it is gone")),
            LookUp: lambda ask: StoredState(self.state.get((ask.client, ask.kind, ask.name))),
        }

    def do(self, ask: Ask) -> Result:
        """The result of an ask."""
        return self._work[type(ask)](ask)

    def _save(self, ask: SaveClients | SaveCounts) -> Result:
        self.saved.update(ask.records)
        return Done()

    def _store(self, ask: StoreItem) -> Result:
        if len(self.state) >= MAX_STATE:
            return Full("there is too much")
        self.state[ask.client, ask.kind, ask.name] = ask.value
        return Done()

    def _append(self, item: NewItem) -> Result:
        mailbox = self.mailboxes[item.mailbox]
        if len(mailbox) >= Limits().mailbox_items:
            return Full("the mailbox is full")
        new = (item.mailbox, item.id) not in self.seen
        if new:
            self.seen.add((item.mailbox, item.id))
            mailbox.append(KeptItem(next(self._sequence), item.id, item.value))
        return Done(new)

    def _confirm(self, ask: ConfirmItem) -> Result:
        if ask.receipt is not None:
            self._append(ask.receipt)
        mailbox = self.mailboxes[ask.mailbox]
        kept = [item for item in mailbox if item.id != ask.id]
        removed = len(kept) < len(mailbox)
        mailbox[:] = kept
        return Done(removed)

    def _fetch(self, ask: FetchItems) -> Result:
        behind = [item for item in self.mailboxes[ask.mailbox] if item.sequence > ask.after]
        return Items(tuple(behind[: ask.limit]))


class MemoryRelay:
    """Hands out legs, and notices what is released twice or never was allocated."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.groups: set[int] = set()
        self.nodes: dict[int, set[int]] = {}
        """The legs of each multicast relay."""
        self.released: Counter[int] = Counter()
        self._identifiers = count(1)

    def allocate(self, ask: AllocateRelay) -> Result:
        """Legs for both parties."""
        if len(self.groups) + len(ask.streams) > self.limit:
            return Full("all relays are in use")
        self.groups.update(wanted.group for wanted in ask.streams)
        pairs = [(next(self._identifiers), next(self._identifiers)) for _ in ask.streams]
        return Relays(
            caller=tuple(_leg(wanted, *pair) for wanted, pair in zip(ask.streams, pairs, strict=True)),
            callee=tuple(_leg(wanted, *pair[::-1]) for wanted, pair in zip(ask.streams, pairs, strict=True)),
        )

    def add_node(self, ask: AddNode) -> Result:
        """A leg of a group."""
        if ask.first:
            if len(self.groups) >= self.limit:
                return Full("all relays are in use")
            self.groups.add(ask.group)
        if ask.group not in self.groups:
            return Failed("the group has no relay")
        identifier = next(self._identifiers)
        self.nodes.setdefault(ask.group, set()).add(identifier)
        return Node(_leg(Wanted(ask.group, 0, message.RelayKind.opaque_multicast), identifier, 0))

    def remove_node(self, notice: RemoveNode) -> None:
        """Give a leg of a group back."""
        self.nodes[notice.group].remove(notice.identifier)

    def release(self, group: int) -> None:
        """Give a group's legs back."""
        self.nodes.pop(group, None)
        if group not in self.groups:
            raise AssertionError(f"group {group} was released but is not allocated")
        self.groups.remove(group)
        self.released[group] += 1


def _leg(wanted: Wanted, identifier: int, peer: int) -> message.Relay:
    return message.Relay(
        stream=wanted.number,
        kind=wanted.kind,
        host="",
        port=146,
        identifier=identifier,
        peer=peer,
        key=bytes(32),
    )


@dataclass(eq=False)
class Phone:
    """A client's connection as the client sees it."""

    world: World
    number: int
    client: Identity
    inbox: list[Any] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    asked: list[int] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: count(1))

    def ask(self, kind: Callable[..., message.Request], /, **fields: Any) -> int:
        """Send a request; its id."""
        number = self.skip()
        self.send(message.encode(kind(id=number, **fields)))
        return number

    def skip(self) -> int:
        """An id for a request that is made elsewhere."""
        number: int = next(self._ids)
        self.asked.append(number)
        return number

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.world.machine.receive(data, self.number, self.world.now)
        self.world.flush()

    def attach(self) -> Phone:
        """Attach, and forget the reply and what came with it."""
        self.ask(message.Attach, version="test")
        self.take(message.Attached)
        return self

    def take(self, kind: type[Message]) -> Message:
        """Take the oldest message out of the inbox, which must be of this type."""
        assert self.inbox, f"nothing came where {kind.__name__} was due"
        received = self.inbox.pop(0)
        assert isinstance(received, kind), received
        return received

    def silent(self) -> bool:
        """Whether nothing is left in the inbox."""
        return not self.inbox

    def hang_up_line(self) -> None:
        """The connection breaks."""
        self.world.disconnect(self)


class World:
    """A machine and everything around it. With `manual`, asks wait until `complete`."""

    def __init__(
        self,
        *,
        manual: bool = False,
        relays: int = 1000,
        cleanup: float | None = None,
        limits: LimitTable | None = None,
    ) -> None:
        """`cleanup`: seconds from the end of a registration to the close of its connection."""
        self.now = START
        self.manual = manual
        self._salts = count()
        self.denied: dict[Identity, str] = {}
        """Clients that may not attach, and why."""
        self.apart: list[set[str]] = []
        """Pairs of accounts that are not connected."""
        self.rooms: list[Room] = []
        self.updates: dict[Identity, list[Offered]] = {}
        """What there is to offer to clients."""
        self.machine = Rendezvous(
            Identification("crs/test", "this run", lambda: WALL + self.now - START),
            Sealer(bytes(32), lambda size: next(self._salts).to_bytes(size, "big")),
            Policy(
                self.denied.get,
                lambda _client, _host: cleanup,
                lambda one, other: one == other or {one, other} not in self.apart,
                lambda number: [room for room in self.rooms if room.number == number],
                lambda client: self.updates.get(client, ()),
            ),
            limits,
        )
        self.storage = MemoryStorage()
        self.relay = MemoryRelay(relays)
        self.phones: dict[int, Phone] = {}
        self.waiting: list[Ask] = []
        self.events: list[Event] = []
        self._numbers = count(1)

    def connect(self, uri: str, account: str = "a", host: str = "192.0.2.1") -> Phone:
        """A client connects."""
        phone = Phone(self, next(self._numbers), Identity(uri, account))
        self.phones[phone.number] = phone
        self.machine.connected(phone.number, phone.client, host, 1024 + phone.number, self.now)
        self.flush()
        return phone

    def disconnect(self, phone: Phone) -> None:
        """A connection breaks."""
        self.phones.pop(phone.number, None)
        self.machine.disconnected(phone.number, self.now)
        self.flush()

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while (when := self.machine.get_timer()) is not None and when <= until:
            self.now = max(self.now, when)
            self.machine.handle_timer(self.now)
            self.flush()
        self.now = until

    def complete(self, index: int = 0, *, fail: bool = False) -> None:
        """Do one of the waiting asks, or fail it without having done anything."""
        ask = self.waiting.pop(index)
        result = Failed("injected") if fail else self._do(ask)
        self.machine.completed(ask.token, result, self.now)
        self.flush()

    def complete_all(self) -> None:
        """Do asks until none is left."""
        while self.waiting:
            self.complete()

    def flush(self) -> None:
        """As `rtlib.driver.Driver` does: send, hand out an event, and again."""
        while True:
            for data, number in self.machine.to_send(self.now):
                self.phones[number].inbox.append(message.decode_server_message(data))
            event = self.machine.next_event()
            if event is None:
                return
            self._event(event)

    def told(self, kind: type[Message]) -> list[Message]:
        """The events of a type so far, which are then forgotten."""
        events, self.events = self.events, []
        found: list[Message] = []
        for event in events:
            if isinstance(event, kind):
                found.append(event)
            else:
                self.events.append(event)
        return found

    def _event(self, event: Event) -> None:
        if isinstance(event, ReleaseRelay):
            self.relay.release(event.group)
        elif isinstance(event, RemoveNode):
            self.relay.remove_node(event)
        elif isinstance(event, CloseConnection):
            phone = self.phones[event.connection]
            phone.closed = phone.closed or (event.code, event.reason)
        elif isinstance(event, Ask):
            self.waiting.append(event)
            if not self.manual:
                self.complete()
        else:
            self.events.append(event)

    def _do(self, ask: Ask) -> Result:
        if isinstance(ask, AllocateRelay):
            return self.relay.allocate(ask)
        return self.relay.add_node(ask) if isinstance(ask, AddNode) else self.storage.do(ask)
