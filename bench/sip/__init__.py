"""SIP calls and registrations through genproxy, beside Kamailio.

A call is INVITE, 180, 200, ACK, BYE, 200, over UDP, from a caller outside to a Genesis system of the
dispatcher, with Record-Route; 48 are open at a time. CPU time is that of all processes of a proxy, user and
system, for each call or registration that was done; for calls until their last transaction is forgotten. The
proxy has one core, the load the other. Without Kamailio the figures have nothing to be compared with. After
`make compiled` genproxy runs twice, once with its hot path in machine code.

Both do the same job, as far as their configurations can have it. With digest both hold nonces for 300 s,
refuse credentials that come again (Kamailio by `nonce_count`), and have the hashes in memory. What differs:

* genproxy writes bindings that are new or changed to SQLite, within a second, and what that takes counts.
  Kamailio has them in memory alone (`db_mode` 0), since its SQLite module is another package: the row of
  bindings that change says so. What is only renewed is not written before half of its life has gone by.
* genproxy looks whether the URI in the credentials means the request's, and offers `auth-int`, too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from bench.figure import Figure
from bench.forwarder.load import cores
from bench.sip import peer, server
from bench.sip.load import Load, Mode, Sample, Server

OURS = "genproxy"
COMPILED = "genproxy, compiled"
CHANGE = "REGISTER that changes its binding, on disk here, in Kamailio's memory there"
CALL, COMPILED_CALL, REGISTER, DIGEST = 1.8, 1.0, 2.0, 1.5
"""The largest ratios of CPU time that meet the targets."""
MEMORY = 0.2
BINDING_KIB = 1.0

ROUNDS = 6
SECONDS = "1.5"
LINGERING = 36.0
"""Seconds until no transaction is left: timers L and J, and some."""
WAVE = 2000
WAVES = 5
WRITTEN = 1.0
"""Seconds in which bindings go to the database."""
USERS = (WAVES + 1) * WAVE
FEW, MANY = 1_000, 99_999
"""Users whose bindings must make no difference; with the Genesis system's the proxy takes no more."""
GROWTH = 1.1
FORGOTTEN = 2_000
"""Calls before those whose memory counts: what they took serves for as many of these."""
REMEMBERED = 8_000
"""Calls that are done before the first of their transactions is forgotten."""


class Field:
    """The proxies that run, measured in turn: what else the machine does falls on all alike."""

    def __init__(self, load: Load, servers: Mapping[str, Server]) -> None:
        self._load = load
        self._servers = servers

    def rounds(self, mode: Mode, users: range | None = None) -> dict[str, list[Sample]]:
        """Several short runs of each, after one that does not count; all users register, or these."""
        samples: dict[str, list[Sample]] = {name: [] for name in self._servers}
        for number in range(ROUNDS + 1):
            for name, one in self._servers.items():
                sample = self._load.run(one, mode, SECONDS, users)
                if number:
                    samples[name].append(sample)
        return samples

    def aftermath(self) -> dict[str, float]:
        """Seconds of CPU time that each takes to forget all transactions."""
        before = {name: one.cpu() for name, one in self._servers.items()}
        time.sleep(LINGERING)
        return {name: one.cpu() - before[name] for name, one in self._servers.items()}

    def register(self, users: range) -> None:
        """Have users register, no faster than a database follows."""
        for one in self._servers.values():
            self._load.run(one, "register", f"{len(users)}x", users)
        time.sleep(WRITTEN)

    def call(self, count: int) -> None:
        """Have so many calls made."""
        for one in self._servers.values():
            self._load.run(one, "call", f"{count}x")

    def memory(self) -> dict[str, float]:
        """KiB that each has."""
        return {name: one.kib() for name, one in self._servers.items()}


def median(values: Iterable[float]) -> float:
    """The middle one, or the lower one of two."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def compared(
    name: str,
    unit: str,
    values: Mapping[str, float],
    target: float | None = None,
    compiled: float | None = None,
) -> Iterator[Figure]:
    """Ours, and ours compiled, beside the peer's if there is one; each with its target."""
    other = values.get(peer.PROGRAM)
    beside = peer.PROGRAM if other else ""
    yield Figure(name, values[OURS], unit, other, beside, target)
    if COMPILED in values:
        yield Figure(f"{name}, compiled", values[COMPILED], unit, other, beside, compiled)


def bindings(field: Field) -> Iterator[Figure]:
    """What a binding takes: as many registrations twice, first of the same users, then of others.

    Between the two all transactions are forgotten, so that the second time theirs take the same memory.
    """
    for _ in range(WAVES):
        field.register(range(WAVE))
    field.aftermath()
    before = field.memory()
    for wave in range(1, WAVES + 1):
        field.register(range(wave * WAVE, (wave + 1) * WAVE))
    grown = {name: (kib - before[name]) / (WAVES * WAVE) for name, kib in field.memory().items()}
    yield Figure("memory of a binding", grown[OURS], "KiB", BINDING_KIB, "wanted", 1.0)
    yield from compared("memory of a binding, beside Kamailio", "KiB", grown)


