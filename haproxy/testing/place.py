"""A proxy that somebody may use as a proxy, and the place that is called through it."""

from __future__ import annotations

from typing import NamedTuple

from haproxy.testing.genproxy import Genproxy
from haproxy.testing.sender import Sender, Sink

COUNTERS = ("malformed_total", "decisions_total", "offences_total")


class Place(NamedTuple):
    """A proxy, an address that may use it as a proxy, and who is called through it."""

    proxy: Genproxy
    listed: str
    sink: Sink

    def sender(self, transport: str, own_port: int = 0) -> Sender:
        """A socket of an address on proxyList."""
        return Sender(self.proxy.host, self.proxy.port, transport, own=(self.listed, own_port))

    def counted(self) -> float:
        """What the proxy did not forward, of whatever kind."""
        return sum(self.proxy.metric(name) for name in COUNTERS)
