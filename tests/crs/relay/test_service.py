"""Many allocations at once, which contract tests do not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from crs.relay.allocation import IDLE, KINDS
from crs.relay.service import PART, RelayService
from crs.relay.testing import Party, turn
from rtlib.listen import bind_datagram
from rtlib.media.reactor_forwarder import ReactorForwarder
from rtlib.offence import OffenceLog
from rtlib.testing.loop import installed_reactor, run

CALLS = 3 * PART


def with_many(story: Callable[[RelayService, list[float]], Any]) -> None:
    async def main() -> None:
        reactor, clock = installed_reactor(), [0.0]
        relay = RelayService(
            bind_datagram("127.0.0.1", 0),
            ReactorForwarder(reactor, lambda: clock[0]),
            reactor,
            limits=dict.fromkeys(KINDS),
            offences=OffenceLog(),
            now=lambda: clock[0],
        )
        relay.startService()
        try:
            await story(relay, clock)
        finally:
            relay.stopService()

    run(main)


def test_a_survey_lets_others_have_their_turn_and_counts_exactly() -> None:
    async def story(relay: RelayService, clock: list[float]) -> None:
        parties: list[Party] = []
        for group in range(CALLS):
            [(one, two)] = relay.allocate(group, ["rtp"])
            if group % (PART - 1) == 0:
                ends = Party(relay.port, one), Party(relay.port, two)
                for end in ends:
                    await end.bound()
                ends[0].rtp(b"counted once")
                assert await ends[1].receive() is not None
                parties += ends
        talking = len(parties) // 2
        asked = Deferred.fromCoroutine(relay.statistics())
        turns = 0
        while not asked.called:
            await turn()
            # One of the first part, which was surveyed, and one of the last, which was not.
            relay.release(turns * (PART - 1))
            relay.release(CALLS - 1 - turns)
            turns += 1
        statistics = await asked
        assert turns >= CALLS // PART
        assert statistics.kinds["rtp"].rx == statistics.kinds["rtp"].tx == talking
        assert (await relay.statistics()).kinds == statistics.kinds
        assert len(await relay.resources()) == len(relay.table) < CALLS
        for party in parties:
            party.close()

    with_many(story)


def test_a_sweep_of_many_ends_those_that_are_idle() -> None:
    async def story(relay: RelayService, clock: list[float]) -> None:
        for group in range(CALLS):
            relay.allocate(group, ["rtp"])
        clock[0] = IDLE / 2
        relay.allocate(CALLS, ["rtp"])
        clock[0] = IDLE
        await relay.sweep()
        assert relay.table.groups == [CALLS]

    with_many(story)


def test_stopping_during_a_survey() -> None:
    async def story(relay: RelayService, clock: list[float]) -> None:
        for group in range(CALLS):
            relay.allocate(group, ["rtp"])
        asked = Deferred.fromCoroutine(relay.resources())
        relay.stopService()
        assert len(await asked) == PART

    with_many(story)
