"""Who a message comes from: denied, allowed, entitled to use the proxy, or Genesis (guide 7.1.11-7.1.13)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from haproxy.dispatcher.destination import Destination
from haproxy.dispatcher.set import Dispatcher
from haproxy.protection.accesslist import Lists
from haproxy.sip.cache import kept
from haproxy.sip.flow import Flow
from haproxy.sip.uri import UriError
from haproxy.sip.uri import parse as parse_uri
from rtlib.address import Address, unpack

KNOWN: Final = 4096
"""Flows of which is remembered whether they are of Genesis systems."""


class Sources:
    """What the lists and the dispatcher say of a source that was not denied."""

    def __init__(self, lists: Lists, dispatcher: Dispatcher) -> None:
        self.allow = lists.allow
        self.proxy = lists.proxy
        self._dispatcher = dispatcher
        self._known: dict[Flow, bool] = {}
        """Who is a Genesis system, for the dispatcher's version."""
        self._version = dispatcher.version

    def listed(self, flow: Flow) -> bool:
        """Whether it is on allowList or proxyList."""
        return flow.remote in self.allow or flow.remote in self.proxy

    def is_genesis(self, flow: Flow) -> bool:
        """Whether this is one of the registered Genesis systems, by address and port, or by connection."""
        if self._version != self._dispatcher.version or len(self._known) > KNOWN:
            self._version = self._dispatcher.version
            self._known.clear()
        known = self._known.get(flow)
        if known is None:
            known = self._known[flow] = self._is_member(flow)
        return known

    def _is_member(self, flow: Flow) -> bool:
        for destination in self._dispatcher.members:
            if _same_source(destination.flow, destination.uri, flow):
                return True
        return False

    def shares_host(self, remote: Address) -> bool:
        """Whether one of the registered Genesis systems has this IP address, at whatever port."""
        host = unpack(remote)[0]
        return any(_host(destination) == host for destination in self._dispatcher.members)

    def genesis_places(self) -> list[tuple[str, str]]:
        """The IP addresses of the registered Genesis systems, and who registered there."""
        found = {_host(each): each.user.decode("utf-8", "replace") for each in self._dispatcher.members}
        return [(host, f"Genesis {user}") for host, user in found.items() if host]


def _host(destination: Destination) -> str:
    """Where a system is: what it registered from, else its contact. Empty for a contact that is a name."""
    if isinstance(destination.flow, Flow):
        return unpack(destination.flow.remote)[0]
    try:
        return str(ip_address(parse_uri(destination.uri).host.strip(b"[]").decode()))
    except (UriError, ValueError):
        return ""


def _same_source(registered: object, contact: bytes, flow: Flow) -> bool:
    if isinstance(registered, Flow):
        if registered.remote == flow.remote:
            return True
        # A stream's port is the peer's choice for each connection: there the address decides.
        if flow.transport != "udp" and registered.transport != "udp":
            return unpack(registered.remote)[0] == unpack(flow.remote)[0]
    return _names[contact, flow.remote]


def _is_named(place: tuple[bytes, Address]) -> bool:
    """Whether a contact names an address."""
    contact, remote = place
    try:
        uri = parse_uri(contact)
        host, port = unpack(remote)
        if (uri.port or 5060) != port:
            return False
        return ip_address(uri.host.strip(b"[]").decode()) == ip_address(host)
    except (UriError, ValueError):
        return False


_names: Final = kept("contacts of Genesis", _is_named)