def remembered(field: Field) -> Iterator[Figure]:
    """What the transactions of a call take until they are forgotten; there must have been no calls before."""
    field.call(FORGOTTEN)
    field.aftermath()
    before = field.memory()
    field.call(FORGOTTEN + REMEMBERED)
    grown = {name: (kib - before[name]) / REMEMBERED for name, kib in field.memory().items()}
    yield from compared("memory of a call's transactions", "KiB", grown)


def growth(folder: Path) -> Iterator[Figure]:
    """What a call and a registration cost where many are registered, beside what they cost where few are.

    And what each of so many adds to the process's memory, which was in part free since the start.
    """
    modes: tuple[Mode, Mode] = "call", "register"
    costs: dict[tuple[Mode, int], float] = {}
    memory: dict[int, float] = {}
    load = Load(folder, cores()[1], MANY)
    for count in (FEW, MANY):
        with ExitStack() as stack:
            running = server.genproxy(cores()[0], folder / f"{count}", load, digest=False)
            field = Field(load, {OURS: stack.enter_context(running)})
            field.register(range(count))
            # Before any call: transactions take memory, too.
            memory[count] = field.memory()[OURS]
            for mode in modes:
                samples = field.rounds(mode, range(count))[OURS]
                costs[mode, count] = median(sample.cost for sample in samples)
    load.close()
    each = (memory[MANY] - memory[FEW]) / (MANY - FEW)
    yield Figure("memory that each of 100,000 bindings adds", each, "KiB", BINDING_KIB, "wanted", 1.0)
    for mode, name in zip(modes, ("call", "REGISTER"), strict=True):
        few = costs[mode, FEW]
        yield Figure(f"{name}, 100,000 bindings", costs[mode, MANY], "us", few, "with 1,000 of them", GROWTH)


def calls(field: Field) -> Iterator[Figure]:
    """Calls at saturation."""
    samples = field.rounds("call")
    memory = field.memory()
    last = field.aftermath()
    # What the first run, which does not count, left behind is forgotten with the rest.
    ending = {name: last[name] * ROUNDS / (ROUNDS + 1) / _done(some) * 1e6 for name, some in samples.items()}
    during = {name: median(sample.cost for sample in some) for name, some in samples.items()}
    whole = {name: during[name] + ending[name] for name in samples}
    yield from compared("call", "us", whole, CALL, COMPILED_CALL)
    yield from compared("call, of which to forget it later", "us", ending)
    rates = {name: median(sample.done / sample.passed for sample in some) for name, some in samples.items()}
    yield from compared("calls on one core", "calls/s", rates)
    yield from _lost("calls lost", "calls", samples)
    yield from compared("memory after so many calls", "KiB", memory, MEMORY, MEMORY)


def registrations(field: Field, mode: Mode, name: str, target: float | None = None) -> Iterator[Figure]:
    """REGISTER of all users in turn."""
    samples = field.rounds(mode)
    costs = {server: median(sample.cost for sample in some) for server, some in samples.items()}
    yield from compared(name, "us", costs, target, target)
    yield from _lost(f"{name}, lost", "registrations", samples)


def _lost(name: str, unit: str, samples: Mapping[str, list[Sample]]) -> Iterator[Figure]:
    """What was neither done nor answered, or refused, by ours."""
    lost = {server: float(sum(sample.lost for sample in some)) for server, some in samples.items()}
    lost.pop(peer.PROGRAM, None)
    yield from compared(name, unit, lost)


def _done(samples: Iterable[Sample]) -> int:
    return sum(sample.done for sample in samples)


def _started(stack: ExitStack, folder: Path, load: Load, *, digest: bool) -> Field:
    core = cores()[0]
    servers = {OURS: stack.enter_context(server.genproxy(core, folder / "source", load, digest=digest))}
    if server.COMPILED.is_dir():
        compiled = server.genproxy(core, folder / "compiled", load, digest=digest, root=server.COMPILED)
        servers[COMPILED] = stack.enter_context(compiled)
    if peer.installed():
        running = peer.kamailio(core, folder / peer.PROGRAM, load, digest=digest)
        servers[peer.PROGRAM] = stack.enter_context(running)
    return Field(load, servers)


def measure() -> Iterator[Figure]:
    """Measure all; it takes five minutes, half of them waiting for timers."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as last:
        folder = Path(name)
        load = Load(folder, cores()[1], USERS)
        last.callback(load.close)
        with ExitStack() as stack:
            (folder / "plain").mkdir()
            field = _started(stack, folder / "plain", load, digest=False)
            yield from bindings(field)
            yield from remembered(field)
            yield from calls(field)
            yield from registrations(field, "register", "REGISTER", REGISTER)
            yield from registrations(field, "change", CHANGE)
        with ExitStack() as stack:
            (folder / "digest").mkdir()
            field = _started(stack, folder / "digest", load, digest=True)
            yield from registrations(field, "digest", "REGISTER with digest", DIGEST)
        yield from growth(folder)
