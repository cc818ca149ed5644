"""SIPp (Debian's sip-tester 3.6) as a Genesis system: it registers, answers, dies, hangs and comes back."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, TypeAlias

from haproxy.testing.genproxy import own_host
from haproxy.testing.script import AUDIO, SDP, heard, note, pause, response, write
from haproxy.testing.sipp import command
from rtlib.testing.daemon import Daemon, bound

PATIENCE: Final = 30
"""Seconds for a REGISTER to be answered; it is sent again each second."""

SLOW: Final = 2000
"""Milliseconds until a slow one answers a probe."""

Behaviour: TypeAlias = Literal["well", "busy", "unavailable", "garbage", "slow"]

_GARBAGE: Final = """\
<send><![CDATA[
%PDF-1.4 this is no SIP
[call_id]

]]></send>
"""
_CALLS: Final = """\
<recv request="OPTIONS" optional="true" next="probed"/>
<recv request="INFO" optional="true" next="probed"/>
<recv request="INVITE" rrs="true"/>
{called}
<nop next="end"/>
<label id="probed"/>
{probed}
<label id="end"/>
<timewait milliseconds="5000"/>
"""
"""A BYE that comes again because its answer was lost finds its call for 5 s."""

_WELL: Final = (
    # No 180 before: SIPp would repeat that one, and the 200 no more, if the INVITE came again.
    response(200, SDP, body=AUDIO, repeat=True)
    + note("[call_id] answered [timestamp]")
    # The ACK may be lost; then the 200 comes again, until the BYE comes.
    + heard("ACK", optional=True)
    + heard("BYE")
    + response(200, tagged=True)
)


def _refusal(*headers: str) -> str:
    return response(503, *headers, repeat=True) + heard("ACK")


_ANSWERS: Final[dict[Behaviour, tuple[str, str]]] = {
    "well": (_WELL, response(200)),
    "busy": (_refusal("Retry-After: 30"), response(200)),
    "unavailable": (_refusal(), response(503)),
    "slow": (_WELL, pause(SLOW / 1000) + response(200)),
    "garbage": (_GARBAGE, _GARBAGE),
}
"""How calls are answered, and how probes are."""

_REGISTER: Final = """\
REGISTER sip:{domain} SIP/2.0\r
Via: SIP/2.0/UDP {host}:{own};branch=z9hG4bK{number}.{user}.{own}\r
From: <sip:{user}@{domain}>;tag=1\r
To: <sip:{user}@{domain}>\r
Call-ID: register-{user}-{own}\r
CSeq: {number} REGISTER\r
Contact: <sip:{user}@{host}:{port}>\r
Max-Forwards: 70\r
Expires: 3600\r
Content-Length: 0\r
\r
"""


class Genesis:
    """One system on an address of its own; a context manager that starts it and registers it."""

    def __init__(
        self,
        folder: Path,
        proxy: tuple[str, int],
        user: str,
        behaviour: Behaviour = "well",
        *,
        host: str = "",
        trace: bool = False,
    ) -> None:
        """`proxy` must take registrations without a password; `folder` is for SIPp's files.

        `trace` keeps its `messages`.
        """
        self.user = user
        self.host = own_host()
        self.port = 5060
        self._proxy = proxy
        self._registrations = 0
        self._folder = folder / f"{user}-{self.host}"
        self._folder.mkdir(parents=True)
        called, probed = _ANSWERS[behaviour]
        file = write(self._folder, "genesis", _CALLS.format(called=called, probed=probed))
        self._notes = self._folder / "notes"
        words = [
            *command(file, self.host, self.port),
            # Calls that a death has cut off do not hold it up.
            *("-aa", "-recv_timeout", "20000", "-deadcall_wait", "1000", "-max_recv_loops", "10000"),
            *("-trace_logs", "-log_file", self._notes, "-log_overwrite", "false"),
        ]
        self._messages = self._folder / "messages"
        if trace:
            words += ["-trace_msg", "-message_file", self._messages]
        self._daemon = Daemon(
            words, ready=lambda: bound(self.host, self.port), directory=self._folder, timeout=30
        )

    @property
    def uri(self) -> str:
        """Its contact."""
        return f"sip:{self.user}@{self.host}:{self.port}"

    @property
    def notes(self) -> str:
        """A line for each call that it has answered, of all its lives: Call-ID and time."""
        return self._notes.read_text(errors="replace") if self._notes.exists() else ""

    @property
    def messages(self) -> str:
        """Every SIP message sent and received so far, if that is traced."""
        return self._messages.read_text(errors="replace") if self._messages.exists() else ""

    def __enter__(self) -> Genesis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.close()

    def start(self) -> None:
        """Start it, for the first time or again, and have it register."""
        self._daemon.start()
        self.register()

    def register(self) -> None:
        """Register. Raises AssertionError where the proxy refuses it."""
        self._registrations += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((self.host, 0))
            sock.settimeout(1)
            text = _REGISTER.format(
                domain=self._proxy[0],
                user=self.user,
                host=self.host,
                port=self.port,
                own=sock.getsockname()[1],
                number=self._registrations,
            )
            answer = ""
            for _ in range(PATIENCE):
                sock.sendto(text.encode(), self._proxy)
                with suppress(TimeoutError):
                    answer = sock.recv(4096).decode(errors="replace")
                    break
        assert answer.startswith("SIP/2.0 200 "), answer or f"no answer to REGISTER within {PATIENCE} s"

    def die(self) -> None:
        """Die at once, without a word."""
        self._daemon.kill()

    def hang(self) -> None:
        """Hear, and say nothing, until `go_on`."""
        self._daemon.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Come back to life."""
        self._daemon.process.send_signal(signal.SIGCONT)
