"""The pure Python forwarder: runs in the reactor, reads and writes in batches through `rtlib.datagram`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from itertools import count

from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from rtlib.address import Address
from rtlib.datagram import DatagramEndpoint
from rtlib.media.forwarder import (
    MAX_PACKET,
    MAX_TARGETS,
    OPAQUE,
    PAUSE,
    RELAY_HEADER,
    Audience,
    Classify,
    FlowCounters,
    PortCounters,
    Target,
    Unmatched,
    Unreachable,
)
from rtlib.media.rtp import RTP_HEADER, is_rtcp, is_rtp_or_rtcp
from rtlib.metronome import Metronome
from rtlib.mmsg import Batch

Batched = list[tuple[bytes, Address]]

BATCH = 64
"""Datagrams read at once. A wake-up reads `BATCHES_PER_WAKE` times as many, which is
`UNMATCHED_PER_DRAIN`: no more than that can go up at once, so this forwarder has none to drop.
"""

log = Logger()


def _ignore(port: int, *what: object) -> None:
    """Take packets and errors while the owner has not said who does."""


class ReactorForwarder:
    """See `rtlib.media.forwarder.Forwarder`. Signalling and media share one thread here, each waiting for
    the other.

    `pause`: seconds between two readings of a port under load, 0 to read as soon as something is there.
    """

    def __init__(
        self, reactor: IReactorFDSet, now: Callable[[], float] = time.monotonic, pause: float = PAUSE
    ) -> None:
        self.on_unmatched: Unmatched = _ignore
        self.on_error: Unreachable = _ignore
        self._reactor = reactor
        self._now = now
        self._handles = count(1)
        self._ports: dict[int, _Port] = {}
        self._buffers: dict[int, Batch] = {}
        self._metronome = Metronome(reactor, pause) if pause else None

    def open(self, sock: socket.socket, classify: Classify) -> int:
        """Start to read a bound socket."""
        handle = next(self._handles)
        buffers = self._buffers.get(sock.family)
        if buffers is None:
            buffers = self._buffers[sock.family] = Batch(sock.family, BATCH, MAX_PACKET)
        kind = _RelayPort if classify is Classify.RELAY else _PairPort
        port = kind(self._now, lambda packets: self._unmatched(handle, packets))
        port.endpoint = DatagramEndpoint(
            sock,
            port.receive,
            self._reactor,
            on_error=lambda address, number: self.on_error(handle, address, number),
            buffers=buffers,
            metronome=self._metronome,
        )
        self._ports[handle] = port
        port.endpoint.start()
        return handle

    def close(self, port: int) -> None:
        """Close a port; flows of others that lead to it go on without it."""
        closed = self._ports.pop(port)
        closed.endpoint.stop()
        for other in self._ports.values():
            other.forget(closed)

    def address(self, port: int) -> tuple[str, int]:
        """Host and port number that the socket is bound to."""
        return self._ports[port].endpoint.address

    def set_flow(
        self, port: int, key: int, source: Address | None, targets: Sequence[tuple[int, Address]]
    ) -> None:
        """Add a flow or change one."""
        flow = self._flow(port, key, source)
        flow.targets = tuple(Target(*target) for target in targets)
        flow.outputs, flow.audience = self._outputs(targets), None

    def audience(self) -> Audience:
        """Make an audience without targets."""
        return Audience(_Audience())

    def set_audience(self, audience: Audience, targets: Sequence[tuple[int, Address]]) -> None:
        """Change where the packets of all its speakers go."""
        assert isinstance(audience, _Audience)
        audience.outputs = self._outputs(targets)

    def set_speaker(self, port: int, key: int, source: Address | None, audience: Audience) -> None:
        """Add a flow that goes to an audience, or change one."""
        assert isinstance(audience, _Audience)
        flow = self._flow(port, key, source)
        flow.targets = ()
        flow.outputs, flow.audience = [], audience

    def remove_flow(self, port: int, key: int) -> None:
        """Forget a flow."""
        owner = self._ports[port]
        owner.flows.pop(owner.name(key), None)

    def flow(self, port: int, key: int) -> FlowCounters:
        """Read a flow's counters."""
        owner = self._ports[port]
        return owner.flows[owner.name(key)].counters()

    def port_counters(self, port: int) -> PortCounters:
        """Read a port's counters."""
        return self._ports[port].counters()

    def send(self, port: int, data: bytes, address: Address) -> None:
        """Send one packet of the caller's own."""
        self._ports[port].endpoint.send([(data, address)])

    def stop(self) -> None:
        """Close all ports."""
        for port in self._ports.values():
            port.endpoint.stop()
        self._ports.clear()

    def _flow(self, port: int, key: int, source: Address | None) -> _Flow:
        """Find or make a flow and give it this source."""
        owner = self._ports[port]
        flow = owner.flows.setdefault(owner.name(key), _Flow())
        flow.source = source
        return flow

    def _outputs(self, targets: Sequence[tuple[int, Address]]) -> list[tuple[_Port, Address]]:
        if len(targets) > MAX_TARGETS:
            raise ValueError(f"there are {MAX_TARGETS} targets at most")
        return [(self._ports[handle], address) for handle, address in targets if handle in self._ports]

    def _unmatched(self, handle: int, packets: Batched) -> None:
        try:
            self.on_unmatched(handle, packets)
        except Exception:  # noqa: BLE001 - the packets that do match must still be sent
            log.failure("handling packets without a flow failed")


