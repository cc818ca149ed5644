"""SIPp (Debian's sip-tester 3.6) as a Genesis system: it registers, answers, dies, hangs and comes back."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, TypeAlias

from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import Daemon, free_port

PATIENCE: Final = 30
"""Seconds for a REGISTER to be answered; it is sent again each second."""

Behaviour: TypeAlias = Literal["well", "unavailable", "garbage"]

_RESPONSE: Final = """\
<send{retransmit}><![CDATA[
SIP/2.0 {status}
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid]g[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:100@[local_ip]:[local_port]>
{body}
]]></send>
"""
_NOTHING: Final = "Content-Length: 0\n"
_AUDIO: Final = """\
Content-Type: application/sdp
Content-Length: [len]

v=0
o=genesis 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
_IN_DIALOG: Final = """\
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"""
_GARBAGE: Final = """\
<send><![CDATA[
%PDF-1.4 this is no SIP
[call_id]

]]></send>
"""
_SCENARIO: Final = """\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="genesis">
<recv request="OPTIONS" optional="true" next="probed"/>
<recv request="INFO" optional="true" next="probed"/>
<recv request="INVITE" rrs="true"/>
{called}
<nop next="end"/>
<label id="probed"/>
{probed}
<label id="end"/>
<timewait milliseconds="100"/>
</scenario>
"""


def _answer(status: str, body: str = _NOTHING, *, retransmit: bool = False) -> str:
    return _RESPONSE.format(status=status, body=body, retransmit=' retrans="500"' if retransmit else "")


_WELL: Final = (
    _answer("180 Ringing")
    + _answer("200 OK", _AUDIO, retransmit=True)
    + '<recv request="ACK"/>\n<recv request="BYE"/>\n'
    + _IN_DIALOG
)
_ANSWERS: Final[dict[Behaviour, tuple[str, str]]] = {
    "well": (_WELL, _answer("200 OK")),
    "unavailable": (
        _answer("503 Service Unavailable", retransmit=True) + '<recv request="ACK"/>\n',
        _answer("503 Service Unavailable"),
    ),
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
    ) -> None:
        """`proxy` must take registrations without a password; `folder` is for SIPp's files."""
        self.user = user
        self.host = own_host()
        self.port = 5060
        self._proxy = proxy
        self._registrations = 0
        self._folder = folder / f"{user}-{self.host}"
        self._folder.mkdir(parents=True)
        called, probed = _ANSWERS[behaviour]
        scenario = self._folder / "genesis.xml"
        scenario.write_text(_SCENARIO.format(called=called, probed=probed))
        command: list[str | Path] = [
            *("sipp", "-sf", scenario, "-nostdin", "-i", self.host, "-p", str(self.port), "-t", "u1"),
            *("-mi", self.host, "-mp", str(free_port("udp", self.host))),
            *("-ci", self.host, "-cp", str(free_port("udp", self.host)), "-aa"),
            # Calls that a death has cut off do not hold it up.
            *("-recv_timeout", "20000", "-deadcall_wait", "1000", "-max_recv_loops", "10000"),
        ]
        self._daemon = Daemon(command, ready=self._bound, directory=self._folder, timeout=30)

    @property
    def uri(self) -> str:
        """Its contact."""
        return f"sip:{self.user}@{self.host}:{self.port}"

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
        assert answer.startswith("SIP/2.0 200 "), answer

    def die(self) -> None:
        """Die at once, without a word."""
        self._daemon.kill()

    def hang(self) -> None:
        """Hear, and say nothing, until `go_on`."""
        self._daemon.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Come back to life."""
        self._daemon.process.send_signal(signal.SIGCONT)

    def _bound(self) -> bool:
        """Whether its UDP port is open: a request that comes earlier would be refused by the kernel."""
        address = "".join(f"{int(part):02X}" for part in reversed(self.host.split(".")))
        return f" {address}:{self.port:04X} " in Path("/proc/net/udp").read_text()
