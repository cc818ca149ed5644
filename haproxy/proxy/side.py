"""The networks that the proxy stands between: private, and public if there is one (guide 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from haproxy.sip.flow import Flow, Transport
from rtlib.address import Address, pack, unpack

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp")


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One network, the address of ours in it, and the address by which those out there know us."""

    name: str
    number: int
    host: str
    port: int
    shown_host: str
    """What Via and Record-Route say: `publicIP` where a router maps it to `host`."""
    shown_port: int
    media_host: str
    """What SDP says: the address of `shown_host`, where that is a name."""
    network: IPv4Network | IPv6Network | None = None
    """What is reached on this side; None for everything else."""
    sent_by: bytes = field(init=False)
    """What our Via and Record-Route say, with the port even where it is the default one."""

    def __post_init__(self) -> None:
        host = f"[{self.shown_host}]" if ":" in self.shown_host else self.shown_host
        object.__setattr__(self, "sent_by", f"{host}:{self.shown_port}".encode())

    def local(self, transport: Transport) -> int:
        """The number of this side's socket for a transport, as `Flow.local` has it."""
        return self.number * len(TRANSPORTS) + TRANSPORTS.index(transport)

    def speaks(self, address: Address) -> bool:
        """Whether an address is of this side's kind: IPv4 or IPv6."""
        return len(pack(self.host, 0)) == len(address)

    def contains(self, address: Address) -> bool:
        """Whether an address belongs to the side's own network."""
        return self.network is not None and ip_address(unpack(address)[0]) in self.network


class Sides:
    """All sides; chooses one for a destination."""

    def __init__(self, sides: Iterable[Side]) -> None:
        self._sides = tuple(sides)
        self.private = self._sides[0]
        self._by_local = {side.local(transport): side for side in self._sides for transport in TRANSPORTS}
        self.towards = lru_cache(65536)(self._towards)

    def __iter__(self) -> Iterator[Side]:
        return iter(self._sides)

    def of(self, local: int) -> Side:
        """The side that a socket belongs to."""
        return self._by_local[local]

    def _towards(self, remote: Address) -> Side:
        """The side to reach an address from: the one whose network has it, else the public one."""
        fitting = [side for side in self._sides if side.speaks(remote)] or [self.private]
        return next((side for side in fitting if side.contains(remote)), fitting[-1])

    def named(self, sent_by: bytes) -> Side | None:
        """The side with this `host:port` in its Record-Route."""
        return next((side for side in self._sides if side.sent_by == sent_by), None)


def flow_to(side: Side, transport: Transport, remote: Address) -> Flow:
    """A flow from a side's socket; for a stream, whatever connection there is or will be."""
    return Flow(transport, side.local(transport), remote)
