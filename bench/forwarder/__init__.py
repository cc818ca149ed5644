"""Forwarding of RTP (172 bytes, one direction), beside rtpengine and coturn.

CPU time is that of the relay's process, user and system, for each packet that arrived. The relay has one core
and the load another. A peer that is not installed leaves its figures without a comparison. The floor is a
C program that forwards in batches and does nothing else.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figure import Figure
from bench.forwarder import peer
from bench.forwarder.load import Load, Running, Sample, Stream, cores, favoured
from rtlib.media import native_forwarder

SESSIONS = 1000
COPIES = 50
INSTALLATION = 25_000
"""Packets/s of a real installation: 250 calls in both directions."""
RATED = 100_000
SETUP_MS, SESSION_KIB, COPY_US = 0.3, 8.0, 5.0
"""What a session may take at most, and a copy of a multicast packet."""

FLAT_OUT, PACED = "flat out", "at 25,000/s"
RATES = {FLAT_OUT: 0, PACED: INSTALLATION}
"""In packets/s; 0 is as many as the relay can do."""
RELAYS: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("native, one port", "native-port", {FLAT_OUT: 1 / 3, PACED: 1 / 4}),
    ("Python, one port", "python-port", {FLAT_OUT: 1 / 2, PACED: 1 / 2}),
    ("native, port pairs", "native-pairs", {FLAT_OUT: 1 / 2, PACED: 1 / 2}),
    ("Python, port pairs", "python-pairs", {}),
    ("Twisted's UDP port, no lookup", "twisted", {}),
)
"""Name, kind for `relay`, and the largest ratio to rtpengine that meets the target."""


@dataclass
class Relay:
    """One of ours, and what it says about itself."""

    running: Running
    setup: dict[str, float]
    report: dict[str, float] = field(default_factory=dict)
    """Filled when it has ended."""


@contextmanager
def ours(load: Load, kind: str, count: int) -> Iterator[Relay]:
    """Run one of our relays with `count` sessions from the first sender to the sink."""
    sender, sink = load.senders[0].getsockname()[1], load.sink.getsockname()[1]
    command = [sys.executable, "-m", "bench.forwarder.relay", kind, str(count), str(sender), str(sink)]
    with subprocess.Popen(
        favoured(cores()[0], *command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        streams: list[Stream] = []
        while not (line := process.stdout.readline()).startswith("{"):
            port, ssrc = (int(word) for word in line.split())
            streams.append(Stream(load.senders[0], port, ssrc))
        relay = Relay(Running(process.pid, streams), json.loads(line))
        yield relay
        process.stdin.close()
        relay.report.update(json.loads(process.stdout.readline()))


class Comparison:
    """The samples of all relays, ours and peers, at both rates."""

    def __init__(self, samples: dict[tuple[str, str], Sample]) -> None:
        self._samples = samples

    def cost(self, name: str, kind: str, peer_name: str, targets: dict[str, float]) -> Iterator[Figure]:
        """CPU per packet at both rates, beside a peer if there is one."""
        for rate in RATES:
            other = self._samples.get((peer_name, rate))
            cost = other.cost if other else None
            sample = self._samples[kind, rate]
            yield Figure(f"{name}, {rate}", sample.cost, "us/packet", cost, peer_name, targets.get(rate))

    def throughput(self, name: str, kind: str, peer_name: str) -> Figure:
        """Packets/s that a core forwards."""
        other = self._samples.get((peer_name, FLAT_OUT))
        rate = other.rate if other else None
        return Figure(
            f"{name}, most packets", self._samples[kind, FLAT_OUT].rate, "packets/s", rate, peer_name
        )

    def delay(self, name: str, kind: str) -> Figure:
        """How much later than sent a packet arrives."""
        return Figure(f"{name}, median delay {PACED}", self._samples[kind, PACED].delay_median * 1e3, "ms")


def sessions(name: str, setup: dict[str, float]) -> Iterator[Figure]:
    """What a session takes to set up, and to keep."""
    each = {key: value / SESSIONS for key, value in setup.items()}
    yield Figure(f"{name}, set-up", each["seconds"] * 1e3, "ms", SETUP_MS, "wanted", 1.0)
    yield Figure(f"{name}, memory of a session", each["kib"], "KiB", SESSION_KIB, "wanted", 1.0)


def relays(load: Load, folder: Path) -> Iterator[Figure]:
    """Compare ours and the peers, all of which run at once and are measured in turn."""
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(start(cores()[0], folder, load, SESSIONS))
            for name, start in peer.installed().items()
        }
        mine = {kind: stack.enter_context(ours(load, kind, SESSIONS)) for _, kind, _ in RELAYS}
        running |= {kind: relay.running for kind, relay in mine.items()}
        runs = {(name, rate): (one, RATES[rate]) for name, one in running.items() for rate in RATES}
        comparison = Comparison(load.compare(runs))
    for name, kind, targets in RELAYS:
        yield from comparison.cost(name, kind, "rtpengine", targets)
    first, kind, _ = RELAYS[0]
    for other in ("coturn", "floor"):
        yield from comparison.cost(f"{first}, beside {other}", kind, other, {})
    yield comparison.throughput(first, kind, "rtpengine")
    yield comparison.delay(first, kind)
    for name, kind, _ in RELAYS:
        if kind.startswith("native"):
            yield from sessions(name, mine[kind].setup)


def beside_signalling(load: Load) -> Iterator[Figure]:
    """Media at the rated load while Python computes a fifth of the time and changes 1,000 flows a second."""
    with ours(load, "native-busy", SESSIONS) as relay:
        sample = load.run(relay.running, RATED, 2.0)
    yield Figure("native, loss at 100,000/s beside busy Python", sample.loss, "%")
    yield Figure("native, delay then, 99th percentile", sample.delay_p99 * 1e3, "ms")
    yield Figure("native, change and read a flow then, median", relay.report["change_p50"] * 1e6, "us")
    yield Figure("native, the same, 99th percentile", relay.report["change_p99"] * 1e6, "us")


def multicast(load: Load) -> Iterator[Figure]:
    """One packet to many targets."""
    with ours(load, "native-multicast", COPIES) as relay:
        sample = load.compare({"multicast": (relay.running, 1000)})["multicast"]
    yield Figure(f"native, copy to one of {COPIES} targets", sample.cost, "us", COPY_US, "wanted", 1.0)


def measure() -> Iterable[Figure]:
    """Measure all. Nothing without the C compiler that the forwarder and the load both need."""
    if not native_forwarder.available():
        print("the native forwarder was not built: nothing is measured")
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        load = Load(Path(folder), cores()[1])
        yield from relays(load, Path(folder))
        yield from beside_signalling(load)
        yield from multicast(load)
        load.close()
