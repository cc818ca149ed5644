"""Our relays as processes, to be measured: `python -m bench.forwarder.relay KIND COUNT SENDER SINK`.

Prints one line for each stream (port and SSRC), then a line of JSON about what the set-up took, and serves
until stdin is closed. Then it prints one more line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from bench.forwarder.load import FIRST_SSRC
from rtlib.address import Address, pack
from rtlib.listen import bind_datagram
from rtlib.media.forwarder import Classify, Forwarder

CHANGES = 10
"""Flows that the busy relay changes every 10 ms: 1,000 a second, more than 200 calls a second need."""
COMPUTING = 0.002
"""Seconds of every 10 ms that it spends in Python, with the GIL: 1,000 messages a second of 200 us each."""


def memory() -> int:
    """KiB of this process in memory."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * resource.getpagesize() // 1024


def one_port(forwarder: Forwarder, count: int, source: Address, sink: Address) -> list[tuple[int, int]]:
    """All streams on one port, found by SSRC."""
    port = forwarder.open(bind_datagram("127.0.0.1", 0), Classify.RELAY)
    for key in range(FIRST_SSRC, FIRST_SSRC + count):
        forwarder.set_flow(port, key, source, [(port, sink)])
    number = forwarder.address(port)[1]
    return [(number, key) for key in range(FIRST_SSRC, FIRST_SSRC + count)]


def port_pairs(forwarder: Forwarder, count: int, source: Address, sink: Address) -> list[tuple[int, int]]:
    """A port on each side for every stream, with flows in both directions."""
    streams = []
    for key in range(FIRST_SSRC, FIRST_SSRC + count):
        left, right = (
            forwarder.open(bind_datagram("127.0.0.1", 0, 1 << 18), Classify.PORT) for _ in range(2)
        )
        forwarder.set_flow(left, 0, source, [(right, sink)])
        forwarder.set_flow(right, 0, sink, [(left, source)])
        streams.append((forwarder.address(left)[1], key))
    return streams


def multicast(forwarder: Forwarder, count: int, source: Address, sink: Address) -> list[tuple[int, int]]:
    """One stream that goes to an audience of `count`, and to its speaker, who gets nothing."""
    port = forwarder.open(bind_datagram("127.0.0.1", 0), Classify.RELAY)
    audience = forwarder.audience()
    forwarder.set_audience(audience, [(port, source), *[(port, sink)] * count])
    forwarder.set_speaker(port, FIRST_SSRC, source, audience)
    return [(forwarder.address(port)[1], FIRST_SSRC)]


def twisted_port(reactor: Any, sink: int) -> list[tuple[int, int]]:
    """The floor of what Twisted offers: its UDP port, and no lookup at all."""
    from twisted.internet.protocol import DatagramProtocol

    class Repeater(DatagramProtocol):
        def datagramReceived(self, data: bytes, address: tuple[str, int]) -> None:
            assert self.transport is not None
            self.transport.write(data, ("127.0.0.1", sink))

    port = reactor.listenUDP(0, Repeater(), interface="127.0.0.1")
    port.socket.setsockopt(1, 8, 1 << 22)  # SO_RCVBUF, as rtlib.listen asks for
    return [(port.getHost().port, FIRST_SSRC)]


class Signalling:
    """What a busy reactor does beside the media: flows change, and Python runs for a fifth of the time."""

    def __init__(self, reactor: Any, forwarder: Any, source: Address, sink: Address) -> None:
        from twisted.internet.task import LoopingCall

        self.waits: list[float] = []
        self._forwarder, self._source, self._sink = forwarder, source, sink
        self._port = forwarder.open(bind_datagram("127.0.0.1", 0), Classify.RELAY)
        self._loop = LoopingCall(self.turn)
        self._loop.clock = reactor
        self._loop.start(0.01)

    def turn(self) -> None:
        """Change flows, then compute."""
        begun = time.perf_counter()
        for key in range(CHANGES):
            before = time.perf_counter()
            self._forwarder.set_flow(self._port, key, self._source, [(self._port, self._sink)])
            self._forwarder.flow(self._port, key)
            self.waits.append(time.perf_counter() - before)
        while time.perf_counter() < begun + COMPUTING:
            sum(range(100))

    def report(self) -> dict[str, float]:
        """Seconds that changing and reading a flow took."""
        ordered = sorted(self.waits)
        return {
            "change_p50": ordered[len(ordered) // 2],
            "change_p99": ordered[len(ordered) * 99 // 100],
            "change_max": ordered[-1],
        }


LAYOUTS = {"port": one_port, "busy": one_port, "pairs": port_pairs, "multicast": multicast}


def make(engine: str, reactor: Any) -> Any:
    """Make the forwarder of this name."""
    from rtlib.media.native_forwarder import NativeForwarder
    from rtlib.media.reactor_forwarder import ReactorForwarder

    return {"native": NativeForwarder, "python": ReactorForwarder}[engine](reactor)


def serve(reactor: Any) -> None:
    """Run until stdin is closed."""
    from twisted.internet import stdio
    from twisted.internet.protocol import Protocol

    class Supervisor(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            reactor.stop()

    stdio.StandardIO(Supervisor(), reactor=reactor)
    reactor.run()


def main(kind: str, count: int, sender: int, sink: int) -> None:
    """Set up, say so, serve, report."""
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor

    source, target = pack("127.0.0.1", sender), pack("127.0.0.1", sink)
    engine, _, layout = kind.partition("-")
    forwarder: Any = make(engine, reactor) if layout else None
    before, begun = memory(), time.perf_counter()
    if layout:
        streams = LAYOUTS[layout](forwarder, count, source, target)
    else:
        streams = twisted_port(reactor, sink) * count
    took, grown = time.perf_counter() - begun, memory() - before
    signalling = Signalling(reactor, forwarder, source, target) if layout == "busy" else None
    for number, key in streams:
        print(number, key)
    print(json.dumps({"seconds": took, "kib": grown}), flush=True)
    serve(reactor)
    print(json.dumps(signalling.report() if signalling else {}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
