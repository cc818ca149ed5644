"""A phone's sockets: one UDP port, or one TCP port with its connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from haproxy.sip.flow import Flow
from rtlib.address import Address
from rtlib.datagram import DatagramEndpoint
from rtlib.listen import bind_datagram

Receive = Callable[[list[tuple[bytes, Flow]]], None]
Lost = Callable[[Flow], None]


class Link(Protocol):
    """What a phone needs of its sockets."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for Via and Contact."""

    def flow(self, remote: Address) -> Flow:
        """The way to an address."""

    def send(self, batch: list[tuple[bytes, Flow]]) -> None:
        """Send messages."""

    def stop(self) -> None:
        """Close everything at once."""


class UdpLink:
    """One UDP socket."""

    def __init__(self, reactor: Any, host: str, port: int, receive: Receive, lost: Lost) -> None:
        """`lost` is told where a datagram could not be delivered to. Raises ListenError."""
        self._receive = receive
        self._lost = lost
        self._endpoint = DatagramEndpoint(
            bind_datagram(host, port), self._received, reactor, batch=16, on_error=self._failed
        )
        self._endpoint.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for Via and Contact."""
        return self._endpoint.address

    def flow(self, remote: Address) -> Flow:
        """The way to an address."""
        return Flow("udp", 0, remote)

    def send(self, batch: list[tuple[bytes, Flow]]) -> None:
        """Send messages."""
        self._endpoint.send([(data, flow.remote) for data, flow in batch])

    def stop(self) -> None:
        """Close the socket."""
        self._endpoint.stop()

    def _received(self, batch: list[tuple[bytes, Address]]) -> None:
        self._receive([(data, Flow("udp", 0, source)) for data, source in batch])

    def _failed(self, remote: Address, errno: int) -> None:
        self._lost(Flow("udp", 0, remote))
