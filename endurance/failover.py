"""SIPp calls through genproxy while Genesis systems are killed: no call is lost that was not on a dead one.

    python -m endurance.failover [MINUTES [RATE]]

Four SIPp are Genesis systems, two in each dispatch set, and another one calls: at RATE calls a second, or at
70 % of the maximum that is measured first, with all that the proxy keeps of calls that are over. Once a
minute one of the primary set is killed, and brought back half a minute later. Caller and systems note what
becomes of each call; of those that were lost otherwise than with their system it is told where they were,
what the caller heard, and what proxy and machine were doing. Exit code 1 if there was one.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import Final, NamedTuple

from endurance.caller import PATIENCE, Caller, Place, Tally
from endurance.machine import Machine
from endurance.report import Report
from endurance.trial import common_problems, main
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy, Settings

SHARE: Final = 0.7
"""Of the measured maximum."""
MEASUREMENT: Final = 50.0
"""Seconds: transactions are kept for 32 s after their end, and what comes then is the maximum for long."""
MEASURED: Final = 15.0
"""Seconds, the last of these."""
WINDOW: Final = 48
"""Calls at once while the maximum is measured."""
LENGTH: Final = 1.0
"""Seconds that a call lasts."""
SLACK: Final = 3.0
"""Seconds by which an answer, or the end of a call, may be late where all wait for a processor."""
TOLD: Final = 12
"""Kinds of losses, and lines of the proxy's log, that are told."""
ROUND: Final = 60.0
DEATH, RETURN = 15.0, 45.0
"""Seconds in a round."""
REST: Final = 2 * PATIENCE + LENGTH
"""Seconds for the last calls to end: longer than any timer of the caller."""

SYSTEMS: Final = ("genesis_a-1", "genesis_a-2", "genesis_b-1", "genesis_b-2")
SETTINGS: Final[Settings] = {"proxy": {"enableAntiFlood": False, "astPingInterval": 5}}
PARAGRAPH: Final = "\n\n"
COUNTERS: Final = (
    "requests",
    "retransmissions",
    "timeouts",
    "overload",
    "transactions_shortened",
    "malformed",
    "udp_received",
    "udp_overrun",
    "udp_sent",
    "udp_dropped",
    "udp_refused",
    "set_failovers",
)
"""What the proxy is asked for when calls were lost."""


class Death(NamedTuple):
    """A system has died."""

    host: str
    when: float
    """Seconds since the epoch."""

    def explains(self, places: Sequence[Place], end: float) -> bool:
        """Whether a call that was lost, and given up at `end`, was on the system then."""
        return any(
            place.host == self.host
            and place.when - SLACK <= self.when <= min(end, place.when + LENGTH + SLACK)
            for place in places
        )


def maximum(folder: Path, proxy: Genproxy) -> float:
    """Calls a second with so many open at a time, none of which lasts."""
    with Caller(folder, proxy, 0.0, "-r", "20000", "-l", str(WINDOW)) as caller:
        caller.go_on(time.monotonic() + MEASUREMENT)
        return caller.tally().rate(MEASURED)


class Trial:
    """One run: the proxy, its systems, and what happens to them."""

    def __init__(self, proxy: Genproxy, systems: Sequence[Genesis], report: Report) -> None:
        self._proxy = proxy
        self._systems = systems
        self._report = report
        self.deaths: list[Death] = []
        self.callers_host = ""

    def run(self, folder: Path, rate: int, seconds: float) -> Tally:
        """Call for so long, with a death in each round."""
        number = round(rate * seconds)
        with Caller(folder, self._proxy, LENGTH, "-r", str(rate), "-m", str(number)) as caller:
            self.callers_host = caller.host
            begin = time.monotonic()
            turn = 0
            while (passed := turn * ROUND) + RETURN < seconds:
                caller.go_on(begin + passed + DEATH)
                victim = self._victim(turn)
                self._report(f"{victim.user} dies")
                victim.die()
                self.deaths.append(Death(victim.host, time.time()))
                caller.go_on(begin + passed + RETURN)
                victim.start()
                self._report(f"{victim.user} is back")
                turn += 1
            tally = caller.finish(seconds + REST - (time.monotonic() - begin))
        for system in self._systems:
            tally.answered(system.host, system.notes)
        return tally

    def unexplained(self, tally: Tally) -> list[str]:
        """The lost calls that no death explains."""
        return [
            call
            for call in tally.lost()
            if not any(death.explains(tally.places[call], tally.end(call).when) for death in self.deaths)
        ]

    def _victim(self, turn: int) -> Genesis:
        """One of the primary set, each in its turn."""
        rows = self._proxy.reply("dispatcher show")
        primary = [row["uri"] for row in rows if "Primary" in row["dispatch_set"]]
        chosen = [system for system in self._systems if system.uri in primary]
        return chosen[turn % len(chosen)]


