"""Where a request goes: the four routing rules of the guide, 1.2.4 (RFC 3261 section 16.5). Sans-IO."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import groupby
from typing import TypeAlias

from haproxy.dispatcher.destination import Destination
from haproxy.dispatcher.set import Dispatcher
from haproxy.proxy.admission import Admission
from haproxy.proxy.contact import OwnContact, OwnContacts
from haproxy.proxy.domain import Domains
from haproxy.proxy.side import Side, Sides
from haproxy.proxy.source import Sources
from haproxy.proxy.validation import Refused
from haproxy.registrar.location import Binding, LocationService, address_of_record
from haproxy.registrar.subscriber import Subscribers
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.uri import Uri


class Target:
    """One place to try. It never changes."""

    __slots__ = ("destination", "flow", "hop", "path", "side", "uri")

    def __init__(
        self,
        *,
        uri: bytes | None = None,
        hop: bytes | None = None,
        flow: Flow | None = None,
        side: Side | None = None,
        path: bytes = b"",
        destination: Destination | None = None,
    ) -> None:
        self.uri = uri
        """The Request-URI to send; None to leave it as it is."""
        self.hop = hop
        """Where to send it, a URI; None for the topmost Route or the Request-URI."""
        self.flow = flow
        """The connection to send it on; None to look where it goes."""
        self.side = side
        """The side to leave by, where our own Route or a registration said so."""
        self.path = path
        """Route to put before (RFC 3327 Path)."""
        self.destination = destination
        """The Genesis system that this is, so that its failure is noticed."""


Groups: TypeAlias = tuple[tuple[Target, ...], ...]
"""Tried one group after the other; within a group, which has one at least, all at once."""


class Targets:
    """Applies the rules."""

    def __init__(
        self,
        *,
        admission: Admission,
        domains: Domains,
        sources: Sources,
        location: LocationService,
        subscribers: Subscribers,
        dispatcher: Dispatcher,
        contacts: OwnContacts,
        sides: Sides,
    ) -> None:
        self._admission = admission
        self._contacts = contacts
        self._domains = domains
        self._sources = sources
        self._location = location
        self._subscribers = subscribers
        self._dispatcher = dispatcher
        self._sides = sides
        self._groups: dict[tuple[Destination, ...], Groups] = {}
        """What is made of the orders that the dispatcher gives, for its version."""
        self._version = dispatcher.version

    def is_own(self, request: Request) -> bool:
        """Whether a request is for our own domain."""
        return self._domains.owns(request.target)

    def to_genesis(self, request: Request, flow: Flow) -> bool:
        """Whether the third rule applies: a call from elsewhere to our domain or a contact of ours."""
        uri = request.target
        ours = self._domains.owns(uri) or self._contacts.find(uri) is not None
        return ours and not self._sources.is_genesis(flow)

    def determine(self, request: Request, flow: Flow, now: float) -> Groups:
        """The groups of targets of a request outside of any dialog. Raises Refused and Ignored."""
        uri = request.target
        genesis = self._sources.is_genesis(flow)
        if request.route is None:
            if self._contacts.by_user and not genesis:
                contact = self._contacts.find(uri)
                if contact is not None:
                    return self._of_contact(contact, flow, now)
            if self._domains.owns(uri):
                return self._of_user(uri) if genesis else self._of_genesis(flow, now)
        if genesis or flow.remote in self._sources.proxy:
            return ((Target(),),)
        raise Refused(403, "Not Allowed To Use This Proxy")

    def _of_user(self, uri: Uri) -> Groups:
        """First rule: Genesis calls a registered user."""
        user = uri.username
        aor = address_of_record(user, uri.host)
        # The user may have registered with another of our names than the one that was called.
        found = self._location.bindings(aor) or self._location.bindings_of(self._domains.records_of(user))
        if found:
            return self._by_preference(found)
        raise Refused(480 if self._is_known(user, aor) else 404)

    def _is_known(self, user: bytes, aor: bytes) -> bool:
        return any(self._subscribers.find(name) for name in (aor, *self._domains.records_of(user)))

    def _of_contact(self, contact: OwnContact, flow: Flow, now: float) -> Groups:
        """A call of a provider where we are registered: for the local user that this registration is of.

        Where nobody is registered here as that user, the third rule takes it to Genesis under that name.
        """
        found = self._location.bindings(address_of_record(contact.user, contact.domain))
        if found and self._dispatcher.set_of(contact.user) is None:
            return self._by_preference(found)
        return self._of_genesis(flow, now, contact.uri)

    def _of_genesis(self, flow: Flow, now: float, uri: bytes | None = None) -> Groups:
        """Third rule: one Genesis system after the other, until one answers; `uri` for the Request-URI."""
        self._admission.to_genesis(flow, now)
        order = self._dispatcher.candidates(now)
        if not order:
            raise Refused(503, "No Genesis System Is Available", (b"Retry-After", b"10"))
        if uri is not None:
            return self._at_destinations(order, uri)
        if self._version != self._dispatcher.version:
            self._version = self._dispatcher.version
            self._groups.clear()
        groups = self._groups.get(order)
        if groups is None:
            groups = self._groups[order] = self._at_destinations(order, None)
        return groups

    def _by_preference(self, bindings: tuple[Binding, ...]) -> Groups:
        """Those of the highest q together, then the others (RFC 3261 sections 10.2.1.2, 16.6)."""
        groups = groupby(bindings, key=lambda each: each.q)
        return tuple(tuple(self._at_binding(each) for each in group) for _, group in groups)

    def _at_binding(self, binding: Binding) -> Target:
        flow, side = self._way(binding.flow)
        if binding.path:
            flow = None
        return Target(uri=binding.contact, flow=flow, side=side, path=binding.path)

    def _at_destinations(self, order: tuple[Destination, ...], uri: bytes | None) -> Groups:
        return tuple([(self._at_destination(each, uri),) for each in order])

    def _at_destination(self, destination: Destination, uri: bytes | None) -> Target:
        flow, side = self._way(destination.flow)
        return Target(uri=uri, hop=destination.uri, flow=flow, side=side, destination=destination)

    def _way(self, flow: Hashable | None) -> tuple[Flow | None, Side | None]:
        """The connection that a registration came on, if it was one, and its side."""
        if not isinstance(flow, Flow):
            return None, None
        return (None if flow.transport == "udp" else flow), self._sides.of(flow.local)
