"""Decides on every message before anything of it is parsed (guide 1.2.2, 7.1.11-7.1.15). Sans-IO.

The order is the guide's: denyList, allowList, proxyList, who is blocked, who sends too much, known scanners.
Here, and not behind the parser, because what an attacker sends must cost next to nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, NamedTuple

from haproxy.protection.accesslist import Lists
from haproxy.protection.scanner import NAMES, Scanners
from haproxy.protection.source import BLOCKED, EXEMPT, OPEN, SHUT, WATCHED, Limits, Source, Table
from rtlib.address import IPV4_SIZE, Address, pack, subnet, unpack
from rtlib.bucket import TokenBucket
from rtlib.wheel import Wheel

Datagrams = list[tuple[bytes, Address]]

DENIED: Final = "denied"
FLOOD: Final = "flood"
SCANNER: Final = "scanner"
EXCESS: Final = "excess"
BACKLOG: Final = "backlog"
"""Kinds of what is dropped. Excess is what comes too fast from somebody who is not blocked yet; backlog what
would have had to wait for others, and found no room to.
"""

ADDRESSES: Final = 32_768
"""Addresses, and as many sources, that are remembered; at most twice as many."""
BLOCKS: Final = 16_384
"""Sources blocked at a time; beyond that the one is freed that has been blocked for the longest."""
HOMES: Final = 100_000
"""Addresses from which somebody has registered; as many as there are registrations."""
EVENTS: Final = 1000
AT_ONCE: Final = 0.2
"""Seconds: of what strangers may send in a second, so much may come at once before others have to wait."""

SEVERAL: Final = 12
"""Messages from which on it pays to count them all at once: that was measured."""

_RESPONSE: Final = b"SIP/2.0 "
_KEEPALIVE: Final = 4
"""Bytes up to which a datagram is a keep-alive, and no request."""
_ADDRESS: Final[Callable[[tuple[bytes, Address]], Address]] = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator wants."""

    flood: bool = True
    limits: Limits = field(default_factory=Limits)
    scanners: tuple[str, ...] = NAMES
    dry_run: bool = False
    """Count and tell what would be blocked or dropped, and do neither. denyList works all the same."""
    strangers: int = 0
    """Requests a second from all that nobody knows: what is more comes after others, and of those for Genesis
    no more go on; 0: no limit.
    """


class Blocked(NamedTuple):
    """A source was blocked, or stays blocked because its rate is what it was."""

    host: str
    kind: str
    reason: str
    seconds: float
    again: bool


class Unblocked(NamedTuple):
    """A block is over."""

    host: str
    kind: str
    reason: str
    dropped: int


Event = Blocked | Unblocked


