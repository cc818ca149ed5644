"""Calls through genproxy beside a flood of 20,000 messages/s, and beside Kamailio.

500 calls/s from somebody on the proxyList, with the time from INVITE to 200 of each; first alone, then beside
a flood from an address that has not sent anything before, so that the seconds until it is blocked count, too.
Floods are of well-formed messages, a scanner's, random bytes, and of messages each of which is from another
address. Limits are those that genproxy has of itself, and the same ones for Kamailio's pike and htable. Each
has one core, the load (flood and calls) the other. After `make compiled` genproxy runs twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

from bench.figure import Figure
from bench.forwarder.load import cores
from bench.sip import COMPILED, OURS, compared, median, peer, server
from bench.sip.load import Flood, Kind, Load, Sample, Server

CALLS: Final = "500/s"
RATE: Final = 20_000
SECONDS: Final = "6"
ROUNDS: Final = 3
WORSE: Final = 2.0
"""How much longer others may wait beside one source."""
KNOWN: Final[dict[Kind, str]] = {
    "good": "well-formed messages",
    "scanner": "a scanner's messages",
    "garbage": "random bytes",
}
"""Floods that come from one address."""
KINDS: Final[dict[Kind, str]] = {**KNOWN, "forged": "messages of forged senders"}

Samples = dict[str, list[Sample]]
"""By server; one for each round."""


def _measured(load: Load, servers: Mapping[str, Server]) -> dict[Kind | None, Samples]:
    """Each server alone (None) and beside each kind of flood, in turn."""
    samples: dict[Kind | None, Samples] = {
        kind: {name: [] for name in servers} for kind in (None, *KNOWN, "forged")
    }
    for one in servers.values():
        load.run(one, "call", "1", window=CALLS)  # what is done for the first time does not count
    for number, (name, one) in product(range(ROUNDS), servers.items()):
        for place, kind in enumerate((None, *KNOWN)):
            flood = Flood(kind, RATE, f"127.7.{number}.{place + 1}") if kind is not None else None
            samples[kind][name].append(load.run(one, "call", SECONDS, window=CALLS, flood=flood))
    # Some messages of forged senders reach the Genesis system, which does not answer them. While it answers
    # the calls beside them that says nothing, but in a pause a proxy must take it for dead: so there is none.
    for (name, one), _ in product(servers.items(), range(ROUNDS)):
        flood = Flood("forged", RATE, "0.0.0.0")
        samples["forged"][name].append(load.run(one, "call", SECONDS, window=CALLS, flood=flood))
    return samples


def _middle(samples: Samples, attribute: str) -> dict[str, float]:
    return {name: median(getattr(sample, attribute) for sample in some) for name, some in samples.items()}


def _figures(samples: Mapping[Kind | None, Samples]) -> Iterator[Figure]:
    alone = samples[None]
    before = _middle(alone, "p99")
    quiet = _middle(alone, "cpu")
    yield from compared("set-up, median", "ms", _scaled(_middle(alone, "median"), 1e3))
    yield from compared("set-up, 99th percentile", "ms", _scaled(before, 1e3))
    yield from _lost("calls lost", alone)
    for kind, title in KINDS.items():
        some = samples[kind]
        every = [sample for each in some.values() for sample in each]
        rate = median(sample.flooded / float(SECONDS) for sample in every)
        yield Figure(f"flood of {title}", rate, "messages/s")
        yield from compared(f"set-up beside {title}, median", "ms", _scaled(_middle(some, "median"), 1e3))
        beside = _middle(some, "p99")
        yield from compared(f"set-up beside {title}, 99th percentile", "ms", _scaled(beside, 1e3))
        for name, value in beside.items():
            target = None if name == peer.PROGRAM or kind == "forged" else WORSE
            told = f"99th percentile beside {title}, {name}, ms"
            yield Figure(told, value * 1e3, "ms", before[name] * 1e3, "alone", target)
        yield from _lost(f"calls lost beside {title}", some)
        flooded = _middle(some, "flooded")
        cost = {name: (cpu - quiet[name]) / flooded[name] for name, cpu in _middle(some, "cpu").items()}
        yield from compared(f"one of {title}", "us", _scaled(cost, 1e6))


def _scaled(values: Mapping[str, float], factor: float) -> dict[str, float]:
    return {name: value * factor for name, value in values.items()}


def _lost(name: str, samples: Samples) -> Iterator[Figure]:
    lost = {server: float(sum(sample.lost for sample in some)) for server, some in samples.items()}
    yield from compared(name, "calls", lost)


def measure() -> Iterable[Figure]:
    """Measure all; one minute and a half for each server."""
    core, other = cores()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        load = Load(folder, other, 1)
        stack.callback(load.close)
        start = stack.enter_context
        ours = partial(server.genproxy, core, load=load, digest=False, protected=True)
        servers = {OURS: start(ours(folder / "source"))}
        if server.COMPILED.is_dir():
            servers[COMPILED] = start(ours(folder / "compiled", root=server.COMPILED))
        if peer.installed():
            other_one = peer.kamailio(core, folder / peer.PROGRAM, load, digest=False, protected=True)
            servers[peer.PROGRAM] = start(other_one)
        yield from _figures(_measured(load, servers))
