"""Settings for some clients only: `<ip/mask> ...` or `<uri@account> ...`; the first that matches counts.

Manual 4.10 and 4.12.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Generic, TypeAlias, TypeVar

from crs.identity import Identity, parse

Value = TypeVar("Value")
_Network: TypeAlias = IPv4Network | IPv6Network


class Rules(Generic[Value]):
    """What holds for whom; replaced as a whole when settings are read again."""

    def __init__(self, rows: Iterable[tuple[str, Value]] = ()) -> None:
        """`rows`: an IP range or uri@account, and what holds for it. Raises ValueError for neither."""
        self._rules: list[tuple[_Network | Identity, Value]] = []
        self.replace(rows)

    def replace(self, rows: Iterable[tuple[str, Value]]) -> None:
        """From now on these hold. Raises ValueError."""
        self._rules = [(_match(text), value) for text, value in rows]

    def find(self, client: Identity, host: str) -> Value | None:
        """What holds for a client at this address; None if no rule matches."""
        if not self._rules:
            return None
        address = _address(host)
        for match, value in self._rules:
            if client == match if isinstance(match, Identity) else address in match:
                return value
        return None


def _match(text: str) -> _Network | Identity:
    return parse(text.encode()) if "@" in text else ip_network(text, strict=False)


def _address(host: str) -> IPv4Address | IPv6Address:
    """The peer's address; an IPv4 one that came in over IPv6 counts as IPv4."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
