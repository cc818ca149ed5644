"""Calls through the whole server: media beside messages, and while the server is replaced.

The legs of real calls are bound to the load's socket, which sends the packets of both parties and gets all
of them. Media and messages of the first part are the work of one process; in the second part the relay is a
process of its own, and the server is stopped and started again during 200 calls.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from bench.forwarder.load import Load, Running, Sample, Stream, cores
from crs.client.testing import CrsServer
from crs.relay import packet

if "twisted.internet.reactor" not in sys.modules:
    from twisted.internet import asyncioreactor

    asyncioreactor.install()

from twisted.internet.threads import deferToThread

from rtlib.testing.loop import installed_reactor, run

CALLS = 200
CALLS_OF_A_PAIR = 5
PACKETS = 50
"""In a second, of one party: frames of 20 ms."""
REPLACED = 8.0
"""Seconds of media, in the middle of which the server is away."""
LATER = 1_000_000
"""Added to a client's bind counter, so that the client itself does not move its leg back."""


def bind(load: Load, port: int, identifier: int, key: bytes) -> Stream:
    """Move a leg to the load's socket; its packets are a stream."""
    counter = int(time.time() * 1000) + LATER
    load.sink.settimeout(1.0)
    for attempt in range(10):
        request = packet.build(packet.Type.bind, identifier, counter + attempt, key)
        load.sink.sendto(request, ("127.0.0.1", port))
        try:
            if load.sink.recv(100) == packet.build(packet.Type.bind_ack, identifier, counter + attempt, key):
                break
        except TimeoutError:
            continue
    else:
        raise RuntimeError(f"the relay does not bind {identifier}")
    load.sink.settimeout(None)
    return Stream(load.sink, port, identifier)


async def establish(server: CrsServer, load: Load, count: int) -> list[Stream]:
    """Set up calls, each with two streams; their clients stay attached."""
    reactor = installed_reactor()
    streams: list[Stream] = []
    for number in range(count // CALLS_OF_A_PAIR):
        caller, _ = await server.attached(reactor, f"+45{number}")
        _, told = await server.attached(reactor, f"+46{number}")
        for _ in range(CALLS_OF_A_PAIR):
            outgoing = await caller.call(f"+46{number}")
            incoming = await told.calls.get()
            await incoming.answer()
            await outgoing.answered.wait()
            legs = [call.streams[0].relay for call in (outgoing, incoming)]
            streams += [bind(load, leg.port, leg.identifier, leg.key) for leg in legs]
    return streams


def replace(server: CrsServer) -> float:
    """Stop the server during the media and start it again; seconds that it was away."""
    time.sleep(REPLACED / 4)
    begun = time.monotonic()
    server.daemon.stop(5.0)
    server.daemon.start()
    return time.monotonic() - begun


def replaced(load: Load, folder: Path) -> Iterator[Figure]:
    """The server is replaced during calls."""
    away: list[float] = []

    async def story() -> Sample:
        running = Running(relay.pid, await establish(server, load, CALLS))
        replacing = threading.Thread(target=lambda: away.append(replace(server)))
        replacing.start()
        sample: Sample = await deferToThread(load.run, running, CALLS * 2 * PACKETS, REPLACED)
        await deferToThread(replacing.join)
        return sample

    server = CrsServer(folder, ["relay-service separate"])
    with server.relay() as relay, server:
        server.daemon.wait_for_text("connected to the relay service")
        sample = run(story, timeout=120, clean=False)
    yield Figure(f"{CALLS} calls, the server away for", away[0], "s")
    yield Figure("packets lost meanwhile", float(sample.sent - sample.received), f"of {sample.sent:,}")
    yield Figure("delay meanwhile, 99th percentile", sample.delay_p99 * 1e3, "ms")


def measure() -> Iterator[Figure]:
    """Measure all; half a minute."""
    with tempfile.TemporaryDirectory() as name:
        load = Load(Path(name), cores()[1])
        yield from replaced(load, Path(name) / "replaced")
        load.close()
