"""SIPp as a caller whose every call is known: where it was, and what became of it."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.script import AUDIO, PROXY, SDP, ack_of_2xx, bye, heard, note, request, write
from haproxy.testing.sipp import command
from rtlib.testing.daemon import Daemon, wait_until

PATIENCE: Final = 20.0
"""Seconds that a caller waits for each answer."""

CALLER: Final = (
    note("[call_id] begins [timestamp]"),
    request("INVITE", f"sip:100@{PROXY}:[remote_port]", SDP, body=AUDIO, repeat=True),
    heard(100, optional=True),
    heard(200, take=("where", "Contact", "([0-9]+[.]){3}[0-9]+")),
    note("[call_id] at [timestamp] [$where]"),
    ack_of_2xx(),
    "<pause/>\n",
    bye(),
    # A proxy says so when the answer takes longer (RFC 4320 section 4.1).
    heard(100, optional=True),
    heard(200),
    note("[call_id] done [timestamp]"),
)

_STEPS: Final = ("", "", "nothing", "100")
"""What a caller has heard that waits for the answer to its INVITE, by the step of the scenario."""

_NOTE: Final = re.compile(r"^(\S+@\S+) (\w+) \S+\t\S+\t(\d+\.\d+)(?: (\S+))?$", re.MULTILINE)
_WHEN: Final = r"\t(\d+\.\d+): "
_UNEXPECTED: Final = re.compile(
    _WHEN + r"Aborting call on unexpected message for Call-Id '([^']+)'[^\r\n]*received 'SIP/2\.0 ([^\r\n]+)"
    r"(?:\r?\n[^\r\n]+)*?\r?\nCSeq: \d+ (\w+)"
)
_SILENCE: Final = re.compile(_WHEN + r"Call-Id: ([^,]+), receive timeout on message \w+:(\d+) ")
_UNANSWERED: Final = re.compile(_WHEN + r"Aborting call on UDP retransmission timeout for Call-ID '([^']+)'")


class Place(NamedTuple):
    """Which system has a call, and since when."""

    host: str
    when: float
    """Seconds since the epoch, as all times here."""


class End(NamedTuple):
    """Why and when a caller gave a call up."""

    reason: str
    when: float


@dataclass
class Tally:
    """What became of all calls, by Call-ID."""

    begun: dict[str, float] = field(default_factory=dict)
    """When each began."""
    places: defaultdict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    """Where those were that a system has answered: by what the caller heard and by what systems noted."""
    done: dict[str, float] = field(default_factory=dict)
    """When those ended that went as they should."""
    ends: dict[str, End] = field(default_factory=dict)
    """How those ended that did not."""
    stopped: float = 0.0
    """When the caller noted something for the last time."""

    @classmethod
    def read(cls, notes: str, errors: str) -> Tally:
        """From what the caller has noted, and complained of."""
        tally = cls()
        for match in _NOTE.finditer(notes):
            call, word, when, host = match.groups()
            if word == "begins":
                tally.begun[call] = float(when)
            elif word == "done":
                tally.done[call] = float(when)
            else:
                tally.places[call].append(Place(host, float(when)))
            tally.stopped = float(when)
        tally.ends = dict(_ends(errors))
        return tally

    def answered(self, host: str, notes: str) -> None:
        """Add what a system has noted: its answers may be lost on their way."""
        for match in _NOTE.finditer(notes):
            self.places[match[1]].append(Place(host, float(match[3])))

    def lost(self) -> list[str]:
        """The calls that were not finished, in the order of their beginning."""
        return [call for call in self.begun if call not in self.done]

    def end(self, call: str) -> End:
        """How a lost call ended."""
        return self.ends.get(call, End("the caller was stopped before its end", self.stopped))

    def rate(self, seconds: float) -> float:
        """Calls a second that were finished in the last `seconds`."""
        last = max(self.done.values(), default=0.0)
        return sum(when > last - seconds for when in self.done.values()) / seconds

    def pace(self) -> float:
        """Calls a second that were begun."""
        if len(self.begun) < 2:
            return 0.0
        return (len(self.begun) - 1) / (max(self.begun.values()) - min(self.begun.values()))


def _ends(errors: str) -> Iterator[tuple[str, End]]:
    for when, call, status, method in _UNEXPECTED.findall(errors):
        yield call, End(f"{method} was answered {status}", float(when))
    for when, call, step in _SILENCE.findall(errors):
        heard = _STEPS[int(step)] if int(step) < len(_STEPS) else ""
        asked = f"INVITE got {heard}" if heard else "BYE got no answer"
        yield call, End(f"{asked} within {PATIENCE:.0f} s", float(when))
    for when, call in _UNANSWERED.findall(errors):
        yield call, End("it was sent again and again without an answer", float(when))


class Caller:
    """One SIPp that calls; a context manager."""

    def __init__(self, folder: Path, proxy: Genproxy, length: float, *arguments: str) -> None:
        """`length`: seconds that a call lasts; `arguments` for SIPp: rate, number."""
        folder.mkdir()
        self.host = own_host()
        self._notes, self._errors = folder / "notes", folder / "errors"
        words = [
            *command(write(folder, "caller", *CALLER), self.host, 5060),
            *(proxy.server, "-aa", "-l", "100000", "-d", str(round(length * 1000))),
            *("-recv_timeout", str(round(PATIENCE * 1000)), "-deadcall_wait", "0"),
            *("-trace_logs", "-log_file", self._notes, "-trace_err", "-error_file", self._errors),
            *arguments,
        ]
        self._daemon = Daemon(words, ready=lambda: True, directory=folder, timeout=30)

    def __enter__(self) -> Caller:
        self._daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.close()

    def finish(self, within: float) -> Tally:
        """Wait until it has made all its calls; what became of them."""
        wait_until(lambda: self._daemon.returncode is not None, within, "the end of the caller")
        return self.tally()

    def tally(self) -> Tally:
        """What has become of its calls so far."""
        return Tally.read(*(_text(file) for file in (self._notes, self._errors)))

    def go_on(self, until: float) -> None:
        """Let it call until then, on the clock of `time.monotonic`. Raises AssertionError if it ends."""
        while time.monotonic() < until:
            assert self._daemon.returncode is None, f"the caller has ended:\n{self._daemon.output[-2000:]}"
            time.sleep(0.1)


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
