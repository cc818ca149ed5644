"""A run of SIPp calls through genproxy from the command line, and what must not be in any."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from endurance.caller import Tally
from endurance.machine import Machine
from endurance.report import Report, clock, conclude
from haproxy.testing.genproxy import Genproxy


def common_problems(
    lost: Sequence[str], around: Sequence[str], proxy: Genproxy, *, machine: Machine, tally: Tally, rate: int
) -> list[str]:
    """What is wrong with a run of `rate` calls/s: the lost calls with what was `around`, caller and log."""
    problems = [*lost]
    if lost:
        problems += around
        if not machine.is_quiet:
            problems.append("others were at work on this machine: the run proves nothing, repeat it alone")
    if tally.pace() < 0.95 * rate:
        problems.append(f"the caller made {tally.pace():.0f} calls/s only: the machine is too slow for it")
    log = proxy.log.read_text(errors="replace")
    if "Traceback" in log:
        begin = log.index("Traceback")
        problems.append(f"the proxy's log has a traceback:\n{log[begin : begin + 4000]}")
    return problems


def main(trial: Callable[[Path, float, int, Report], list[str]]) -> None:
    """Run `trial` for [MINUTES [RATE]] of the command line and report; exit code 1 if something is wrong."""
    minutes = float(sys.argv[1]) if sys.argv[1:] else 10.0
    rate = int(sys.argv[2]) if sys.argv[2:] else 0
    with TemporaryDirectory() as folder:
        problems = trial(Path(folder), minutes * 60, rate, clock())
    conclude(problems)
