"""SIPp calls through genproxy while Genesis systems are killed: no call is lost that was not on a dead one.

    python -m endurance.failover [MINUTES [RATE]]

Four SIPp are Genesis systems, two in each dispatch set, and another one calls: at RATE calls a second, or at
70 % of the maximum that is measured first. Once a minute one of the primary set is killed, and brought back
half a minute later. The caller notes for each call when it begins, which system has it and when it is over,
so that every call that was not finished is known with its system. Exit code 1 if one of them was not on a
system that died meanwhile.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from rtlib.testing.daemon import Daemon, free_port, wait_until

SHARE: Final = 0.7
"""Of the measured maximum."""
MEASURED: Final = 20_000
"""Calls of the measurement."""
CEILING: Final = 1500.0
"""Calls a second that the proxy can bear for long: of each it keeps two server transactions for 32 s, of
100,000 in all."""
WINDOW: Final = 48
"""Calls at once while the maximum is measured."""
LENGTH: Final = 1.0
"""Seconds that a call lasts."""
SLACK: Final = 3.0
"""Seconds by which two clocks, and the end of a call, may differ from what is expected."""
NAMED: Final = 20
"""Lost calls that are named; the others are counted."""
ROUND: Final = 60.0
DEATH, RETURN = 15.0, 45.0
"""Seconds in a round."""
PATIENCE: Final = 40.0
"""Seconds for the last calls to end: longer than any timer of the caller."""

SYSTEMS: Final = ("genesis_a-1", "genesis_a-2", "genesis_b-1", "genesis_b-2")
SETTINGS: Final[Settings] = {"proxy": {"enableAntiFlood": False, "astPingInterval": 5}}

_SDP: Final = """\
v=0
o=caller 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
_REQUEST: Final = """\
<send{retransmit}><![CDATA[
{method} {uri} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
{routes}From: <sip:caller@[remote_ip]>;tag=[pid]c[call_number]
To: <sip:100@[remote_ip]>{tag}
Call-ID: [call_id]
CSeq: {number} {method}
Contact: <sip:caller@[local_ip]:[local_port]>
{body}
]]></send>
"""
_NOTE: Final = '<nop><action><log message="{text}"/></action></nop>\n'


def _request(method: str, number: int, *, dialog: bool, body: str = "Content-Length: 0\n") -> str:
    return _REQUEST.format(
        method=method,
        number=number,
        uri="[next_url]" if dialog else "sip:100@[remote_ip]:[remote_port]",
        routes="[routes]\n" if dialog else "",
        tag="[peer_tag_param]" if dialog else "",
        body=body,
        retransmit="" if method == "ACK" else ' retrans="500"',
    )


_PLACE: Final = (
    '<action><ereg regexp="@([0-9.]+)" search_in="hdr" header="Contact:" assign_to="all,where"/>'
    '<log message="[call_id] at [$where] [clock_tick]"/></action>'
)

CALLER: Final = (
    '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="caller">\n'
    + _NOTE.format(text="[call_id] begins")
    + _request(
        "INVITE", 1, dialog=False, body=f"Content-Type: application/sdp\nContent-Length: [len]\n\n{_SDP}"
    )
    + '<recv response="100" optional="true"/>\n'
    + f'<recv response="180" optional="true">{_PLACE}</recv>\n'
    + f'<recv response="200" rrs="true">{_PLACE}</recv>\n<Reference variables="all"/>\n'
    + _request("ACK", 1, dialog=True)
    + "<pause/>\n"
    + _request("BYE", 2, dialog=True)
    + '<recv response="200"/>\n'
    + _NOTE.format(text="[call_id] done")
    + "</scenario>\n"
)


class Place(NamedTuple):
    """Which system has a call, and since when."""

    host: str
    when: float
    """Seconds since the caller's start."""


@dataclass
class Tally:
    """What became of all calls, by Call-ID."""

    begun: list[str] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    """Where those are that a system has heard of."""
    done: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, notes: str) -> Tally:
        """From what the caller has noted."""
        tally = cls()
        for call, word, host, tick in _NOTED.findall(notes):
            if word == "begins":
                tally.begun.append(call)
            elif word == "at":
                tally.places[call] = Place(host, int(tick) / 1000)
            else:
                tally.done.add(call)
        return tally

    def lost(self) -> dict[str, Place | None]:
        """Each call that was not finished, and where it was."""
        return {call: self.places.get(call) for call in self.begun if call not in self.done}


_NOTED: Final = re.compile(r"^(\S+@\S+) (begins|at|done)(?: (\S+) (\d+))?$", re.MULTILINE)


class Death(NamedTuple):
    """A system has died."""

    host: str
    when: float
    """Seconds since the caller's start."""

    def explains(self, place: Place | None) -> bool:
        """Whether a call that was lost there was lost with the system."""
        if place is None or place.host != self.host:
            return False
        return place.when - SLACK <= self.when <= place.when + LENGTH + SLACK


