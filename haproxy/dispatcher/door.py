"""The sockets of HTTP dispatcher control, over TCP and TLS (guide 7.1.24)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from haproxy.dispatcher.control import Control, Doorman
from haproxy.dispatcher.set import Dispatcher
from haproxy.tls.store import TlsStore
from rtlib.httpserver import SmallSite
from rtlib.listen import StreamPort
from rtlib.metrics import Metrics
from rtlib.offence import OffenceLog

log = Logger()

KIND = "dispatcher control"


@dataclass(frozen=True, slots=True)
class ControlSocket:
    """A listening socket that is bound already."""

    sock: socket.socket
    host: str
    secure: bool

    @property
    def port(self) -> int:
        """The port."""
        return int(self.sock.getsockname()[1])


class ControlDoor(MultiService):
    """All sockets, which lead to one control."""

    def __init__(
        self,
        reactor: Any,
        sockets: Sequence[ControlSocket],
        dispatcher: Dispatcher,
        *,
        set_primary: Callable[[int, str], None],
        offences: OffenceLog,
        doorman: Doorman | None,
        tls: TlsStore | None,
    ) -> None:
        """`tls` is needed where a socket is secure."""
        super().__init__()
        self._offences = offences
        self._sockets = sockets
        self._control = Control(
            dispatcher, set_primary=set_primary, offence=self._offended, now=time.monotonic, doorman=doorman
        )
        self._site = SmallSite(self._control, reactor, self._offended)
        for bound in sockets:
            StreamPort(bound.sock, self._factory(bound, tls, reactor), reactor).setServiceParent(self)

    @property
    def doorman(self) -> Doorman | None:
        """Who may come in; None: everybody."""
        return self._control.doorman

    @doorman.setter
    def doorman(self, doorman: Doorman | None) -> None:
        self._control.doorman = doorman

    def measure(self, metrics: Metrics) -> None:
        """Declare the metrics."""
        metrics.counter(
            "control_requests",
            "HTTP dispatcher control, by outcome.",
            lambda: self._control.requests,
            "outcome",
        )
        metrics.gauge("control_connections", "Open connections of it.", lambda: self._site.connections)

    def startService(self) -> None:
        """Begin to accept; say so where everybody can act."""
        super().startService()
        for bound in self._sockets:
            if self.doorman is None and not ip_address(bound.host).is_loopback:
                log.warn(
                    "whoever reaches {host} port {port} may set the primary dispatch set: there is no"
                    " dispatchAuthUser",
                    host=bound.host,
                    port=bound.port,
                )

    def stopService(self) -> Deferred[None]:
        """Close all sockets and connections."""
        self._site.close()
        stopped: Deferred[None] = super().stopService()
        return stopped

    def _factory(self, bound: ControlSocket, tls: TlsStore | None, reactor: Any) -> IProtocolFactory:
        if not bound.secure:
            return self._site
        assert tls is not None
        server = tls.server(bound.host, bound.port)
        accepting: IProtocolFactory = TLSMemoryBIOFactory(server, False, self._site, reactor)
        return accepting

    def _offended(self, host: str, reason: str) -> None:
        if self._offences.count(KIND, host, time.monotonic()):
            log.warn("{kind} from {host}: {reason}", kind=KIND, host=host, reason=reason)
