"""Clients of the rendezvous server over TLS-PSK, beside mosquitto.

Both servers run with their protections: crs with all its limits, pings, resumption and accounting. A
relayed message of crs is one within a call, a change that is offered or refused: a request that is
answered, and an event for the other party. That of mosquitto is a PUBLISH of QoS 0, which nobody confirms;
in the line after that one which its sender gets confirmed, which is like for like; beside stored messages
one which its receiver confirms, too. 2,000 clients talk in pairs, 64 pairs at a time, payloads have 200
bytes. CPU time is that of the server's process, user and system. The server has one core, the load the
other. Without mosquitto the figures have nothing to be compared with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.figure import Figure
from bench.forwarder.load import cores
from bench.signaling import peer, server
from bench.signaling.load import Load, Mode, Party, Sample

OURS = "crs"
HANDSHAKE, MESSAGE, MEMORY = 1.1, 1.4, 1.5
"""The largest ratios that meet the targets."""
MIB = 250.0
P99_MS = 10.0

ROUNDS = 3
SECONDS = 2.0
CLIENTS = 2000
IDLE = 10_000
CHANGE = 2
"""Messages that are relayed when a change is offered and refused."""


class Field:
    """The servers that run, measured in turn: what else the machine does falls on all alike."""

    def __init__(self, load: Load, parties: Mapping[str, Party]) -> None:
        self._load = load
        self._parties = parties

    def rounds(self, mode: Mode, peers: Mode | None = None) -> dict[str, list[Sample]]:
        """Several short runs of each, after one that does not count; the peer may have a mode of its own."""
        samples: dict[str, list[Sample]] = {name: [] for name in self._parties}
        for number in range(ROUNDS + 1):
            for name, party in self._parties.items():
                chosen = mode if name == OURS else peers or mode
                sample = self._load.run(party, chosen, CLIENTS, SECONDS)
                if number:
                    samples[name].append(sample)
        return samples

    def alone(self, mode: Mode, rate: float) -> Sample:
        """One run of ours, as many beginning in a second, 0 for as many as can; the one of median delay."""
        party = self._parties[OURS]
        samples = [self._load.run(party, mode, CLIENTS, SECONDS, rate) for _ in range(ROUNDS)]
        return sorted(samples, key=lambda sample: sample.p99)[ROUNDS // 2]

    def idle(self) -> dict[str, tuple[float, float, Sample]]:
        """KiB of each before clients are connected, and with them."""
        found: dict[str, tuple[float, float, Sample]] = {}
        for name, party in self._parties.items():
            before = party.server.kib()
            with self._load.clients(party, "idle", IDLE) as clients:
                sample = clients.go()
                found[name] = before, party.server.kib(), sample
        return found


def median(values: Iterable[float]) -> float:
    """The middle one, or the lower one of two."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def compared(name: str, unit: str, values: Mapping[str, float], target: float | None = None) -> Figure:
    """Ours, beside the peer's if there is one."""
    other = next((value for key, value in values.items() if key != OURS), None)
    return Figure(name, values[OURS], unit, other, peer.PROGRAM if other else "", target)


def costs(samples: Mapping[str, list[Sample]], ours: int = 1) -> dict[str, float]:
    """CPU µs for each message; one that was done with us has `ours` of them."""
    return {
        name: median(sample.cost for sample in some) / (ours if name == OURS else 1)
        for name, some in samples.items()
    }


def lost(samples: Mapping[str, list[Sample]]) -> float:
    """How many of ours were begun and not done, or refused."""
    return float(sum(sample.begun - sample.done + sample.lost for sample in samples[OURS]))


def memory(field: Field) -> Iterator[Figure]:
    """Idle clients; first, since what others leave behind would hide what these take."""
    found = field.idle()
    each = {name: (after - before) / IDLE for name, (before, after, _) in found.items()}
    yield compared("memory of an idle client", "KiB", each, MEMORY)
    _, after, sample = found[OURS]
    yield Figure(f"memory with {IDLE:,} clients, in all", after / 1024, "MiB", MIB, "wanted", 1.0)
    yield compared(
        f"time until {IDLE:,} clients are attached",
        "s",
        {name: one.connecting for name, (_, _, one) in found.items()},
    )
    yield Figure("clients lost", float(sample.lost), "clients")


def handshakes(field: Field) -> Iterator[Figure]:
    """Connections that are opened and dropped."""
    yield compared("handshake", "us", costs(field.rounds("open")), HANDSHAKE)
    yield compared("handshake and attach", "us", costs(field.rounds("attach")))


def messages(field: Field) -> Iterator[Figure]:
    """What is relayed at once, and stored nowhere."""
    plain, answered = field.rounds("relay"), field.rounds("relay", "reply")
    yield compared("relayed message", "us", costs(plain, CHANGE), MESSAGE)
    yield compared("relayed message, its sender told so", "us", costs(answered, CHANGE), MESSAGE)
    most = median(sample.rate for sample in plain[OURS])
    yield Figure("relayed messages on one core", most * CHANGE, "messages/s")
    half = field.alone("relay", most / 2)
    yield Figure("delay of a message at half of that, median", half.median * 1e3, "ms")
    yield Figure("delay, 99th percentile", half.p99 * 1e3, "ms", P99_MS, "wanted", 1.0)
    yield Figure("delay, longest", half.most * 1e3, "ms")
    gone = lost(plain) + lost(answered) + lost({OURS: [half]})
    yield Figure("relayed messages lost", gone, "messages")


def calls(field: Field) -> Iterator[Figure]:
    """Calls: invite, ringing, answer, hangup, and a relay that is allocated and released."""
    samples = [field.alone("call", 0.0)]
    yield Figure("call", samples[0].cost, "us")
    yield Figure("calls on one core", samples[0].rate, "calls/s")
    yield Figure("calls lost", lost({OURS: samples}), "calls")


def stored(field: Field) -> Iterator[Figure]:
    """Messages on disk before their sender is told so; mosquitto writes its own from time to time."""
    samples = field.rounds("store")
    yield compared("stored message, with its receipt", "us", costs(samples))
    yield compared("stored messages on one core", "messages/s", _rates(samples))
    yield Figure("stored messages lost", lost(samples), "messages")


def _rates(samples: Mapping[str, list[Sample]]) -> dict[str, float]:
    return {name: median(sample.rate for sample in some) for name, some in samples.items()}


def measure() -> Iterator[Figure]:
    """Measure all; it takes two minutes."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        core, other = cores()
        parties = {OURS: stack.enter_context(server.crs(core, folder / OURS))}
        if peer.installed():
            parties[peer.PROGRAM] = stack.enter_context(peer.mosquitto(core, folder / peer.PROGRAM, IDLE))
        field = Field(Load(folder, other), parties)
        for part in (memory, handshakes, messages, calls, stored):
            yield from part(field)