def losses(tally: Tally, calls: Sequence[str], users: dict[str, str]) -> list[str]:
    """What became of these calls, by kind: where they were, what the caller heard, when they began."""
    first = min(tally.begun.values(), default=0.0)
    kinds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for call in calls:
        hosts = dict.fromkeys(users.get(place.host, place.host) for place in tally.places[call])
        where = "answered by " + ", ".join(hosts) if hosts else "answered by no system"
        kinds[where, tally.end(call).reason].append(tally.begun[call] - first)
    ranked = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    return [
        f"{len(times)} {where}: {reason}; begun {min(times):.1f} to {max(times):.1f} s after the first"
        for (where, reason), times in ranked[:TOLD]
    ]


def circumstances(proxy: Genproxy, machine: Machine, users: dict[str, str], tally: Tally) -> list[str]:
    """What proxy and machine were doing: for whoever asks why calls were lost."""
    late = proxy.metric("reactor_late_longest_seconds")  # before the others: each scrape takes it
    begin = min(tally.begun.values(), default=0.0)
    counted = {name: proxy.metric(f"{name}_total") for name in COUNTERS}
    counted["failovers"] = proxy.metric("decisions_total", 'kind="failovers"')
    overruns = [
        f"{lost.number} of {users[host]}, {lost.first - begin:.0f} to {lost.last - begin:.0f} s later"
        for host, lost in machine.overruns().items()
        if host in users
    ]
    told = [line for line in proxy.log.read_text(errors="replace").splitlines() if " of set " in line]
    moves = [line for line in told if "registered" not in line]
    if len(moves) > TOLD:
        moves[TOLD:] = [f"... and {len(moves) - TOLD} more"]
    return [
        f"the proxy was {late:.2f} s late at most",
        "the proxy counted " + ", ".join(f"{name} {number:.0f}" for name, number in counted.items()),
        f"datagrams that found a full buffer, from the first call on: {'; '.join(overruns) or 'none'}",
        *moves,
    ]


def trial(folder: Path, seconds: float, rate: int, report: Report) -> list[str]:
    """Run one and give what is wrong, if anything. Blocks. `rate` 0: 70 % of the maximum."""
    subscribers = dict.fromkeys(SYSTEMS, "secret")
    with Genproxy(folder / "proxy", settings=SETTINGS, subscribers=subscribers) as proxy:
        place = proxy.host, proxy.port
        systems = [Genesis(folder, place, user) for user in SYSTEMS]
        try:
            for system in systems:
                system.start()
            if not rate:
                with Machine() as machine:
                    most = maximum(folder / "maximum", proxy)
                rate = max(1, round(SHARE * most))
                report(f"the maximum is {most:.0f} calls/s; the run has {rate}; {machine}")
            run = Trial(proxy, systems, report)
            with Machine() as machine:
                try:
                    tally = run.run(folder / "run", rate, seconds)
                except (AssertionError, SubprocessError) as error:
                    return [f"the run broke off: {error}", f"meanwhile {machine}"]
            report(f"in the end\n{proxy.cli('dispatcher', 'explain').split(PARAGRAPH)[1]}")
            users = {system.host: system.user for system in systems}
            users |= {proxy.host: "the proxy", run.callers_host: "the caller"}
            around = circumstances(proxy, machine, users, tally)
        finally:
            for system in systems:
                system.__exit__(None, None, None)
    lost, unexplained = tally.lost(), run.unexplained(tally)
    report(
        f"{len(tally.begun)} calls, {len(tally.done)} complete,"
        f" {len(lost) - len(unexplained)} lost with the system they were on,"
        f" {len(unexplained)} lost otherwise; {len(run.deaths)} deaths; {machine}"
    )
    told = losses(tally, unexplained, users)
    problems = common_problems(told, around, proxy, machine=machine, tally=tally, rate=rate)
    if not run.deaths:
        problems.append("nothing died: the run is too short")
    return problems


if __name__ == "__main__":
    main(trial)
