"""SIP cores: CPU time per message, parsing and a proxy's edits, and per call through the transaction layer.

`python -m bench sip_parse`. One core, minimum of many short runs, since the machine may be shared. The
requests are those of the call benchmark; target: 12 µs for parse, Via, Record-Route, Max-Forwards, bytes.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

from bench.figure import Figure
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response, parse
from haproxy.sip.transaction import AckReceived, RequestReceived, ResponseReceived, TransactionLayer
from rtlib.address import pack

TARGET = 12.0

SDP = (
    b"v=0\r\no=user1 53655765 2353687637 IN IP4 127.0.5.2\r\ns=-\r\nc=IN IP4 127.0.5.2\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
)
COMMON = (
    b"%b sip:2005551212@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.5.1:6000;branch=z9hG4bK%d-%b\r\n"
    b"From: sipp <sip:sipp@127.0.5.1:6000>;tag=SIPpTag%d\r\nTo: <sip:2005551212@127.0.0.1:5060>%b\r\n"
    b"Call-ID: %d-1@127.0.5.1\r\nCSeq: %d %b\r\nMax-Forwards: 70\r\nUser-Agent: bench-uac\r\n"
)
INVITE_TAIL = (
    b"Contact: <sip:sipp@127.0.5.1:6000>\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE, UPDATE, INFO\r\n"
    b"Supported: replaces\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%b"
) % (len(SDP), SDP)


def request(method: bytes, number: int, cseq: int, kind: bytes, to_tag: bytes = b"") -> bytes:
    """One request of call `number`."""
    head = COMMON % (method, number, kind, number, to_tag, number, cseq, method)
    return head + (INVITE_TAIL if method == b"INVITE" else b"Content-Length: 0\r\n\r\n")


def edit(data: bytes) -> bytes:
    """What a proxy does to a request."""
    message = parse(data)
    message.prepend(b"Record-Route", b"<sip:127.0.0.1:5060;lr>")
    message.prepend(b"Via", b"SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK0123456789abcdef")
    message.set(b"Max-Forwards", b"%d" % ((message.max_forwards or 70) - 1))
    return bytes(message)


def unwind(data: bytes) -> bytes:
    """What a proxy does to a response."""
    message = parse(data)
    message.remove_first(b"via")
    return bytes(message)


class Relay:
    """A proxy without routing: every request goes to one place, every response back."""

    def __init__(self) -> None:
        self.now = 0.0
        self.layer = TransactionLayer(lambda flow: b"127.0.0.1:5060", random.Random(1).randbytes)
        self.caller = Flow("udp", 0, pack("127.0.5.1", 6000))
        self.callee = Flow("udp", 0, pack("127.0.5.2", 6000))

    def receive(self, data: bytes, flow: Flow) -> bytes:
        """Take a message in; give the last one that goes out."""
        layer = self.layer
        layer.receive(data, flow, self.now)
        while (event := layer.next_event()) is not None:
            if type(event) is RequestReceived:
                self._forward(event)
            elif type(event) is ResponseReceived:
                self._return(event.response, event)
            elif type(event) is AckReceived:
                layer.send(event.request, self.callee)
        return layer.to_send(self.now)[-1][0]

    def _forward(self, event: RequestReceived) -> None:
        request = event.request.copy()
        if request.method == b"INVITE":
            self.layer.respond(event.transaction, event.request.response(100), self.now)
            request.prepend(b"Record-Route", b"<sip:127.0.0.1:5060;lr>")
        request.set(b"Max-Forwards", b"%d" % ((request.max_forwards or 70) - 1))
        self.layer.request(request, self.callee, self.now).context = event.transaction

    def _return(self, response: Response, event: ResponseReceived) -> None:
        response.remove_first(b"via")
        self.layer.respond(event.transaction.context, response, self.now)

    def call(self, number: int) -> None:
        """INVITE, 180, 200, ACK, BYE, 200: six datagrams in, seven out."""
        invite = parse(self.receive(request(b"INVITE", number, 1, b"i"), self.caller))
        assert isinstance(invite, Request)
        for status in (180, 200):
            self.receive(bytes(invite.response(status, to_tag=b"t")), self.callee)
        self.receive(request(b"ACK", number, 1, b"a", b";tag=t"), self.caller)
        bye = parse(self.receive(request(b"BYE", number, 2, b"b", b";tag=t"), self.caller))
        assert isinstance(bye, Request)
        self.receive(bytes(bye.response(200)), self.callee)


def _peers(number: int) -> None:
    """The part of `Relay.call` that is not the relay's: what the peers do."""
    invite = request(b"INVITE", number, 1, b"i")
    request(b"ACK", number, 1, b"a", b";tag=t")
    parsed = parse(edit(invite))
    assert isinstance(parsed, Request)
    for status in (180, 200, 200):
        bytes(parsed.response(status, to_tag=b"t"))
    parse(edit(request(b"BYE", number, 2, b"b", b";tag=t")))


def fastest(work: Callable[[], object], runs: int = 150, loops: int = 300) -> float:
    """Microseconds of CPU per call of `work`: the best of `runs`."""
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        for _ in range(loops):
            work()
        best = min(best, time.process_time() - start)
    return best / loops * 1e6


def per_call(rounds: int = 12, calls: int = 500) -> float:
    """Microseconds of CPU per call through the layer, timers included, without the peers' part."""
    best = float("inf")
    relay = Relay()
    number = 0
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(calls):
            number += 1
            relay.now += 0.01
            relay.call(number)
            relay.layer.handle_timer(relay.now)
        best = min(best, time.process_time() - start)
    start = time.process_time()
    for each in range(calls):
        _peers(each)
    return (best - (time.process_time() - start)) / calls * 1e6


def measure() -> Iterator[Figure]:
    """Parse alone, parse with a proxy's edits, and a whole call."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    invite = request(b"INVITE", 1, 1, b"i")
    bye = request(b"BYE", 1, 2, b"b", b";tag=t")
    forwarded = parse(edit(invite))
    assert isinstance(forwarded, Request)
    ok = bytes(forwarded.response(200, to_tag=b"t"))
    yield Figure("parse INVITE", fastest(lambda: parse(invite)), "us")
    yield Figure("parse and edit INVITE", fastest(lambda: edit(invite)), "us", TARGET, "goal", 1.0)
    yield Figure("parse and edit BYE", fastest(lambda: edit(bye)), "us", TARGET, "goal", 1.0)
    yield Figure("parse and unwind 200", fastest(lambda: unwind(ok)), "us", TARGET, "goal", 1.0)
    yield Figure("call through the transaction layer", per_call(), "us")
