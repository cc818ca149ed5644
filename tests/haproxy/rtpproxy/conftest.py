"""A forwarder that remembers what it was told, and parties with SDP."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest

from rtlib.address import Address
from rtlib.media.forwarder import Classify, FlowCounters, PortCounters, Target, Unmatched


class Memory:
    """Implements `rtlib.media.forwarder.Forwarder` without sockets that move."""

    def __init__(self) -> None:
        self.on_unmatched: Unmatched = lambda port, packets: None
        self.sockets: dict[int, socket.socket] = {}
        self.flows: dict[int, tuple[Address | None, list[tuple[int, Address]]]] = {}
        self.sent: list[tuple[int, bytes, Address]] = []
        self.last_active = 0.0

    def open(self, sock: socket.socket, classify: Classify) -> int:
        assert classify is Classify.PORT
        handle = len(self.sockets) + 1
        self.sockets[handle] = sock
        return handle

    def close(self, port: int) -> None:
        self.sockets[port].close()
        self.flows.pop(port, None)

    def address(self, port: int) -> tuple[str, int]:
        host, number = self.sockets[port].getsockname()[:2]
        return host, number

    def set_flow(
        self, port: int, key: int, source: Address | None, targets: Sequence[tuple[int, Address]]
    ) -> None:
        assert key == 0
        self.flows[port] = source, list(targets)

    def remove_flow(self, port: int, key: int) -> None:
        self.flows.pop(port, None)

    def flow(self, port: int, key: int) -> FlowCounters:
        source, targets = self.flows[port]
        named = tuple(Target(*target) for target in targets)
        return FlowCounters(source, named, 1, 100, 1, 100, 0, self.last_active)

    def port_counters(self, port: int) -> PortCounters:
        return PortCounters()

    def send(self, port: int, data: bytes, address: Address) -> None:
        self.sent.append((port, data, address))

    def stop(self) -> None:
        for sock in self.sockets.values():
            sock.close()


@pytest.fixture
def forwarder() -> Iterator[Memory]:
    memory = Memory()
    yield memory
    memory.stop()
