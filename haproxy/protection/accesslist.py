"""The guide's lists of addresses, found in by prefix (guide 7.1.11-7.1.13). Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

from rtlib.address import IPV4_SIZE, IPV6_SIZE, Address
from rtlib.settings.types import Entry

SETTINGS: Final = "settings"
"""The origin of entries that the operator has written."""

MAPPED: Final = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins that is written as IPv6 (RFC 4291 2.5.5.2)."""
MAPPED_LENGTH: Final = 96

REMEMBERED: Final = 65536
"""Addresses of which a list remembers whether they belong to it."""

GROUPS: Final = {"allowList": 1, "denyList": 2, "proxyList": 3}
"""The column `grp` of Kamailio's table `address`, for each of the lists."""


class _Prefixes(NamedTuple):
    """All networks of one length: their leading bits to port (0: any) to entry."""

    shift: int
    networks: dict[int, dict[int, Entry]]


class AccessList:
    """One list. Finding takes as long as it has different prefix lengths, however many entries it has."""

    def __init__(self, entries: Iterable[Entry] = (), automatic: Mapping[Entry, str] | None = None) -> None:
        self.replace(entries, automatic)

    def replace(self, entries: Iterable[Entry], automatic: Mapping[Entry, str] | None = None) -> None:
        """Take other entries; `automatic` maps those that nobody has written to where they are from."""
        automatic = automatic or {}
        self._origins: dict[Entry, str] = {**automatic, **dict.fromkeys(entries, SETTINGS)}
        tables: dict[bool, dict[int, dict[int, dict[int, Entry]]]] = {True: {}, False: {}}
        for entry in self._origins:
            bits, length, width = _leading(entry.network)
            shift = width - length
            networks = tables[width == 32].setdefault(shift, {})
            networks.setdefault(bits >> shift, {})[entry.port or 0] = entry
        self._four, self._six = (
            [_Prefixes(shift, table[shift]) for shift in sorted(table)] for table in tables.values()
        )
        self._asked: dict[Address, bool] = {}

    def __len__(self) -> int:
        return len(self._origins)

    def __iter__(self) -> Iterator[tuple[Entry, str]]:
        """Entries with their origins."""
        return iter(self._origins.items())

    def origin(self, entry: Entry) -> str:
        """Where one of its entries is from."""
        return self._origins[entry]

    def __contains__(self, address: Address) -> bool:
        """Asked for each message, so the answers are kept."""
        answer = self._asked.get(address)
        if answer is None:
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            answer = self._asked[address] = bool(self._origins) and self.find(address) is not None
        return answer

    def find(self, address: Address) -> Entry | None:
        """The entry that an address belongs to: of several the longest prefix, with a port before without."""
        size = len(address)
        if size == IPV4_SIZE:
            table, raw = self._four, address[4:8]
        elif size == IPV6_SIZE and address[8:20] == MAPPED:
            table, raw = self._four, address[20:24]
        elif size == IPV6_SIZE:
            table, raw = self._six, address[8:24]
        else:
            return None
        if not table:
            return None
        number = int.from_bytes(raw, "big")
        for shift, networks in table:
            ports = networks.get(number >> shift)
            if ports is not None:
                entry = ports.get(int.from_bytes(address[2:4], "big")) or ports.get(0)
                if entry is not None:
                    return entry
        return None


@dataclass(frozen=True, slots=True)
class Lists:
    """All three, under the guide's names."""

    deny: AccessList
    allow: AccessList
    proxy: AccessList

    def __iter__(self) -> Iterator[tuple[str, AccessList]]:
        """In the order in which they count."""
        return iter((("denyList", self.deny), ("allowList", self.allow), ("proxyList", self.proxy)))

    def rows(self) -> list[dict[str, object]]:
        """The rows of Kamailio's table `address`."""
        return [
            {
                "grp": GROUPS[name],
                "ip_addr": str(entry.network.network_address),
                "mask": entry.network.prefixlen,
                "port": entry.port or 0,
                "tag": f"{name} {origin}"[:64],
            }
            for name, entries in self
            for entry, origin in entries
        ]


def _leading(network: IPv4Network | IPv6Network) -> tuple[int, int, int]:
    """The address as a number, the prefix length, and the bits of the address family."""
    packed, length = network.network_address.packed, network.prefixlen
    if network.version == 6 and length >= MAPPED_LENGTH and packed.startswith(MAPPED):
        return int.from_bytes(packed[12:], "big"), length - MAPPED_LENGTH, 32
    return int.from_bytes(packed, "big"), length, network.max_prefixlen
