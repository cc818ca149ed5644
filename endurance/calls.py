"""SIPp calls through genproxy at 70 % of its maximum: none is lost, memory stays flat, nothing is left over.

    python -m endurance.calls [MINUTES [RATE]]

One SIPp is the Genesis system and another one calls: at RATE calls a second, or at 70 % of the maximum that
is measured first, with all that the proxy keeps of calls that are over. Its memory may grow by a twentieth
from the first to the last third of the run, once its transactions end as fast as others begin.
When the last call is over, and the last transaction forgotten, all tables have to be empty. Exit code 1 if a
call was lost, memory grew or something is left.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from endurance.bad_sip import resident
from endurance.caller import Caller, Tally
from endurance.failover import LENGTH, REST, SETTINGS, SHARE, circumstances, losses, maximum
from endurance.machine import Machine
from endurance.report import Report
from endurance.trial import common_problems, main
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy

SYSTEM: Final = "genesis_a-1"
LOOK: Final = 2.0
"""Seconds between two looks at the proxy's memory."""
FILLING: Final = 45.0
"""Seconds until as many transactions are forgotten as are made."""
LOOKS: Final = 6
"""So many are needed after that."""
ALLOWED: Final = 1.05
"""Growth of memory."""
TABLES: Final = ("transactions", "calls_up", "connections", "dns_cached", "database_pending")
"""What the proxy holds for calls, by the names of its metrics."""
FORGOTTEN: Final = 40.0
"""Seconds until the last transaction is forgotten: timers L and J, and some."""


class Run:
    """The calls, and the proxy meanwhile."""

    def __init__(self, proxy: Genproxy) -> None:
        self._proxy = proxy
        self.memory: list[float] = []
        """MiB, at each look."""
        self.held = 0.0
        """The most transactions that were seen."""
        self.callers_host = ""

    def call(self, folder: Path, rate: int, seconds: float) -> Tally:
        """Call for so long, and wait for the last call to end; what became of all."""
        number = round(rate * seconds)
        with Caller(folder, self._proxy, LENGTH, "-r", str(rate), "-m", str(number)) as caller:
            self.callers_host = caller.host
            begin = time.monotonic()
            # The caller ends a call's length after the last one has begun.
            while (passed := time.monotonic() - begin) < seconds - LOOK:
                caller.go_on(begin + passed + LOOK)
                self.memory.append(resident(self._proxy.daemon.pid))
                self.held = max(self.held, self._proxy.metric("transactions"))
            return caller.finish(REST)

    def left(self) -> dict[str, float]:
        """What is in the proxy's tables once all calls must be forgotten. Blocks as long as that takes."""
        until = time.monotonic() + FORGOTTEN
        while any((tables := {name: self._proxy.metric(name) for name in TABLES}).values()):
            if time.monotonic() > until:
                break
            time.sleep(LOOK)
        return tables


def thirds(memory: Sequence[float]) -> tuple[float, float]:
    """The memory of the first and of the last third of a run, after the tables were filled: medians."""
    settled = memory[round(FILLING / LOOK) :]
    if len(settled) < LOOKS:
        raise ValueError("the run is too short to tell whether memory grows")
    size = len(settled) // 3
    return median(settled[:size]), median(settled[-size:])


def verdict(memory: Sequence[float], left: Mapping[str, float]) -> list[str]:
    """What is wrong with the proxy's memory and its tables, if anything."""
    problems = [f"{number:.0f} left in {name}" for name, number in left.items() if number]
    try:
        before, after = thirds(memory)
    except ValueError as error:
        return [*problems, str(error)]
    if after > ALLOWED * before:
        problems.append(f"memory grew from {before:.1f} to {after:.1f} MiB")
    return problems


def trial(folder: Path, seconds: float, rate: int, report: Report) -> list[str]:
    """Run one and give what is wrong, if anything. Blocks. `rate` 0: 70 % of the maximum."""
    with Genproxy(folder / "proxy", settings=SETTINGS, subscribers={SYSTEM: "secret"}) as proxy:
        with Genesis(folder, (proxy.host, proxy.port), SYSTEM) as system:
            if not rate:
                with Machine() as machine:
                    most = maximum(folder / "maximum", proxy)
                rate = max(1, round(SHARE * most))
                report(f"the maximum is {most:.0f} calls/s; the run has {rate}; {machine}")
                # The calls that were up when that was over have not been ended by anybody.
                proxy.daemon.stop()
                proxy.daemon.start()
            run = Run(proxy)
            with Machine() as machine:
                tally = run.call(folder / "run", rate, seconds)
            tally.answered(system.host, system.notes)
            users = {system.host: SYSTEM, proxy.host: "the proxy", run.callers_host: "the caller"}
            around = circumstances(proxy, machine, users, tally)
        report(f"{len(tally.begun)} calls, {len(tally.done)} complete; {machine}")
        left = run.left()
        looks = ", ".join(f"{mib:.1f}" for mib in run.memory[:: max(1, len(run.memory) // 10)])
        report(f"MiB of memory in the course of the run: {looks}")
        report(f"{run.held:.0f} transactions at most; left: {', '.join(map(_named, left.items()))}")
    lost = losses(tally, tally.lost(), users)
    problems = common_problems(lost, around, proxy, machine=machine, tally=tally, rate=rate)
    return problems + verdict(run.memory, left)


def _named(row: tuple[str, float]) -> str:
    name, number = row
    return f"{number:.0f} {name}"


if __name__ == "__main__":
    main(trial)
