"""Calls through the whole server: media beside messages, and while the server is replaced.

The legs of real calls are bound to the load's socket, which sends the packets of both parties and gets all
of them. Media and messages of the first two parts are the work of one process; in the last one the relay is a
process of its own, and the server is stopped and started again during 200 calls.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import bench.signaling.load as signaling
from bench.figure import Figure
from bench.forwarder.load import Load, Running, Sample, Stream, cores, favoured
from bench.signaling.server import SETTINGS
from bench.sip.load import Server, alone
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
CLIENTS, MESSAGES, P99_MS = 200, 1000, 20.0
"""Clients in pairs, their messages in a second, and how long one may take."""
TALKS: dict[str, tuple[signaling.Mode, int]] = {
    "messages of calls": ("relay", 4),
    "stored messages": ("store", 1),
}
"""Modes of the load, and how many messages are one of what it does."""
RATED = 100_000
INSTALLATION = 25_000
"""Packets/s of a real installation."""
FLOOD = 4
"""How many packets of a stranger come with each of a call."""
BESIDE, REST = 3.0, 50
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
    relay = server.relay()
    relay.command = alone(favoured(cores()[0], *relay.command))
    with relay, server:
        server.daemon.wait_for_text("connected to the relay service")
        sample = run(story, timeout=120, clean=False)
    yield Figure(f"{CALLS} calls, the server away for", away[0], "s")
    yield Figure("packets lost meanwhile", float(sample.sent - sample.received), f"of {sample.sent:,}")
    yield Figure("delay meanwhile, 99th percentile", sample.delay_p99 * 1e3, "ms")


def beside_messages(load: Load, folder: Path) -> Iterator[Figure]:
    """Both at once in one process: media at the rated load, and messages."""
    server = CrsServer(folder, SETTINGS)
    server.daemon.command = alone(favoured(cores()[0], *server.daemon.command))
    messages = signaling.Load(folder.parent / "signaling", cores()[1])

    async def story() -> dict[str, tuple[Sample, signaling.Sample]]:
        running = Running(server.daemon.pid, await establish(server, load, CALLS))
        party = signaling.Party(Server("crs", server.daemon.pid, server.address.port), "crs", server.secret)
        samples = {}
        for name, (mode, each) in TALKS.items():
            with messages.clients(party, mode, CLIENTS, BESIDE, MESSAGES / each) as clients:
                media = deferToThread(load.run, running, RATED, BESIDE, REST)
                told = await deferToThread(clients.go)
                samples[name] = await media, told
        return samples

    with server:
        for name, (media, told) in run(story, timeout=120, clean=False).items():
            yield from _both(name, TALKS[name][1], media, told)


def _both(name: str, each: int, media: Sample, told: signaling.Sample) -> Iterator[Figure]:
    missing = told.begun - told.done + told.lost
    yield Figure(f"{name} beside media", told.rate * each, "messages/s")
    yield Figure(f"{name}, lost or refused", float(missing * each), "messages")
    yield Figure(f"{name}, median", told.median * 1e3, "ms")
    yield Figure(f"{name}, 99th percentile", told.p99 * 1e3, "ms", P99_MS, "wanted", 1.0)
    yield Figure(f"media beside {name}", media.rate, "packets/s")
    yield Figure(f"media beside {name}, lost", float(media.sent - media.received), f"of {media.sent:,}")
    yield Figure(f"media beside {name}, delay, 99th percentile", media.delay_p99 * 1e3, "ms")


def beside_a_flood(load: Load, folder: Path) -> Iterator[Figure]:
    """Four packets of a stranger for each one of a call, while there are calls to be set up."""
    server = CrsServer(folder, SETTINGS)
    server.daemon.command = alone(favoured(cores()[0], *server.daemon.command))
    messages = signaling.Load(folder.parent / "signaling", cores()[1])

    async def story() -> tuple[Sample, signaling.Sample]:
        streams = await establish(server, load, CALLS)
        stranger, port = load.senders[0], streams[0].port
        mixed = [
            each
            for number, stream in enumerate(streams)
            for each in (stream, *(Stream(stranger, port, FLOOD * number + i) for i in range(FLOOD)))
        ]
        party = signaling.Party(Server("crs", server.daemon.pid, server.address.port), "crs", server.secret)
        with messages.clients(party, "relay", CLIENTS, BESIDE, MESSAGES / 4) as clients:
            running = Running(server.daemon.pid, mixed)
            media = deferToThread(load.run, running, (1 + FLOOD) * INSTALLATION, BESIDE, REST)
            told = await deferToThread(clients.go)
            return await media, told

    with server:
        media, told = run(story, timeout=120, clean=False)
    due = media.sent // (1 + FLOOD)
    yield Figure("flood from one source", media.sent / media.passed * FLOOD / (1 + FLOOD), "packets/s")
    yield Figure("media beside a flood, lost", float(max(0, due - media.received)), f"of {due:,}")
    yield Figure("media beside a flood, delay, 99th percentile", media.delay_p99 * 1e3, "ms")
    p99 = told.p99 * 1e3
    yield Figure("messages of calls beside a flood, 99th percentile", p99, "ms", P99_MS, "wanted", 1.0)


def measure() -> Iterator[Figure]:
    """Measure all; a minute."""
    with tempfile.TemporaryDirectory() as name:
        load = Load(Path(name), cores()[1])
        (Path(name) / "signaling").mkdir()
        yield from beside_messages(load, Path(name) / "beside")
        yield from beside_a_flood(load, Path(name) / "flood")
        yield from replaced(load, Path(name) / "replaced")
        load.close()
