"""Who a message comes from: denied, allowed, entitled to use the proxy, or Genesis (guide 7.1.11-7.1.13)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Protocol

from haproxy.dispatcher.set import Dispatcher
from haproxy.sip.flow import Flow
from haproxy.sip.uri import UriError
from haproxy.sip.uri import parse as parse_uri
from rtlib.address import Address, unpack

REMEMBERED = 65536
"""Sources whose answers are kept, so that a list is not searched for each message."""


class Entry(Protocol):
    """One row of a list: `rtlib.settings.types.Entry`."""

    def matches(self, host: str, port: int) -> bool:
        """Whether a source belongs to it."""


class AccessList:
    """One of the guide's lists of addresses."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.replace(entries)

    def replace(self, entries: Sequence[Entry]) -> None:
        """Take other entries."""
        self._entries = tuple(entries)
        self._known: dict[Address, bool] = {}

    def __contains__(self, address: Address) -> bool:
        if not self._entries:
            return False
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            host, port = unpack(address)
            known = self._known[address] = any(entry.matches(host, port) for entry in self._entries)
        return known


class Sources:
    """What the lists and the dispatcher say of a source. Deny beats allow."""

    def __init__(
        self, deny: AccessList, allow: AccessList, proxy: AccessList, dispatcher: Dispatcher
    ) -> None:
        self.deny = deny
        self.allow = allow
        self.proxy = proxy
        self._dispatcher = dispatcher

    def denied(self, flow: Flow) -> bool:
        """Whether nothing from there is to be answered."""
        return flow.remote in self.deny

    def listed(self, flow: Flow) -> bool:
        """Whether it is on allowList or proxyList."""
        return flow.remote in self.allow or flow.remote in self.proxy

    def is_genesis(self, flow: Flow) -> bool:
        """Whether this is one of the registered Genesis systems, by address and port, or by connection."""
        for destination in self._dispatcher.members():
            if _same_source(destination.flow, destination.uri, flow):
                return True
        return False


def _same_source(registered: object, contact: bytes, flow: Flow) -> bool:
    if isinstance(registered, Flow):
        if registered.remote == flow.remote:
            return True
        # A stream's port is the peer's choice for each connection: there the address decides.
        if flow.transport != "udp" and registered.transport != "udp":
            return unpack(registered.remote)[0] == unpack(flow.remote)[0]
    return _names(contact, flow.remote)


def _names(contact: bytes, remote: Address) -> bool:
    try:
        uri = parse_uri(contact)
        host, port = unpack(remote)
        if (uri.port or 5060) != port:
            return False
        return ip_address(uri.host.strip(b"[]").decode()) == ip_address(host)
    except (UriError, ValueError):
        return False
