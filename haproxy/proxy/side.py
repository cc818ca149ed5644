"""The networks that the proxy stands between: private, and public if there is one (guide 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from haproxy.sip.flow import DEFAULT_PORT, Flow, Transport
from rtlib.address import Address, join, pack, unpack

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls")


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
    tls_port: int | None = None
    """The port for TLS; None where there is none."""
    shown_tls_port: int | None = None
    sent_by: bytes = field(init=False)
    """What our Via and Record-Route say, with the port even where it is the default one; not for TLS."""
    tls_sent_by: bytes = field(init=False)
    """The same for TLS."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sent_by", join(self.shown_host, self.shown_port).encode())
        shown = self.shown_tls_port or self.tls_port or DEFAULT_PORT["tls"]
        object.__setattr__(self, "tls_sent_by", join(self.shown_host, shown).encode())

    def port_of(self, transport: Transport) -> int | None:
        """The port that is bound for a transport; None where it is not spoken."""
        return self.tls_port if transport == "tls" else self.port

    def sent_by_of(self, transport: Transport) -> bytes:
        """What Via and Record-Route say for a transport."""
        return self.tls_sent_by if transport == "tls" else self.sent_by

    def local(self, transport: Transport) -> int:
        """The number of this side's socket for a transport, as `Flow.local` has it."""
        return self.number * len(TRANSPORTS) + TRANSPORTS.index(transport)

    def speaks(self, address: Address, transport: Transport = "udp") -> bool:
        """Whether an address is of this side's kind, IPv4 or IPv6, and can be reached by this transport."""
        return len(pack(self.host, 0)) == len(address) and self.port_of(transport) is not None

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

    def speak(self, transport: Transport) -> bool:
        """Whether there is a socket for a transport on any side."""
        return any(side.port_of(transport) is not None for side in self._sides)

    def _towards(self, remote: Address, transport: Transport = "udp") -> Side:
        """The side to reach an address from: the one whose network has it, else the public one."""
        fitting = [side for side in self._sides if side.speaks(remote, transport)] or [self.private]
        return next((side for side in fitting if side.contains(remote)), fitting[-1])

    def named(self, sent_by: bytes) -> Side | None:
        """The side with this `host:port` in its Record-Route."""
        return next((side for side in self._sides if sent_by in {side.sent_by, side.tls_sent_by}), None)


def flow_to(side: Side, transport: Transport, remote: Address, domain: str = "") -> Flow:
    """A flow from a side's socket; for a stream, whatever connection there is or will be."""
    return Flow(transport, side.local(transport), remote, domain=domain if transport == "tls" else "")
