"""The proxy's sockets: UDP in batches, TCP and TLS with reuse of connections (RFC 3261 section 18)."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import ClientFactory, Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from haproxy.proxy.overload import Overload
from haproxy.sip.flow import Flow, Transport
from haproxy.stream import SipStream
from haproxy.tls.store import TlsStore
from rtlib.address import Address, text, unpack
from rtlib.datagram import DatagramCounters, DatagramEndpoint
from rtlib.listen import StreamPort

CONNECTIONS = 10_000
PER_ADDRESS = 200
"""Connections of one address; a telephone system behind a router may have many."""

CONNECT_TIMEOUT = 4.0
"""Seconds to open a connection; as long as a call waits before it goes elsewhere."""

WAITING = 64
"""Messages that wait for a connection to open."""

KEEPALIVE = 4
"""Datagrams up to this length, of CR, LF and NUL, keep a router's binding alive and mean nothing else."""

FLOWS = 65_536

LOOK = 1.0
"""Seconds between two looks at what the UDP sockets have lost."""

log = Logger()

Batch = list[tuple[bytes, Flow]]
Datagrams = list[tuple[bytes, Address]]
Datagram = TypeVar("Datagram")

# A named tuple's attributes cost more than the rest of what is done about a datagram here.
_DATA: Callable[[tuple[bytes, Flow]], bytes] = itemgetter(0)
_LOCAL: Callable[[Flow], int] = itemgetter(Flow._fields.index("local"))
_REMOTE: Callable[[Flow], Address] = itemgetter(Flow._fields.index("remote"))


@dataclass(frozen=True, slots=True)
class BoundSocket:
    """A socket that is bound already, and the number that flows have for it."""

    local: int
    transport: Transport
    sock: socket.socket
    host: str
    """The address to bind outgoing connections to."""

    @property
    def port(self) -> int:
        """The port."""
        return int(self.sock.getsockname()[1])


class Gate(Protocol):
    """Who decides on what comes in, before anything of it is read: `haproxy.protection`."""

    def admit(self, batch: Datagrams, later: Callable[[Datagrams], None] | None = None) -> Datagrams:
        """Those messages that may be worked on; `later` may get some in another turn of the reactor."""

    def shuts(self, address: Address) -> bool:
        """Whether a connection from there is not worth having."""

    def offend(self, address: Address) -> None:
        """A peer did what costs us as much as a message."""