class _Audience:
    """Targets that flows share."""

    __slots__ = ("outputs",)

    def __init__(self) -> None:
        self.outputs: list[tuple[_Port, Address]] = []


class _Flow:
    """One sender: where its packets must come from and go to, and what has been counted."""

    __slots__ = (
        "audience",
        "last_active",
        "outputs",
        "rx",
        "rx_bytes",
        "source",
        "targets",
        "tx",
        "tx_bytes",
        "wrong_source",
    )

    def __init__(self) -> None:
        self.source: Address | None = None
        self.targets: tuple[Target, ...] = ()
        self.outputs: list[tuple[_Port, Address]] = []
        self.audience: _Audience | None = None
        self.rx = self.rx_bytes = self.tx = self.tx_bytes = self.wrong_source = 0
        self.last_active = 0.0

    def others(self, audience: _Audience) -> list[tuple[_Port, Address]]:
        """Give the outputs of an audience without our own source."""
        source = self.source
        return [output for output in audience.outputs if output[1] != source]

    def counters(self) -> FlowCounters:
        return FlowCounters(
            source=self.source,
            targets=self.targets,
            rx=self.rx,
            rx_bytes=self.rx_bytes,
            tx=self.tx,
            tx_bytes=self.tx_bytes,
            wrong_source=self.wrong_source,
            last_active=self.last_active,
        )


