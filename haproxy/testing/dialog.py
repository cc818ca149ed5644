"""A dialog as one end of a call keeps it (RFC 3261 §12). Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

from haproxy.sip import address, uri
from haproxy.sip.message import Request, Response
from haproxy.sip.uri import Uri


class DialogError(ValueError):
    """The message does not make a dialog: it has no Contact, or not a usable one."""


@dataclass
class Dialog:
    """Identifiers, remote target, route set and local sequence number."""

    call_id: bytes
    local: bytes
    """From of our requests, with tag."""
    remote: bytes
    """To of our requests, with tag."""
    target: bytes
    route: tuple[bytes, ...]
    """Hops in the order in which our requests visit them."""
    sequence: int

    @classmethod
    def of_caller(cls, request: Request, response: Response) -> Dialog:
        """The caller's end, from its INVITE and the 2xx (§12.1.2). Raises DialogError."""
        route = tuple(response.values(b"record-route")[::-1])
        local, remote = request.first(b"from") or b"", response.first(b"to") or b""
        return cls(request.call_id, local, remote, _contact(response), route, request.cseq_number)

    @classmethod
    def of_callee(cls, request: Request, response: Response) -> Dialog:
        """The callee's end, from the INVITE and its own 2xx (§12.1.1). Raises DialogError."""
        route = tuple(request.values(b"record-route"))
        local, remote = response.first(b"to") or b"", request.first(b"from") or b""
        return cls(request.call_id, local, remote, _contact(request), route, 0)

    def request(self, method: bytes) -> Request:
        """The next request in this dialog (§12.2.1.1)."""
        self.sequence += 1
        return self._request(method, self.sequence)

    def ack(self, sequence: int) -> Request:
        """The ACK for the 2xx of the INVITE with this sequence number (§13.2.2.4)."""
        return self._request(b"ACK", sequence)

    @property
    def next_hop(self) -> Uri:
        """Where our requests go first: the first route, else the remote target."""
        return address.parse(self.route[0]).target if self.route else uri.parse(self.target)

    def matches(self, request: Request) -> bool:
        """Whether a request that came in belongs to this dialog."""
        ours, theirs = address.parse(self.local).tag, address.parse(self.remote).tag
        return (request.call_id, request.to_tag, request.from_tag) == (self.call_id, ours, theirs)

    def _request(self, method: bytes, sequence: int) -> Request:
        target, route = self.target, list(self.route)
        if route and address.parse(route[0]).target.param(b"lr") is None:
            # The first hop is a strict router (RFC 2543): it wants itself in the Request-URI.
            target, route = address.parse(route[0]).uri, [*route[1:], b"<" + target + b">"]
        headers = [(b"Route", hop) for hop in route]
        headers += [(b"From", self.local), (b"To", self.remote), (b"Call-ID", self.call_id)]
        return Request.create(method, target, [*headers, (b"CSeq", b"%d %b" % (sequence, method))])


def _contact(message: Request | Response) -> bytes:
    contacts = message.addresses(b"contact")
    if not contacts:
        raise DialogError("the other end gave no Contact")
    return contacts[0].uri
