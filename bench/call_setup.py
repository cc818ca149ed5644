"""The rendezvous machine: CPU time per call, from invite to hangup.

`python -m bench call_setup`. The machine, decoding and encoding, without sockets, relay and storage;
minimum of many short runs, since the machine may be shared.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.figure import Figure
from crs.signaling import message
from crs.signaling.testing import Phone, World

CALLS = 200
RUNS = 15


def _call(world: World, caller: Phone, callee: Phone, session: str) -> None:
    caller.ask(message.Invite, session=session, to="+2", streams=[message.RelayKind.rtp], payload=bytes(200))
    callee.ask(message.Ringing, session=session, caller="+1")
    callee.ask(message.Answer, session=session, caller="+1", payload=bytes(200))
    caller.ask(message.Hangup, session=session, caller="+1")
    caller.inbox.clear()
    callee.inbox.clear()
    world.events.clear()


def measure() -> Iterator[Figure]:
    """Yield the figures."""
    best = float("inf")
    for _ in range(RUNS):
        world = World()
        caller, callee = world.connect("+1").attach(), world.connect("+2").attach()
        started = time.process_time()
        for number in range(CALLS):
            _call(world, caller, callee, f"s{number}")
            world.advance(1.0)
        best = min(best, (time.process_time() - started) / CALLS)
    yield Figure("a call from invite to hangup, both parties' codec included", best * 1e6, "µs")
