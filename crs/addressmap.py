"""Addresses to use in place of the public ones of other servers (manual 4.11): on outgoing connections and
for media that goes to another server's relay.
"""

from __future__ import annotations

from collections.abc import Iterable


class AddressMap:
    """Replaced as a whole when settings are read again."""

    def __init__(self, rows: Iterable[tuple[str, str]] = ()) -> None:
        """`rows`: public address and the one to use, as `str(ip_address(...))` writes them."""
        self._used: dict[str, str] = {}
        self.replace(rows)

    def replace(self, rows: Iterable[tuple[str, str]]) -> None:
        """From now on these hold; the first one of an address counts."""
        used: dict[str, str] = {}
        for public, address in rows:
            used.setdefault(public, address)
        self._used = used

    def find(self, host: str) -> str:
        """The address to use for this one: itself if nothing is said about it."""
        return self._used.get(host, host)
