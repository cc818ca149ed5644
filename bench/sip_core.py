"""genproxy's core: CPU time of a call and of a registration, without sockets.

`python -m bench sip_core`. The messages of bench/sip go through the core of a configured proxy in batches, as
the sockets hand them up under load, and the transactions are forgotten when their timers say so. Minimum of
many short runs, since the machine may be shared: it tells what a change of the core is worth.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from bench.figure import Figure
from haproxy.assembly import Assembly, assemble
from haproxy.network import sides_of
from haproxy.settings import Settings
from haproxy.sip.flow import Flow
from rtlib import digest
from rtlib.address import pack

HOST: Final = "127.0.0.1"
WINDOW: Final = 48
RUNS: Final = 40
STEP: Final = 1.0
"""Seconds that pass from run to run."""
WARMING: Final = 34
"""Runs that do not count: from then on as many transactions are forgotten in a run as are made."""

OFFER: Final = (
    b"v=0\r\no=- 53655765 2353687637 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
)
INVITE: Final = (
    b"INVITE sip:2005551212@127.0.0.1:5060 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 127.0.0.1:6000;branch=z9hG4bK1f-%d-1\r\n"
    b"From: caller <sip:caller@127.0.0.1:6000>;tag=c%d\r\nTo: <sip:2005551212@127.0.0.1:5060>\r\n"
    b"Call-ID: %d-1f@127.0.0.1\r\nCSeq: 1 INVITE\r\nContact: <sip:caller@127.0.0.1:6000>\r\n"
    b"Max-Forwards: 70\r\nUser-Agent: load\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, INFO\r\n"
    b"Supported: replaces\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b"
)
FOLLOW: Final = (
    b"%b sip:genesis@127.0.0.1:7000 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:6000;branch=z9hG4bK1f-%d-%d\r\n"
    b"%bFrom: caller <sip:caller@127.0.0.1:6000>;tag=c%d\r\nTo: <sip:2005551212@127.0.0.1:5060>;tag=g\r\n"
    b"Call-ID: %d-1f@127.0.0.1\r\nCSeq: %d %b\r\nMax-Forwards: 70\r\nUser-Agent: load\r\n"
    b"Content-Length: 0\r\n\r\n"
)
REGISTER: Final = (
    b"REGISTER sip:bench.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK1f-%d-1\r\n"
    b"From: <sip:u%d@bench.example>;tag=r%d\r\nTo: <sip:u%d@bench.example>\r\nCall-ID: %d-1f@127.0.0.1\r\n"
    b"CSeq: %d REGISTER\r\nContact: <sip:u%d@127.0.0.1:%d>\r\nMax-Forwards: 70\r\nUser-Agent: load\r\n%b"
    b"Expires: 600\r\nContent-Length: 0\r\n\r\n"
)
CALLER, GENESIS = 6000, 7000
USERS: Final = 2000


class Stage:
    """A proxy's core, its clock, and what it takes of the processor's time."""

    def __init__(self, *, auth: bool = False) -> None:
        names = [*(f"u{number}" for number in range(USERS)), "genesis_a"]
        users = [{"username": name, "domain": "bench.example", "password": "secret"} for name in names]
        lists = {"allowList": ["127.0.0.2"], "denyList": ["127.0.0.3"], "proxyList": ["127.0.0.4"]}
        settings = Settings.model_validate(
            {
                "system": {"privateIP": HOST, "privateSubnet": 8, "alias": ["bench.example"]},
                "proxy": {"enableAstFailover": False, "enableRegAuth": auth, "strangerRate": 0, **lists},
                "subscribers": users,
            }
        )
        entropy = random.Random(1).randbytes
        self.assembly: Assembly = assemble(
            settings, sides_of(settings), key=bytes(32), entropy=entropy, media=None, preferred=1
        )
        self.core = self.assembly.core
        self.now = 1000.0
        self.spent = 0.0
        self._number = 0
        enrol = REGISTER.replace(b"sip:u%d@", b"sip:genesis_a@")
        if not auth:
            self.feed([enrol % (GENESIS, 0, 0, 0, 1, GENESIS, b"")], GENESIS)

    def feed(self, messages: Iterable[bytes], port: int) -> list[bytes]:
        """Let a batch of messages come from a port; what is sent."""
        flow = Flow("udp", 0, pack(HOST, port))
        batch = [(message, flow) for message in messages]
        core, now = self.core, self.now
        begun = time.process_time()
        for data, source in batch:
            core.receive(data, source, now)
        sent = core.to_send(now)
        while core.next_event() is not None:
            pass
        core.get_timer()
        self.spent += time.process_time() - begun
        return [data for data, _ in sent]

    def pass_time(self) -> None:
        """Let timers come due."""
        self.now += STEP
        begun = time.process_time()
        self.core.handle_timer(self.now)
        self.core.to_send(self.now)
        self.spent += time.process_time() - begun

    def calls(self) -> int:
        """Calls from the first message to the last, all in step; how many."""
        numbers = range(self._number, self._number + WINDOW)
        self._number += WINDOW
        invites = self.feed([INVITE % (n, n, n, len(OFFER), OFFER) for n in numbers], CALLER)
        answers = [answer(invite, status) for invite in invites for status in (b"180 Ringing", b"200 OK")]
        answered = self.feed(answers, GENESIS)[1::2]
        requests = []
        for n, response in zip(numbers, answered, strict=True):
            route = _lines(response, b"Record-Route")[0].removeprefix(b"Record-") + b"\r\n"
            requests += [
                FOLLOW % (method, n, cseq + 1, route, n, n, cseq, method)
                for method, cseq in ((b"ACK", 1), (b"BYE", 2))
            ]
        byes = self.feed(requests, CALLER)[1::2]
        ended = self.feed([answer(bye, b"200 OK") for bye in byes], GENESIS)
        if len(ended) != WINDOW:
            raise RuntimeError("calls were lost")
        return WINDOW

    def registrations(self) -> int:
        """Registrations of different users; how many."""
        numbers = range(self._number, self._number + WINDOW)
        self._number += WINDOW
        done = self.feed([enrolment(number) for number in numbers], CALLER)
        if done[0].startswith(b"SIP/2.0 401"):
            again = zip(numbers, done, strict=True)
            done = self.feed([enrolment(number, 2, proof(number, asked)) for number, asked in again], CALLER)
        if not all(message.startswith(b"SIP/2.0 200") for message in done):
            raise RuntimeError("registrations were refused")
        return len(done)


def enrolment(number: int, cseq: int = 1, proof: bytes = b"") -> bytes:
    """The REGISTER of a user."""
    user = number % USERS
    return REGISTER % (CALLER, number, user, number, user, number, cseq, user, CALLER, proof)


def proof(number: int, asked: bytes) -> bytes:
    """The line that answers a 401."""
    challenge = digest.parse_challenge(_lines(asked, b"WWW-Authenticate")[0].partition(b": ")[2])
    if challenge is None:
        raise RuntimeError("a 401 without a challenge")
    name = f"u{number % USERS}"
    secret = digest.ha1(name, challenge.realm, "secret")
    given = digest.answer(challenge, name, secret, "REGISTER", "sip:bench.example", cnonce="0a4f113b")
    return b"Authorization: %b\r\n" % bytes(given)


def answer(request: bytes, status: bytes) -> bytes:
    """What the Genesis system says."""
    lines = [b"SIP/2.0 " + status]
    for name in (b"Via", b"Record-Route", b"From", b"To", b"Call-ID", b"CSeq"):
        lines += _lines(request, name)
    to = next(number for number, line in enumerate(lines) if line.startswith(b"To:"))
    if b";tag=" not in lines[to]:
        lines[to] += b";tag=g"
    body = b""
    if request.startswith(b"INVITE"):
        lines.append(b"Contact: <sip:genesis@127.0.0.1:7000>")
        if status == b"200 OK":
            body = OFFER
            lines.append(b"Content-Type: application/sdp")
    lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def _lines(message: bytes, name: bytes) -> list[bytes]:
    return [line for line in message.split(b"\r\n") if line.startswith(name + b":")]


def cost(stage: Stage, work: Callable[[], int]) -> float:
    """Microseconds of each that `work` does, with its timers: the best of several runs."""
    costs = []
    for _ in range(WARMING + RUNS):
        stage.spent = 0.0
        done = sum(work() for _ in range(8))
        stage.pass_time()
        costs.append(stage.spent / done)
    return min(costs[WARMING:]) * 1e6


def measure() -> Iterator[Figure]:
    """A call, a registration, and one with digest."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    stage = Stage()
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 1_000_000)  # some looks at what is new, none at the old, as with rtlib.collector
    yield Figure("call", cost(stage, stage.calls), "us")
    stage = Stage()
    yield Figure("REGISTER", cost(stage, stage.registrations), "us")
    stage = Stage(auth=True)
    yield Figure("REGISTER with digest", cost(stage, stage.registrations), "us")