class SipTransport(MultiService):
    """All sockets; `receive` gets what comes in, `failed` the flows that turned out not to work."""

    def __init__(
        self,
        reactor: Any,
        sockets: Iterable[BoundSocket],
        receive: Callable[[Batch], None],
        failed: Callable[[Flow, str], None],
        offence: Callable[[str, Address, str], None],
        *,
        gate: Gate,
        overload: Overload,
        tls: TlsStore | None = None,
    ) -> None:
        """`reactor` provides IReactorFDSet, IReactorTime, IReactorTCP and IReactorSocket.

        `tls` is needed where there is a socket for TLS.
        """
        super().__init__()
        self._reactor = reactor
        self._sockets = {bound.local: bound for bound in sockets}
        self._receive = receive
        self._failed = failed
        self._offence = offence
        self._gate = gate
        self._overload = overload
        self._tls = tls
        self._endpoints: dict[int, DatagramEndpoint] = {}
        self._streams: dict[int, SipStream] = {}
        self._by_remote: dict[Flow, SipStream] = {}
        """By flows without the connection's number."""
        self._opening: dict[Flow, list[bytes]] = {}
        self._proved: dict[Address, str] = {}
        """The name last proved at an address: a Contact inside a dialog may have the address only."""
        self._per_host: Counter[str] = Counter()
        self._number = 0
        self._overruns: dict[int, int] = {}
        looks = TimerService(LOOK, self._look)
        looks.clock = reactor
        looks.setServiceParent(self)
        self.refused = 0
        self.dropped = 0

    @property
    def connections(self) -> int:
        """Open stream connections."""
        return len(self._streams)

    def connections_by(self) -> dict[str, float]:
        """The same by transport."""
        found = Counter(stream.flow.transport for stream in self._streams.values())
        return {transport: float(found[transport]) for transport in ("tcp", "tls")}

    def counters(self) -> dict[str, DatagramCounters]:
        """What each UDP socket has done, by its address."""
        return {"{}:{}".format(*endpoint.address): endpoint.counters for endpoint in self._endpoints.values()}

    def was_deaf(self, since: float) -> bool:
        """Whether what came since then, on the clock of `time.monotonic`, was read too late or not at all."""
        self._note_losses()
        return self._overload.behind_since(since)

    def _look(self) -> None:
        self._note_losses()
        self._overload.handle_timer(time.monotonic())

    def _note_losses(self) -> None:
        for local, endpoint in self._endpoints.items():
            if self._has_lost(local, endpoint):
                self._overload.note(endpoint.waited, True, time.monotonic())

    def _has_lost(self, local: int, endpoint: DatagramEndpoint) -> bool:
        """Whether datagrams found no room since the last look."""
        before, now = self._overruns.get(local, 0), endpoint.counters.overrun
        self._overruns[local] = now
        return now != before

    def startService(self) -> None:
        """Begin to receive."""
        for bound in self._sockets.values():
            if bound.transport == "udp":
                self._listen_datagram(bound)
            else:
                StreamPort(bound.sock, self._acceptor(bound), self._reactor).setServiceParent(self)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Close all sockets and connections."""
        for endpoint in self._endpoints.values():
            endpoint.stop()
        for stream in list(self._streams.values()):
            stream.close()
        stopped: Deferred[None] = super().stopService()
        return stopped

    def send(self, batch: Batch) -> None:
        """Send messages, those of one UDP socket in one system call."""
        flows = [flow for _, flow in batch]
        handles = list(map(_LOCAL, flows))
        datagrams = list(zip(map(_DATA, batch), map(_REMOTE, flows), strict=True))
        for local in set(handles):
            if self._sockets[local].transport == "udp":
                self._endpoints[local].send(_chosen(datagrams, handles, local))
            else:
                for data, flow in _chosen(batch, handles, local):
                    self._send_stream(data, flow)

    def close(self, flow: Flow) -> None:
        """Close the connection of a flow, after what was written to it is sent."""
        stream = self._streams.get(flow.connection)
        if stream is not None:
            stream.close()

    def _listen_datagram(self, bound: BoundSocket) -> None:
        local = bound.local
        flows = _Flows(local)
        admit = self._gate.admit
        overload = self._overload

        def receive(batch: Datagrams) -> None:
            waited = endpoint.waited
            if waited or overload.refusing:
                overload.note(waited, self._has_lost(local, endpoint), time.monotonic())
            batch = admit(batch, pass_on)
            if batch:
                pass_on(batch)

        def pass_on(batch: Datagrams) -> None:
            if len(flows) > FLOWS:
                flows.clear()
            self._receive(
                [
                    (data, flows[address])
                    for data, address in batch
                    if len(data) > KEEPALIVE or data.strip(b"\r\n\0")
                ]
            )

        endpoint = DatagramEndpoint(
            bound.sock, receive, self._reactor, on_error=partial(self._undelivered, local)
        )
        self._endpoints[local] = endpoint
        endpoint.start()

    def _undelivered(self, local: int, address: Address, number: int) -> None:
        if number == errno.EMSGSIZE:
            return  # that message was too long, or will go in pieces next time: nobody is to blame there
        self._failed(Flow("udp", local, address), _reason(number))

    def _acceptor(self, bound: BoundSocket) -> IProtocolFactory:
        factory = _Acceptor(self, Flow(bound.transport, bound.local, b""))
        if bound.transport != "tls":
            return factory
        assert self._tls is not None
        server = self._tls.server(bound.host, bound.port)
        accepting: IProtocolFactory = TLSMemoryBIOFactory(server, False, factory, self._reactor)
        return accepting

    def _connector(self, flow: Flow, host: str, port: int) -> IProtocolFactory:
        factory = _Connector(self, flow)
        if flow.transport != "tls":
            return factory
        assert self._tls is not None
        client = self._tls.client(host, port, flow.domain, self._proved.get(flow.remote, ""))
        connecting: IProtocolFactory = TLSMemoryBIOFactory(client, True, factory, self._reactor)
        return connecting

    def _send_stream(self, data: bytes, flow: Flow) -> None:
        stream = self._streams.get(flow.connection) if flow.connection else None
        stream = stream or self._by_remote.get(_any(flow)) or self._by_remote.get(self._named(flow))
        if stream is not None:
            stream.write(data)
        elif flow.connection:
            self._reactor.callLater(0, self._failed, flow, "the connection is closed")
        else:
            self._open(data, flow)

    def _named(self, flow: Flow) -> Flow:
        """The same peer by the name that it has proved."""
        return flow._replace(connection=0, domain=flow.domain or self._proved.get(flow.remote, ""))

    def _open(self, data: bytes, flow: Flow) -> None:
        waiting = self._opening.get(flow)
        if waiting is not None:
            if len(waiting) >= WAITING:
                self.dropped += 1
                return
            waiting.append(data)
            return
        self._opening[flow] = [data]
        host, port = unpack(flow.remote)
        origin = (self._sockets[flow.local].host, 0)
        factory = self._connector(flow, host, port)
        self._reactor.connectTCP(host, port, factory, CONNECT_TIMEOUT, origin)

    def make_stream(self, flow: Flow) -> SipStream:
        """A connection that is being opened by either end."""
        self._number += 1
        return SipStream(self, self._reactor, flow._replace(connection=self._number))

    def not_connected(self, flow: Flow, reason: str) -> None:
        """A connection could not be opened."""
        self._opening.pop(flow, None)
        self._failed(flow, reason)

    def connected(self, stream: SipStream) -> None:
        """Count the connection in, or close it where there are too many."""
        host = unpack(stream.flow.remote)[0]
        self._streams[stream.flow.connection] = stream
        self._per_host[host] += 1
        if len(self._streams) > CONNECTIONS or self._per_host[host] > PER_ADDRESS:
            self.refused += 1
            self.offended(stream, "connections", "has too many connections")
            stream.abort()
        elif self._gate.shuts(stream.flow.remote):
            self.refused += 1
            stream.abort()

    def ready(self, stream: SipStream) -> None:
        """Send what has waited for the connection; others to the same peer use it from now on."""
        flow = _any(stream.flow)
        if stream.flow.connection not in self._streams:
            return
        self._by_remote[flow] = stream
        if flow.domain:
            if len(self._proved) >= FLOWS:
                self._proved.clear()
            self._proved[flow.remote] = flow.domain
        for data in self._opening.pop(flow, ()):
            stream.write(data)

    def received(self, stream: SipStream, messages: list[bytes]) -> None:
        """Pass messages on with the flow that answers take."""
        flow = stream.flow
        admitted = self._gate.admit([(message, flow.remote) for message in messages])
        if admitted:
            self._receive([(message, flow) for message, _ in admitted])
        if len(admitted) < len(messages) and self._gate.shuts(flow.remote):
            stream.abort()

    def offended(self, stream: SipStream, kind: str, reason: str) -> None:
        """Count what a peer did wrong."""
        self._gate.offend(stream.flow.remote)
        self._offence(kind, stream.flow.remote, reason)

    def disconnected(self, stream: SipStream) -> None:
        """Forget the connection, and tell who still waits for answers on it."""
        if self._streams.pop(stream.flow.connection, None) is None:
            return
        host = unpack(stream.flow.remote)[0]
        self._per_host[host] -= 1
        if not self._per_host[host]:
            del self._per_host[host]
        flow = _any(stream.flow)
        if self._by_remote.get(flow) is stream:
            del self._by_remote[flow]
        else:
            self._opening.pop(flow, None)
        for each in (stream.flow, flow):
            self._failed(each, "the connection was closed")


class _Acceptor(Factory):
    """Connections that peers open."""

    noisy = False

    def __init__(self, owner: SipTransport, flow: Flow) -> None:
        self._owner = owner
        self._flow = flow

    def buildProtocol(self, addr: IAddress | None) -> SipStream:
        return self._owner.make_stream(self._flow)


class _Connector(ClientFactory):
    """A connection that we open."""

    noisy = False

    def __init__(self, owner: SipTransport, flow: Flow) -> None:
        self._owner = owner
        self._flow = flow

    def buildProtocol(self, addr: IAddress | None) -> SipStream:
        return self._owner.make_stream(self._flow)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        where = text(self._flow.remote)
        self._owner.not_connected(self._flow, f"no connection to {where}: {reason.getErrorMessage()}")


def _any(flow: Flow) -> Flow:
    """The same peer by whichever connection."""
    return flow._replace(connection=0)


def _chosen(batch: list[Datagram], handles: list[int], local: int) -> list[Datagram]:
    """What goes to one of our sockets, which most often is everything."""
    if handles.count(local) == len(batch):
        return batch
    return [each for each, handle in zip(batch, handles, strict=True) if handle == local]


class _Flows(dict[Address, Flow]):
    """The flows of one UDP socket, made as they are asked for."""

    def __init__(self, local: int) -> None:
        super().__init__()
        self._local = local

    def __missing__(self, address: Address) -> Flow:
        flow = self[address] = Flow("udp", self._local, address)
        return flow


def _reason(number: int) -> str:
    return os.strerror(number).lower()
