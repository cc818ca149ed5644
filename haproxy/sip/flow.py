"""Where a message came from or goes to: a socket of ours and a remote address (a flow, RFC 5626 §1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from haproxy.sip.cache import kept
from rtlib.address import Address, pack, unpack

if TYPE_CHECKING:
    from haproxy.sip.message import Request
    from haproxy.sip.via import Via

Transport: TypeAlias = Literal["udp", "tcp", "tls"]

DEFAULT_PORT: Final[dict[str, int]] = {"udp": 5060, "tcp": 5060, "tls": 5061}
"""The port meant where a Via or URI names none (RFC 3261 §18.2.2, §19.1.2)."""


class Flow(NamedTuple):
    """One way to a peer. Equal flows use the same socket, and for streams the same connection.

    `local` is the handle that the service gave its listening or datagram socket; `connection` numbers
    the service's stream connections from 1, and is 0 for datagrams and for a stream still to be opened.
    """

    transport: Transport
    local: int
    remote: Address
    connection: int = 0
    domain: str = ""
    """The host name that a TLS peer has to prove (RFC 5922 section 4); empty for its address."""

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself."""
        return self.transport != "udp"


def _source(remote: Address) -> tuple[bytes, bytes, int]:
    """What the Via of somebody there has for its origin, and the address in parts."""
    name, port = unpack(remote)
    host = name.encode("ascii")
    return b" %b:%d " % (host, port), host, port


_known_source: Final = kept("sources", _source, 65536)


def arrive(request: Request, via: Via, flow: Flow) -> Flow:
    """Note in the top Via where a request came from, and tell where its responses go.

    RFC 3261 §18.2.1 and §18.2.2, RFC 3581 §4. `via` is the top one.
    """
    origin, host, port = _known_source[flow.remote]
    if via.bare and via.origin == origin:
        return flow
    stamped = via.stamped(host, port)
    if stamped is not None:
        rport = via.rport is not None
        request.replace_first(b"Via", stamped)
        if rport and via.maddr is None:
            return flow
    return flow if flow.transport != "udp" else _reply(via, flow, host, port)


def _reply(via: Via, flow: Flow, host: bytes, port: int) -> Flow:
    maddr = via.maddr
    port_wanted = via.port or DEFAULT_PORT["udp"]
    if maddr is None and port_wanted == port:
        return flow
    try:
        return flow._replace(remote=pack((maddr or host).decode("ascii"), port_wanted))
    except ValueError:
        return flow


def reopened(via: Via, flow: Flow) -> Flow:
    """Where a response goes when the request's connection is gone: to the port of sent-by (§18.2.2)."""
    _, host, _ = _source(flow.remote)
    remote = pack(host.decode("ascii"), via.port or DEFAULT_PORT[flow.transport])
    return flow._replace(remote=remote, connection=0)