class Guard:
    """Everything that is known of those who send us messages."""

    def __init__(
        self,
        lists: Lists,
        policy: Policy,
        *,
        pardon: Callable[[Address], bool],
        inside: Callable[[Address], bool],
        addresses: int = ADDRESSES,
        blocks: int = BLOCKS,
    ) -> None:
        """`pardon` tells whether a Genesis system is there; `inside`, whether an address is in our network.

        Both are asked seldom: when somebody is to be blocked, and when an IPv6 address is new.
        """
        self.policy = policy
        self.dropped: Counter[str] = Counter()
        """Messages, but for those of blocks that go on; see `totals`."""
        self.blocks: Counter[str] = Counter()
        """Times that somebody was blocked, by kind."""
        self.forgotten = 0
        """Addresses and sources given up for others."""
        self.held = 0
        """Requests of strangers for Genesis that were too many."""
        self._lists = lists
        self._pardon = pardon
        self._inside = inside
        self._limit = blocks
        self._scanners = Scanners(policy.scanners)
        self._known: Table[Address] = Table(addresses, self._forget)
        self._sources: Table[str] = Table(addresses, self._forget)
        self._blocked: dict[str, Source] = {}
        self._homes: dict[str, float] = {}
        self._open = Source("", OPEN)
        self._shut = Source("", SHUT)
        self._exempt = Source("", EXEMPT)
        self._at_once, self._for_genesis = _strangers(policy.strangers)
        self._wheel: Wheel[Source] = Wheel(0.5)
        self._events: deque[Event] = deque(maxlen=EVENTS)

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)

    def admit(self, batch: Datagrams, now: float) -> tuple[Datagrams, Datagrams]:
        """Those messages of a batch that may be worked on at once, and those that may be after all others'.

        The latter are of sources that send more than they may for long.
        """
        hasty: Datagrams = []
        if len(batch) >= SEVERAL and self._counted(batch, now):
            return batch, hasty
        known = self._known.young
        dry_run = self.policy.dry_run
        admitted: Datagrams = []
        for datagram in batch:
            source = known.get(datagram[1])
            if source is None:
                source = self.source(datagram[1])
                known = self._known.young
            state = source.state
            if state == OPEN:
                admitted.append(datagram)
            elif state == BLOCKED:
                source.dropped += 1
                source.requests += 1
                if dry_run:
                    admitted.append(datagram)
            elif state == SHUT:
                source.dropped += 1
            elif dry_run:
                self._passes(source, datagram, now)
                admitted.append(datagram)
            elif self._passes(source, datagram, now):
                (hasty if source.hasty else admitted).append(datagram)
        return admitted, hasty

    def shuts(self, address: Address) -> bool:
        """Whether nothing would be taken from there now, so that a connection is not worth having."""
        state = self.source(address).state
        return state == SHUT or (state == BLOCKED and not self.policy.dry_run)

    def offend(self, address: Address, now: float) -> None:
        """Somebody did what costs us as much as a request: a handshake that failed, a message cut off."""
        source = self.source(address)
        if source.state == WATCHED and self.policy.flood:
            self._count(source, address, 1, now)

    def registered(self, address: Address, until: float) -> None:
        """Somebody registered from there: a message with a scanner's name does not block that address.

        Else whoever can forge the sender of a datagram could have a phone blocked. `until`: when that ends.
        """
        host = self._host(address)
        if host not in self._homes and len(self._homes) >= HOMES:
            del self._homes[next(iter(self._homes))]
        self._homes[host] = max(until, self._homes.get(host, 0.0))

    def knows(self, address: Address, now: float) -> bool:
        """Whether somebody there is on a list, or a Genesis system, or has registered."""
        if self.source(address).state in {OPEN, EXEMPT}:
            return True
        return self._homes.get(self._host(address), 0.0) > now or self._pardon(address)

    def holds(self, address: Address, now: float) -> bool:
        """Count a request for Genesis outside of any dialog; whether strangers have sent too many.

        A flood whose senders are forged is one message of each: no limit of a source holds it up.
        """
        if not self.policy.strangers or self.knows(address, now) or self._for_genesis.take(now):
            return False
        self.held += 1
        return True

    def apply(self, policy: Policy) -> None:
        """Take other settings, and other lists. Blocks go on, but for those that nobody wants any more."""
        if policy.strangers != self.policy.strangers:
            self._at_once, self._for_genesis = _strangers(policy.strangers)
        self.policy = policy
        self._scanners.replace(policy.scanners)
        self._known.clear()
        wanted = {FLOOD: policy.flood, SCANNER: bool(policy.scanners)}
        for source in list(self._blocked.values()):
            if not wanted[source.kind]:
                self._unblock(source, "the settings have changed")
            elif self._listed(_address(source.host)) is not None:
                self._unblock(source, "it is on a list now")

    def source(self, address: Address) -> Source:
        """What is known of an address; it is remembered."""
        source = self._known.find(address) or self._listed(address)
        if source is None:
            host = self._host(address)
            source = self._blocked.get(host) or self._sources.find(host)
            if source is None:
                source = Source(host, WATCHED)
                self._sources.put(host, source)
        self._known.put(address, source)
        return source

    def blocked(self) -> Iterator[Source]:
        """Who is blocked."""
        return iter(self._blocked.values())

    def is_blocked(self, address: Address) -> str | None:
        """Why nothing is taken from there; None where that is not so. The lists are not asked."""
        source = self._blocked.get(self._host(address))
        return None if source is None else f"{source.kind}: {source.reason}"

    def unblock(self, host: str | None) -> int:
        """End the block of an address, or of all; how many there were. ValueError for what is no address."""
        hosts = list(self._blocked) if host is None else [self._host(_address(host))]
        chosen = [self._blocked[each] for each in hosts if each in self._blocked]
        for source in chosen:
            self._unblock(source, "an operator wanted it")
        return len(chosen)

    def totals(self) -> dict[str, float]:
        """Messages dropped, by kind; with a dry run, those that would have been."""
        found = Counter(self.dropped)
        found[DENIED] += self._shut.dropped
        for source in self._blocked.values():
            found[source.kind] += source.dropped
        return {kind: float(found[kind]) for kind in (DENIED, FLOOD, SCANNER, EXCESS, BACKLOG)}

    def get_timer(self) -> float | None:
        """When a block may end."""
        return self._wheel.get_timer()

    def handle_timer(self, now: float) -> None:
        """Look at the rate of those whose block ends, and free those that have become quiet."""
        limits = self.policy.limits
        for source in self._wheel.expire(now):
            if not source.measured:
                source.measured, source.requests = True, 0
                source.timer = self._wheel.schedule(source, now + limits.interval)
            elif source.requests > limits.requests:
                self._hold(source, now, again=True)
            else:
                self._unblock(source, "it has become quiet")

    def next_event(self) -> Event | None:
        """The oldest event that was not handed out."""
        return self._events.popleft() if self._events else None

    def _counted(self, batch: Datagrams, now: float) -> bool:
        """Count a batch all of whose senders may send as much, and that no scanner is among, as most are.

        Of another one nothing is counted: then each message is looked at by itself.
        """
        known = self._known.young
        flood = self.policy.flood
        numbers: dict[Source, int] = {}
        for address, number in Counter(map(_ADDRESS, batch)).items():
            source = known.get(address)
            if source is None or source.state == BLOCKED or source.state == SHUT:  # noqa: PLR1714 - no set is made
                return False
            if flood and source.state == WATCHED:
                numbers[source] = number + numbers.get(source, 0)
        for source, number in numbers.items():
            if not self._may_send(source, number, now):
                return False
        requests = [each for each in batch if len(each[0]) > _KEEPALIVE and not each[0].startswith(_RESPONSE)]
        for data, _ in requests:
            if self._scanners.recognize(data):
                return False
        for source, number in numbers.items():
            source.messages += number
        for address, number in Counter(map(_ADDRESS, requests)).items():
            source = known[address]
            if source in numbers:
                source.requests += number
        return True

    def _may_send(self, source: Source, number: int, now: float) -> bool:
        """Whether so many messages more, were they all requests, would be counted and nothing else."""
        if source.hasty or now >= source.ends:
            return False
        if source.pardoned:
            return True
        limits = self.policy.limits
        if source.requests + number > limits.requests or source.messages + number > limits.messages:
            return False
        return not self.policy.strangers or self._homes.get(source.host, 0.0) > now

    def _listed(self, address: Address) -> Source | None:
        """What the lists say of an address; deny beats allow."""
        if address in self._lists.deny:
            return self._shut
        if address in self._lists.allow:
            return self._open
        return self._exempt if address in self._lists.proxy else None

    def _passes(self, source: Source, datagram: tuple[bytes, Address], now: float) -> bool:
        """Count a message, and look at it; False where it is to be dropped."""
        data, address = datagram
        response = data.startswith(_RESPONSE)
        if source.state == WATCHED and self.policy.flood:
            requests = 0 if response or len(data) <= _KEEPALIVE else 1
            if not self._count(source, address, requests, now):
                return False
        if response or source.pardoned:
            return True
        name = self._scanners.recognize(data)
        if name:
            self._scanned(source, address, name, now)
        return not name

    def _count(self, source: Source, address: Address, requests: int, now: float) -> bool:
        """Count a message; False where it is one too many."""
        limits = self.policy.limits
        if now >= source.ends:
            source.roll(now, limits)
        source.messages += 1
        source.requests += requests
        if requests and not source.hasty and not source.pardoned and self.policy.strangers:
            source.hasty = self._is_crowded(source, address, now)
        if not source.exceeds(limits):
            return True
        if source.pardoned is None:
            source.pardoned = self._pardon(address)
        if source.pardoned:
            return True
        source.hasty = True
        if source.streak >= limits.intervals - 1:
            self._block(source, FLOOD, source.excess(limits), now)
            return False
        if source.messages > limits.messages:
            self.dropped[EXCESS] += 1
            return False
        return True

    def _is_crowded(self, source: Source, address: Address, now: float) -> bool:
        """Count a request of somebody whom nobody knows; whether all of them have sent too many."""
        if self._homes.get(source.host, 0.0) > now:
            return False
        if source.pardoned is None:
            source.pardoned = self._pardon(address)
        if source.pardoned:
            return False
        return not self._at_once.take(now)

    def _scanned(self, source: Source, address: Address, name: str, now: float) -> None:
        """A scanner's message is dropped, and its sender blocked unless he is somebody that we know."""
        known = self._homes.get(source.host, 0.0) > now or self._pardon(address)
        if source.state == WATCHED and not known:
            self._block(source, SCANNER, f"calls itself {name}", now)
        else:
            self.dropped[SCANNER] += 1

    def _block(self, source: Source, kind: str, reason: str, now: float) -> None:
        if len(self._blocked) >= self._limit:
            self.forgotten += 1
            self._unblock(next(iter(self._blocked.values())), "too many others are blocked")
        source.state = BLOCKED
        source.kind, source.reason, source.since = kind, reason, now
        source.dropped = 1  # the message that it was blocked for
        self.blocks[kind] += 1
        self._blocked[source.host] = source
        self._hold(source, now, again=False)

    def _hold(self, source: Source, now: float, *, again: bool) -> None:
        """Block for a while; in its last interval the rate is looked at."""
        limits = self.policy.limits
        source.until = now + limits.block
        source.measured = False
        source.timer = self._wheel.schedule(source, max(now, source.until - limits.interval))
        self._events.append(Blocked(source.host, source.kind, source.reason, limits.block, again))

    def _unblock(self, source: Source, reason: str) -> None:
        del self._blocked[source.host]
        if source.timer is not None:
            source.timer.cancel()
            source.timer = None
        self.dropped[source.kind] += source.dropped
        self._events.append(Unblocked(source.host, source.kind, reason, source.dropped))
        source.free()
        self._sources.put(source.host, source)

    def _host(self, address: Address) -> str:
        """Whom an address counts as: itself, but for IPv6 from elsewhere its /64."""
        if len(address) == IPV4_SIZE:
            return f"{address[4]}.{address[5]}.{address[6]}.{address[7]}"
        host = unpack(address)[0]
        return host if self._inside(address) else subnet(host)

    def _forget(self, count: int) -> None:
        self.forgotten += count


def _strangers(rate: int) -> tuple[TokenBucket, TokenBucket]:
    """What all that nobody knows may send together before others, and to Genesis.

    Two, for what they send to nobody must not use up what Genesis gets of them.
    """
    return TokenBucket(rate, max(1.0, rate * AT_ONCE), 0.0), TokenBucket(rate, rate, 0.0)


def _address(host: str) -> Address:
    """An address of a host, or of the network that somebody counts as. ValueError."""
    return pack(host.partition("/")[0], 0)
