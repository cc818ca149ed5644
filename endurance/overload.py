"""Twice as many SIPp calls as genproxy can carry: it goes on with most of those, and refuses the others.

    python -m endurance.overload [MINUTES [RATE]]

Two SIPp are Genesis systems, another one calls: at RATE calls a second, or at twice the maximum that is
measured first. Exit code 1 if fewer calls are completed a second than 80 % of the maximum, if one that was
let in is lost, or if genproxy refuses calls when all is over.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from endurance.caller import Caller
from endurance.failover import LENGTH, REST, SETTINGS, circumstances, maximum
from endurance.machine import Machine
from endurance.report import Report
from endurance.trial import common_problems, main
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy

TIMES: Final = 2.0
"""Of the maximum."""
GOODPUT: Final = 0.8
"""Of the maximum, that is completed meanwhile."""
SYSTEMS: Final = ("genesis_a-1", "genesis_a-2")
REFUSED: Final = "INVITE was answered 503 Service Unavailable"


def trial(folder: Path, seconds: float, rate: int, report: Report) -> list[str]:
    """Run one and give what is wrong, if anything. Blocks. `rate` 0: twice the maximum."""
    with Genproxy(folder / "proxy", settings=SETTINGS, subscribers=dict.fromkeys(SYSTEMS, "secret")) as proxy:
        place = proxy.host, proxy.port
        with Genesis(folder, place, SYSTEMS[0]) as one, Genesis(folder, place, SYSTEMS[1]) as two:
            with Machine() as machine:
                most = maximum(folder / "maximum", proxy)
            rate = rate or round(TIMES * most)
            report(f"the maximum is {most:.0f} calls/s; the run has {rate}; {machine}")
            number = round(rate * seconds)
            with (
                Machine() as machine,
                Caller(folder / "run", proxy, LENGTH, "-r", str(rate), "-m", str(number)) as caller,
            ):
                tally = caller.finish(seconds + 2 * REST)
            users = {one.host: one.user, two.host: two.user}
            users |= {proxy.host: "the proxy", caller.host: "the caller"}
            around = circumstances(proxy, machine, users, tally)
            common = common_problems([], around, proxy, machine=machine, tally=tally, rate=rate)
            with Caller(folder / "after", proxy, 0.0, "-r", "10", "-m", "50") as afterwards:
                after = afterwards.finish(REST)
    first = min(tally.begun.values())
    done = sum(when - first <= seconds for when in tally.done.values())
    ends = Counter(tally.end(call).reason for call in tally.lost())
    report(f"{len(tally.begun)} calls at {tally.pace():.0f}/s, {done / seconds:.0f}/s complete; {machine}")
    report("; ".join(f"{count} {reason}" for reason, count in ends.most_common()))
    report("\n".join(around))
    problems = [*common]
    if done < GOODPUT * most * seconds:
        problems.append(f"{done / seconds:.0f} calls/s complete, {most:.0f} were possible")
    lost = sum(ends.values()) - ends[REFUSED]
    if lost:
        problems.append(f"{lost} calls were lost otherwise than by a refusal")
    if after.lost():
        problems.append(f"{len(after.lost())} calls of 50 were lost when all was over")
    return problems


if __name__ == "__main__":
    main(trial)
