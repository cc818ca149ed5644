"""SIPp (Debian's sip-tester 3.6) as one end of a call: runs a scenario file and tells how it ended."""

from __future__ import annotations

import random
import re
import signal
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from haproxy.sip.message import Request, Response, parse
from rtlib.testing.daemon import Daemon, bindable, bound, free_port, wait_until

TIMEOUT: Final = 30
"""Seconds after which SIPp gives up and fails."""


MEDIA_PORTS: Final = range(20_000, 32_000, 4)
"""Below those that the kernel gives to whoever asks for any: SIPp binds two, and is told the first only."""

BUFFER: Final = 4 * 1024 * 1024
"""Bytes of a socket's buffer. SIPp's own 64 KiB hold some 50 messages, which is nothing when it has to wait
for a processor."""


def command(scenario: Path, host: str, port: int, *, transport: str = "udp") -> list[str | Path]:
    """The words that start a SIPp with this scenario on an address; more may follow."""
    return [
        *("sipp", "-sf", scenario, "-nostdin", "-i", host, "-p", str(port)),
        *("-t", "u1" if transport == "udp" else "t1", "-mi", host, "-mp", str(_media_port(host))),
        # Of the control socket's ports the first free one from 8888 on: SIPp gives up on a given one.
        *("-ci", host, "-buff_size", str(BUFFER)),
        # It would end itself when it has waited for a processor too often.
        *("-watchdog_minor_maxtriggers", "1000000", "-watchdog_major_maxtriggers", "1000000"),
    ]


_TRACED: Final = re.compile(
    rb"-{40,} (\S+ \S+)\n\w+ message (?:(sent)|received) [\[(](\d+)(?: bytes\)|\] bytes )[ :]*\n\n"
)


class Traced(NamedTuple):
    """One message that SIPp has sent or received."""

    when: float
    """Seconds of the wall clock, to a microsecond."""
    sent: bool
    raw: bytes

    @property
    def message(self) -> Request | Response:
        """Raises ParseError: what is played may be malformed on purpose."""
        return parse(self.raw)

    @property
    def request(self) -> Request:
        """The message, which is one."""
        message = self.message
        assert isinstance(message, Request)
        return message

    @property
    def start(self) -> str:
        """The method of a request; the status of a response, in digits."""
        first, second, *_ = self.raw.decode(errors="replace").split(" ", 2)
        return second if first == "SIP/2.0" else first


class SippError(AssertionError):
    """SIPp's calls did not go as its scenario says; the text holds its errors and messages."""


class Sipp:
    """One SIPp process: starts listening or calling at once, and is awaited with `finish`."""

    def __init__(
        self,
        folder: Path,
        scenario: Path,
        server: str,
        *,
        user: str,
        password: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        transport: str = "udp",
        calls: int = 1,
        arguments: Sequence[str] = (),
    ) -> None:
        """Make or take `calls` calls. `folder` is for logs; `server` is HOST:PORT; `port` 0: a free one."""
        self.host = host
        self.port = port or free_port("udp" if transport == "udp" else "tcp", host)
        self._name = scenario.stem
        self._errors = folder / f"{scenario.stem}-{self.port}.errors"
        self._messages = folder / f"{scenario.stem}-{self.port}.messages"
        self._daemon = Daemon(
            [
                *command(scenario, host, self.port, transport=transport),
                *(server, "-m", str(calls), "-s", user, "-au", user, "-ap", password),
                *("-timeout", f"{TIMEOUT}s", "-timeout_error"),
                *("-trace_err", "-error_file", self._errors, "-trace_msg", "-message_file", self._messages),
                *arguments,
            ],
            ready=self._bound if transport == "udp" else lambda: True,
            directory=folder,
        )

    def __enter__(self) -> Sipp:
        self._daemon.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.close()

    def _bound(self) -> bool:
        """Whether its UDP port is open: a request that comes earlier would be refused by the kernel."""
        return bound(self.host, self.port) or self._daemon.returncode is not None

    @property
    def messages(self) -> str:
        """Every SIP message sent and received so far."""
        return self._messages.read_text(errors="replace") if self._messages.exists() else ""

    def traffic(self) -> list[Traced]:
        """Every message so far, in order."""
        data = self._messages.read_bytes() if self._messages.exists() else b""
        found = []
        for match in _TRACED.finditer(data):
            raw = data[match.end() : match.end() + int(match[3])]
            when = datetime.fromisoformat(match[1].decode()).timestamp()
            found.append(Traced(when, match[2] is not None, raw))
        return found

    def heard(self, what: str | int) -> list[Traced]:
        """The requests of a method, or responses with a status, that it has received; repeated ones too."""
        return [each for each in self.traffic() if not each.sent and each.start == str(what)]

    def call_no_more(self) -> None:
        """Make or take no further calls; await the end of those that are up with `finish`."""
        self._daemon.process.send_signal(signal.SIGUSR1)

    def finish(self, seconds: float = TIMEOUT + 3) -> None:
        """Wait for the end of the call. Raises SippError unless everything went as the scenario says."""
        wait_until(lambda: self._daemon.returncode is not None, seconds, f"the end of SIPp's {self._name}")
        if self._daemon.returncode != 0:
            errors = self._errors.read_text(errors="replace") if self._errors.exists() else ""
            raise SippError(
                f"SIPp's {self._name} ended with {self._daemon.returncode}\n{errors}\n{self.messages[-6000:]}"
            )


def _media_port(host: str) -> int:
    """An even port that is free with the next three: audio is the first, video the third of them."""
    while True:
        port = random.choice(MEDIA_PORTS)
        if all(bindable(host, port + number) for number in range(4)):
            return port


def run(*arguments: object, **options: object) -> Sipp:
    """Run one scenario to its end; the parameters of Sipp. Raises SippError."""
    with Sipp(*arguments, **options) as sipp:  # type: ignore[arg-type]  # passed on as they are
        sipp.finish()
    return sipp