class _Port:
    """One socket with its flows by name: the key as the packet carries it."""

    def __init__(self, now: Callable[[], float], unmatched: Callable[[Batched], None]) -> None:
        self.endpoint: DatagramEndpoint
        self.flows: dict[bytes, _Flow] = {}
        self.pending: Batched = []
        self._now = now
        self._hand_up = unmatched
        self._too_short = 0
        self._no_destination = 0
        self._unmatched = 0

    def name(self, key: int) -> bytes:
        """Give the name in `flows` of a flow's key. ValueError for a key that no packet can have."""
        raise NotImplementedError

    def classify(self, batch: Batched) -> tuple[list[tuple[_Flow, bytes]], Batched]:
        """Split a batch into packets that flow and packets that go up, and count the flows' wrong sources."""
        raise NotImplementedError

    def receive(self, batch: Batched) -> None:
        """Forward one batch: one send for each port it leads to."""
        flowing, up = self.classify(batch)
        if flowing:
            self._forward(flowing)
        if up:
            self._unmatched += len(up)
            self._hand_up(up)

    def forget(self, closed: _Port) -> None:
        """Send nothing through a port that is closed."""
        for flow in self.flows.values():
            if flow.audience is not None:
                flow.audience.outputs = [
                    output for output in flow.audience.outputs if output[0] is not closed
                ]
            flow.outputs = [output for output in flow.outputs if output[0] is not closed]

    def counters(self) -> PortCounters:
        """Take a snapshot."""
        endpoint = self.endpoint.counters
        return PortCounters(
            received=endpoint.received,
            received_bytes=endpoint.received_bytes,
            sent=endpoint.sent,
            sent_bytes=endpoint.sent_bytes,
            too_short=self._too_short,
            too_long=endpoint.truncated,
            no_destination=self._no_destination,
            send_errors=endpoint.send_errors + endpoint.dropped,
            unmatched=self._unmatched,
        )

    def _forward(self, flowing: list[tuple[_Flow, bytes]]) -> None:
        now = self._now()
        touched: list[_Port] = []
        for flow, data in flowing:
            size = len(data)
            flow.rx += 1
            flow.rx_bytes += size
            flow.last_active = now
            outputs = flow.outputs if flow.audience is None else flow.others(flow.audience)
            if not outputs:
                self._no_destination += 1
            for port, address in outputs:
                pending = port.pending
                if not pending:
                    touched.append(port)
                pending.append((data, address))
                flow.tx += 1
                flow.tx_bytes += size
        for port in touched:
            batch, port.pending = port.pending, []
            port.endpoint.send(batch)


class _RelayPort(_Port):
    """One port for everybody: the identifier in the packet names the flow."""

    def name(self, key: int) -> bytes:
        if not 0 <= key <= 0xFFFFFFFF:
            raise ValueError(f"{key} is not a 32-bit identifier")
        return key.to_bytes(4, "big")

    def classify(self, batch: Batched) -> tuple[list[tuple[_Flow, bytes]], Batched]:
        # The hot loop: every packet of every call. Slices stay bytes, so the lookup needs no conversion.
        flows = self.flows
        flowing: list[tuple[_Flow, bytes]] = []
        up: Batched = []
        for packet in batch:
            data, source = packet
            if len(data) < RELAY_HEADER:
                self._too_short += 1
                continue
            first = data[0]
            if first & 0xC0 == 0x80 and not 192 <= data[1] <= 223:
                name = data[8:12]
                if len(name) < 4:
                    self._too_short += 1
                    continue
            elif first & 0xC0 == 0x80 or first == OPAQUE:
                name = data[4:8]
            else:
                up.append(packet)
                continue
            flow = flows.get(name)
            if flow is None:
                up.append(packet)
            elif flow.source == source:
                flowing.append((flow, data))
            else:
                flow.wrong_source += flow.source is not None
                up.append(packet)
        return flowing, up


class _PairPort(_Port):
    """One side of a port pair: all packets are one flow."""

    def name(self, key: int) -> bytes:
        if key != 0:
            raise ValueError(f"a port of this kind has one flow, with key 0, not {key}")
        return b""

    def classify(self, batch: Batched) -> tuple[list[tuple[_Flow, bytes]], Batched]:
        flow = self.flows.get(b"")
        flowing: list[tuple[_Flow, bytes]] = []
        up: Batched = []
        for packet in batch:
            data, source = packet
            if len(data) < RTP_HEADER and _too_short(data):
                self._too_short += 1
            elif flow is None:
                up.append(packet)
            elif flow.source == source:
                flowing.append((flow, data))
            else:
                flow.wrong_source += flow.source is not None
                up.append(packet)
        return flowing, up


def _too_short(data: bytes) -> bool:
    """Judge a packet of less than 12 bytes: 8 are enough for RTCP, and for what is neither RTP nor RTCP."""
    return len(data) < RELAY_HEADER or (is_rtp_or_rtcp(data) and not is_rtcp(data))