class Caller:
    """One SIPp that calls."""

    def __init__(self, folder: Path, proxy: Genproxy, length: float, *arguments: str) -> None:
        folder.mkdir()
        host = own_host()
        scenario = folder / "caller.xml"
        scenario.write_text(CALLER)
        self._notes = folder / "notes"
        command: list[str | Path] = [
            *("sipp", proxy.server, "-sf", scenario, "-nostdin", "-i", host, "-p", "5060", "-t", "u1"),
            *("-mi", host, "-mp", str(free_port("udp", host))),
            *("-ci", host, "-cp", str(free_port("udp", host)), "-aa", "-l", "100000"),
            *("-d", str(round(length * 1000)), "-recv_timeout", "20000", "-deadcall_wait", "0"),
            *("-trace_logs", "-log_file", self._notes, "-trace_err", "-error_file", folder / "errors"),
            *arguments,
        ]
        self._daemon = Daemon(command, ready=lambda: True, directory=folder, timeout=30)

    def __enter__(self) -> Caller:
        self._daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.close()

    def finish(self, within: float) -> Tally:
        """Wait until it has made all its calls; what became of them."""
        wait_until(lambda: self._daemon.returncode is not None, within, "the end of the caller")
        return Tally.read(self._notes.read_text(errors="replace"))

    def check(self) -> None:
        """Raise AssertionError where it has ended already."""
        assert self._daemon.returncode is None, f"the caller has ended:\n{self._daemon.output[-2000:]}"


def maximum(folder: Path, proxy: Genproxy) -> float:
    """Calls a second with so many open at a time, none of which lasts."""
    begin = time.monotonic()
    arguments = ("-r", "20000", "-l", str(WINDOW), "-m", str(MEASURED))
    with Caller(folder, proxy, 0.0, *arguments) as caller:
        tally = caller.finish(300)
    return len(tally.done) / (time.monotonic() - begin)


class Trial:
    """One run: the proxy, its systems, and what happens to them."""

    def __init__(self, proxy: Genproxy, systems: Sequence[Genesis], report: Callable[[str], None]) -> None:
        self._proxy = proxy
        self._systems = systems
        self._report = report
        self.deaths: list[Death] = []

    def run(self, folder: Path, rate: int, seconds: float) -> Tally:
        """Call for so long, with a death in each round."""
        number = round(rate * seconds)
        with Caller(folder, self._proxy, LENGTH, "-r", str(rate), "-m", str(number)) as caller:
            begin = time.monotonic()
            turn = 0
            while (passed := turn * ROUND) + RETURN < seconds:
                self._sleep(begin + passed + DEATH, caller)
                victim = self._victim(turn)
                self._report(f"{victim.user} dies")
                victim.die()
                self.deaths.append(Death(victim.host, time.monotonic() - begin))
                self._sleep(begin + passed + RETURN, caller)
                victim.start()
                self._report(f"{victim.user} is back")
                turn += 1
            return caller.finish(seconds + PATIENCE - (time.monotonic() - begin) + PATIENCE)

    def _victim(self, turn: int) -> Genesis:
        """One of the primary set, each in its turn."""
        rows = json.loads(self._proxy.cli("--json", "dispatcher", "show"))
        primary = [row["uri"] for row in rows if "Primary" in row["dispatch_set"]]
        chosen = [system for system in self._systems if system.uri in primary]
        return chosen[turn % len(chosen)]

    def _sleep(self, until: float, caller: Caller) -> None:
        while time.monotonic() < until:
            caller.check()
            time.sleep(0.1)


def trial(folder: Path, seconds: float, rate: int, report: Callable[[str], None]) -> list[str]:
    """Run one and give what is wrong, if anything. Blocks. `rate` 0: 70 % of the maximum."""
    subscribers = dict.fromkeys(SYSTEMS, "secret")
    with Genproxy(folder / "proxy", settings=SETTINGS, subscribers=subscribers) as proxy:
        place = proxy.host, proxy.port
        systems = [Genesis(folder, place, user) for user in SYSTEMS]
        try:
            for system in systems:
                system.start()
            if not rate:
                most = min(maximum(folder / "maximum", proxy), CEILING)
                rate = max(1, round(SHARE * most))
                report(f"the maximum is {most:.0f} calls/s; the run has {rate}")
            run = Trial(proxy, systems, report)
            tally = run.run(folder / "run", rate, seconds)
            explained = proxy.cli("dispatcher", "explain").split("\n\n")[1]
        finally:
            for system in systems:
                system.__exit__(None, None, None)
    lost = tally.lost()
    unexplained = {
        call: place for call, place in lost.items() if not any(death.explains(place) for death in run.deaths)
    }
    report(
        f"{len(tally.begun)} calls, {len(tally.done)} complete,"
        f" {len(lost) - len(unexplained)} lost with the system they were on,"
        f" {len(unexplained)} lost otherwise; {len(run.deaths)} deaths"
    )
    report(f"in the end\n{explained}")
    named = list(unexplained.items())[:NAMED]
    problems = [f"the call {call} was lost at {place or 'no system'}" for call, place in named]
    if len(unexplained) > NAMED:
        problems.append(f"and so were {len(unexplained) - NAMED} others")
    if not run.deaths:
        problems.append("nothing died: the run is too short")
    if len(tally.done) < rate * seconds / 2:
        problems.append("fewer than half of the calls were made")
    log = proxy.log.read_text(errors="replace")
    if "Traceback" in log:
        begin = log.index("Traceback")
        problems.append(f"the proxy's log has a traceback:\n{log[begin : begin + 4000]}")
    return problems


def main() -> None:
    """Run and report; exit code 1 if something is wrong."""
    minutes = float(sys.argv[1]) if sys.argv[1:] else 10.0
    rate = int(sys.argv[2]) if sys.argv[2:] else 0
    started = time.monotonic()

    def report(text: str) -> None:
        print(f"{(time.monotonic() - started) / 60:6.1f} min  {text}", flush=True)

    with TemporaryDirectory() as folder:
        problems = trial(Path(folder), minutes * 60, rate, report)
    for problem in problems:
        print(f"WRONG: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
