"""Host names to addresses, by the reactor's own resolver (A and AAAA; RFC 3263 without NAPTR and SRV)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer


@implementer(IResolutionReceiver)
class Lookup:
    """One name being looked up; calls back once, with the addresses in the resolver's order."""

    def __init__(self, done: Callable[[list[str]], None]) -> None:
        self._done = done
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """It is on its way."""

    def addressResolved(self, address: IAddress) -> None:
        """One address."""
        if isinstance(address, IPv4Address | IPv6Address):
            self._found.append(address.host)

    def resolutionComplete(self) -> None:
        """There are no more."""
        self._done(self._found)


def look_up(reactor: Any, host: str, done: Callable[[list[str]], None]) -> None:
    """Look a name up; `reactor` provides IReactorPluggableNameResolver. No address gives an empty list."""
    try:
        reactor.nameResolver.resolveHostName(Lookup(done), host)
    except ValueError:
        done([])
