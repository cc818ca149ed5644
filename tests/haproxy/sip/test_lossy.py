"""Client and server layers over a wire that loses, doubles and reorders: all transactions end well."""

from __future__ import annotations

import random

import pytest

from haproxy.sip.event import Event
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.transaction import RequestReceived, ResponseReceived, Terminated, Timeout, TransactionLayer
from rtlib.address import pack
from rtlib.testing.pump import Pump

CLIENT = Flow("udp", 1, pack("192.0.2.1", 5060))
SERVER = Flow("udp", 1, pack("192.0.2.2", 5060))


class Answering:
    """A layer and a user that answers at once: 404 to INVITE, which then needs an ACK, 200 to all others."""

    def __init__(self, layer: TransactionLayer) -> None:
        self._layer = layer
        self._now = 0.0
        self.receive, self.get_timer = layer.receive, layer.get_timer
        self.handle_timer = layer.handle_timer

    def to_send(self, now: float) -> list[tuple[bytes, Flow]]:
        self._now = now
        return self._layer.to_send(now)

    def next_event(self) -> Event | None:
        event = self._layer.next_event()
        if isinstance(event, RequestReceived):
            status = 404 if event.request.method == b"INVITE" else 200
            response = event.request.response(status, to_tag=b"t")
            self._layer.respond(event.transaction, response, self._now)
        return event


def layer(host: bytes, seed: int) -> TransactionLayer:
    return TransactionLayer(lambda flow: host + b":5060", random.Random(seed).randbytes)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("method", [b"INVITE", b"OPTIONS"])
def test_every_transaction_ends_once(method: bytes, seed: int) -> None:
    pump: Pump[Flow] = Pump(seed=seed, loss=0.3, duplicate=0.2, delay=0.02, jitter=0.4)
    client, server = layer(b"192.0.2.1", seed), layer(b"192.0.2.2", seed + 100)
    pump.add(CLIENT, client)
    pump.add(SERVER, Answering(server))
    for number in range(40):
        headers = [
            (b"From", b"<sip:a@192.0.2.1>;tag=f"),
            (b"To", b"<sip:b@192.0.2.2>"),
            (b"Call-ID", b"%d" % number),
            (b"CSeq", b"1 " + method),
        ]
        request = Request.create(method, b"sip:b@192.0.2.2", headers)
        client.request(request, SERVER, 0.0).context = number
    pump.run(200.0)
    answered = [event for event in pump.events[CLIENT] if isinstance(event, ResponseReceived)]
    final = [event.response.call_id for event in answered if event.response.status >= 200]
    assert sorted(final, key=int) == [b"%d" % number for number in range(40)]
    received = [event.request.call_id for event in pump.events[SERVER] if isinstance(event, RequestReceived)]
    assert sorted(received, key=int) == [b"%d" % number for number in range(40)]
    assert sum(isinstance(event, Terminated) for event in pump.events[CLIENT]) == 40
    assert not any(isinstance(event, Timeout) for event in pump.events[CLIENT] + pump.events[SERVER])
    assert (len(client), len(server)) == (0, 0)
    assert pump.lost > 20
