"""The native forwarder: a thread in C without the GIL moves the packets (`native/`, `_forwarder.c`).

The reactor's thread changes its flows and reads its counters at any time, and waits for microseconds only.
What nobody has decided about, and addresses that cannot be reached, wake the reactor through an eventfd.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rtlib.address import Address
from rtlib.media.forwarder import (
    PAUSE,
    Audience,
    Classify,
    FlowCounters,
    PortCounters,
    Target,
    Unmatched,
    Unreachable,
)

if TYPE_CHECKING:
    from rtlib.media._forwarder import Engine

log = Logger()


def available() -> bool:
    """Whether the C extension was built when this was installed."""
    try:
        import rtlib.media._forwarder  # noqa: F401
    except ImportError:
        return False
    return True


def _ignore(port: int, *what: object) -> None:
    """Take packets and errors while the owner has not said who does."""


@implementer(IReadDescriptor)
class NativeForwarder:
    """See `rtlib.media.forwarder.Forwarder`. The thread starts with `open`, after a daemon has forked.

    `pause`: seconds from 0 to 0.01 between two drains under load; packets that come alone never wait.
    ImportError if not `available()`.
    """

    def __init__(self, reactor: IReactorFDSet, pause: float = PAUSE) -> None:
        from rtlib.media._forwarder import Engine

        self.on_unmatched: Unmatched = _ignore
        self.on_error: Unreachable = _ignore
        self._reactor = reactor
        self._engine: Engine = Engine(round(pause * 1e6))
        self._addresses: dict[int, tuple[str, int]] = {}

    def open(self, sock: socket.socket, classify: Classify) -> int:
        """Start to read a bound socket. ValueError if it is not one for UDP, OSError without a thread."""
        address = sock.getsockname()[:2]
        port = self._engine.open(sock.fileno(), classify is Classify.RELAY)
        sock.detach()
        if not self._addresses:
            self._reactor.addReader(self)
        self._addresses[port] = address
        return port

    def close(self, port: int) -> None:
        """Close a port; flows of others that lead to it go on without it."""
        self._engine.close(port)
        del self._addresses[port]
        if not self._addresses:
            self._reactor.removeReader(self)

    def address(self, port: int) -> tuple[str, int]:
        """Host and port number that the socket is bound to."""
        return self._addresses[port]

    def set_flow(
        self, port: int, key: int, source: Address | None, targets: Sequence[tuple[int, Address]]
    ) -> None:
        """Add a flow or change one."""
        self._engine.set_flow(port, key, source, targets)

    def audience(self) -> Audience:
        """Make an audience without targets."""
        return Audience(self._engine.audience())

    def set_audience(self, audience: Audience, targets: Sequence[tuple[int, Address]]) -> None:
        """Change where the packets of all its speakers go."""
        self._engine.set_audience(audience, targets)

    def set_speaker(self, port: int, key: int, source: Address | None, audience: Audience) -> None:
        """Add a flow that goes to an audience, or change one."""
        self._engine.set_speaker(port, key, source, audience)

    def remove_flow(self, port: int, key: int) -> None:
        """Forget a flow."""
        self._engine.remove_flow(port, key)

    def flow(self, port: int, key: int) -> FlowCounters:
        """Read a flow's counters."""
        source, targets, rx, rx_bytes, tx, tx_bytes, wrong_source, last_active = self._engine.flow(port, key)
        named = tuple(Target(*target) for target in targets)
        return FlowCounters(source, named, rx, rx_bytes, tx, tx_bytes, wrong_source, last_active)

    def port_counters(self, port: int) -> PortCounters:
        """Read a port's counters."""
        return PortCounters(*self._engine.port_counters(port))

    def send(self, port: int, data: bytes, address: Address) -> None:
        """Send one packet of the caller's own."""
        self._engine.send(port, data, address)

    def stop(self) -> None:
        """Close all ports and end the thread."""
        if self._addresses:
            self._reactor.removeReader(self)
        self._addresses.clear()
        self._engine.stop()

    def contention(self) -> tuple[int, float]:
        """How often the reactor's thread found the table in use, and its longest wait in seconds."""
        return self._engine.contention()

    def fileno(self) -> int:
        """Give the descriptor that says that something waits."""
        return self._engine.fileno()

    def doRead(self) -> None:
        """Hand up what waits (called by the reactor)."""
        packets, errors = self._engine.take()
        by_port: dict[int, list[tuple[bytes, Address]]] = {}
        for port, data, source in packets:
            by_port.setdefault(port, []).append((data, source))
        for port, batch in by_port.items():
            self._call(port, self.on_unmatched, batch)
        for port, address, number in errors:
            self._call(port, self.on_error, address, number)

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing (called by the reactor if the descriptor fails, which an eventfd does not)."""

    def logPrefix(self) -> str:
        """Name the forwarder in the reactor's own log lines."""
        return "NativeForwarder"

    def _call(self, port: int, callback: Callable[..., None], *what: object) -> None:
        # An earlier callback may have closed the port.
        if port not in self._addresses:
            return
        try:
            callback(port, *what)
        except Exception:  # noqa: BLE001 - raising out of here would make the reactor drop the descriptor
            log.failure("handling what the forwarder handed up failed")
