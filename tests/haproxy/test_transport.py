"""The proxy's sockets, real ones on loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from haproxy.proxy import overload
from haproxy.proxy.overload import Overload, OverloadBegan
from haproxy.sip.flow import Flow
from haproxy.testing.authority import Authority
from haproxy.tls.section import TlsSection
from haproxy.tls.store import TlsStore
from haproxy.transport import BoundSocket, SipTransport
from rtlib.address import Address, pack, unpack
from rtlib.listen import bind_datagram, bind_stream
from rtlib.testing import loop

MESSAGE = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"
HOST = "127.0.0.1"


class Gate:
    """Lets in who is not shut out."""

    def __init__(self) -> None:
        self.shut: set[str] = set()
        self.offended: list[Address] = []

    def admit(self, batch: list[tuple[bytes, Address]], later: object = None) -> list[tuple[bytes, Address]]:
        return [datagram for datagram in batch if not self.shuts(datagram[1])]

    def shuts(self, address: Address) -> bool:
        return unpack(address)[0] in self.shut

    def offend(self, address: Address) -> None:
        self.offended.append(address)


class Element:
    """One SIP element with a socket for each transport."""

    def __init__(self, tls: TlsStore | None = None) -> None:
        self.udp, self.tcp, self.tls = bind_datagram(HOST, 0), bind_stream(HOST, 0), bind_stream(HOST, 0)
        self.udp_address, self.tcp_address, self.tls_address = (
            pack(*sock.getsockname()) for sock in (self.udp, self.tcp, self.tls)
        )
        self.received: list[tuple[bytes, Flow]] = []
        self.failed: list[tuple[Flow, str]] = []
        self.offences: list[str] = []
        self.gate = Gate()
        self.overloads: list[overload.Event] = []
        self._waiting: tuple[Callable[[], bool], Deferred[None]] | None = None
        sockets = [BoundSocket(0, "udp", self.udp, HOST), BoundSocket(1, "tcp", self.tcp, HOST)]
        if tls is None:
            self.tls.close()
        else:
            sockets.append(BoundSocket(2, "tls", self.tls, HOST))
        self.transport = SipTransport(
            reactor,
            sockets,
            self._receive,
            self._fail,
            self._offend,
            gate=self.gate,
            overload=Overload(lambda source: False, self.overloads.append),
            tls=tls,
        )
        self.transport.startService()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that this element hears of."""
        if not condition():
            self._waiting = condition, Deferred()
            await self._waiting[1]

    async def stop(self) -> None:
        await self.transport.stopService()
        await self.until(lambda: self.transport.connections == 0)

    def _receive(self, batch: list[tuple[bytes, Flow]]) -> None:
        self.received += batch
        self._check()

    def _fail(self, flow: Flow, reason: str) -> None:
        self.failed.append((flow, reason))
        self._check()

    def _offend(self, kind: str, source: bytes, reason: str) -> None:
        self.offences.append(f"{kind}: {reason}")
        self._check()

    def _check(self) -> None:
        if self._waiting is not None and self._waiting[0]():
            waiting, self._waiting = self._waiting, None
            waiting[1].callback(None)


def run(story: Callable[[Element, Element], Any], tls: TlsStore | None = None) -> None:
    async def main() -> None:
        one, two = Element(tls), Element(tls)
        await story(one, two)
        await one.stop()
        await two.stop()

    loop.run(main)


def test_datagrams() -> None:
    async def story(one: Element, two: Element) -> None:
        flow = Flow("udp", 0, two.udp_address)
        one.transport.send([(b"\r\n\r\n", flow), (MESSAGE, flow), (b"\0", flow), (MESSAGE, flow)])
        await two.until(lambda: len(two.received) == 2)
        assert two.received == [(MESSAGE, Flow("udp", 0, one.udp_address))] * 2

    run(story)


def test_nobody_listens() -> None:
    async def story(one: Element, two: Element) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HOST, 0))
            gone = pack(*sock.getsockname())
        flows = [Flow("udp", 0, gone), Flow("tcp", 1, gone)]
        one.transport.send([(MESSAGE, flow) for flow in flows])
        await one.until(lambda: {flow for flow, _ in one.failed} == set(flows))

    run(story)


def test_too_long_a_datagram_says_nothing_about_its_destination() -> None:
    async def story(one: Element, two: Element) -> None:
        there = Flow("udp", 0, two.udp_address)
        one.transport.send([(MESSAGE + b"x" * 65_500, there), (MESSAGE, there)])
        await two.until(lambda: len(two.received) == 1)
        assert one.failed == []
        (counters,) = one.transport.counters().values()
        assert (counters.send_errors, counters.sent) == (1, 1)

    run(story)


def test_what_we_were_too_late_to_read_is_known() -> None:
    async def story(one: Element, two: Element) -> None:
        begin = time.monotonic()
        assert not one.transport.was_deaf(begin)
        one.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(20):  # nothing is read until this turn of the reactor is over
            two.udp.sendto(MESSAGE + bytes(1000), one.udp.getsockname())
        assert one.transport.was_deaf(begin)
        assert not one.transport.was_deaf(time.monotonic())
        assert [type(each) for each in one.overloads] == [OverloadBegan]
        assert not two.transport.was_deaf(begin)

    run(story)


def test_one_connection_serves_both_ways() -> None:
    async def story(one: Element, two: Element) -> None:
        there = Flow("tcp", 1, two.tcp_address)
        one.transport.send([(MESSAGE, there), (MESSAGE, there)])
        await two.until(lambda: len(two.received) == 2)
        one.transport.send([(MESSAGE, there)])
        await two.until(lambda: len(two.received) == 3)
        assert two.transport.connections == one.transport.connections == 1
        two.transport.send([(MESSAGE, two.received[0][1])])
        await one.until(lambda: len(one.received) == 1)
        assert one.received[0][1].remote == two.tcp_address

    run(story)


def test_a_closed_connection_fails_its_flows() -> None:
    async def story(one: Element, two: Element) -> None:
        one.transport.send([(MESSAGE, Flow("tcp", 1, two.tcp_address))])
        await two.until(lambda: len(two.received) == 1)
        back = two.received[0][1]
        two.transport.close(back)
        await one.until(lambda: len(one.failed) == 2)
        assert {flow.connection for flow, _ in one.failed} == {0, 1}
        await two.until(lambda: two.transport.connections == 0)
        two.failed.clear()
        two.transport.send([(MESSAGE, back)])
        await two.until(lambda: bool(two.failed))
        assert two.failed[0][0] == back

    run(story)


def test_nothing_comes_from_who_is_shut_out() -> None:
    """Datagrams are dropped, a connection is cut at its first message, and another one at once."""

    async def story(one: Element, two: Element) -> None:
        one.transport.send([(MESSAGE, Flow("tcp", 1, two.tcp_address))])
        await two.until(lambda: len(two.received) == 1)
        two.gate.shut = {HOST}
        one.transport.send([(MESSAGE, Flow("udp", 0, two.udp_address))])
        one.transport.send([(MESSAGE, Flow("tcp", 1, two.tcp_address))])
        await one.until(lambda: len(one.failed) == 2)
        assert (two.transport.connections, two.transport.refused) == (0, 0)
        one.transport.send([(MESSAGE, Flow("tcp", 1, two.tcp_address))])
        await one.until(lambda: len(one.failed) == 4)
        assert (two.transport.connections, two.transport.refused) == (0, 1)
        two.gate.shut = set()
        one.transport.send([(MESSAGE, Flow("udp", 0, two.udp_address))])
        await two.until(lambda: len(two.received) == 2)

    run(story)


def test_who_sends_nonsense_counts_at_the_gate() -> None:
    async def story(one: Element, two: Element) -> None:
        one.transport.send([(MESSAGE.replace(b": 0", b": x"), Flow("tcp", 1, two.tcp_address))])
        await two.until(lambda: bool(two.offences))
        assert [unpack(address)[0] for address in two.gate.offended] == [HOST]

    run(story)


def tls_store(folder: Path) -> TlsStore:
    """Both ends with a certificate for `peer.example`; the client verifies."""
    authority = Authority(folder / "pki")
    authority.issue("peer", ["peer.example"])
    pair, trusted = authority.folder / "peer.pem", authority.certificate
    server = TlsSection("default", "server", pair, pair)
    return TlsStore([server, TlsSection("default", "client", pair, pair, verify="on", ca_list=trusted)])


def test_tls_connections_are_shared_by_domain(tmp_path: Path) -> None:
    async def story(one: Element, two: Element) -> None:
        there = Flow("tls", 2, two.tls_address, domain="peer.example")
        one.transport.send([(MESSAGE, there), (MESSAGE, there)])
        await two.until(lambda: len(two.received) == 2)
        one.transport.send([(MESSAGE, there)])
        await two.until(lambda: len(two.received) == 3)
        assert one.transport.connections_by() == {"tcp": 0, "tls": 1}
        two.transport.send([(MESSAGE, two.received[0][1])])
        await one.until(lambda: len(one.received) == 1)
        assert one.received[0][1] == there._replace(connection=1)
        # Inside a dialog there may be the address only: the peer has proved its name before.
        one.transport.send([(MESSAGE, there._replace(domain=""))])
        await two.until(lambda: len(two.received) == 4)
        assert one.transport.connections_by() == {"tcp": 0, "tls": 1}
        two.transport.close(two.received[0][1])
        await one.until(lambda: len(one.failed) == 2)
        one.transport.send([(MESSAGE, there._replace(domain=""))])
        await two.until(lambda: len(two.received) == 5)
        assert [flow for flow, _ in one.failed] == [there._replace(connection=1), there]
        assert one.offences == two.offences == []

    run(story, tls_store(tmp_path))


def test_nothing_is_sent_to_a_peer_of_another_name(tmp_path: Path) -> None:
    async def story(one: Element, two: Element) -> None:
        flow = Flow("tls", 2, two.tls_address, domain="somebody.example")
        one.transport.send([(MESSAGE, flow)])
        await one.until(lambda: len(one.failed) == 2)
        assert one.failed[1][0] == flow
        assert one.offences == [
            "tls: handshake failed: the certificate is for peer.example, not for somebody.example"
        ]
        await two.until(lambda: bool(two.offences))
        assert two.received == []
        assert "alert" in two.offences[0]

    run(story, tls_store(tmp_path))


def test_who_does_not_speak_tls(tmp_path: Path) -> None:
    async def story(one: Element, two: Element) -> None:
        with socket.create_connection(unpack(two.tls_address)) as sock:
            sock.sendall(MESSAGE)
            await two.until(lambda: bool(two.offences))
        assert two.offences[0].startswith("tls: handshake failed: ")
        assert two.received == []

    run(story, tls_store(tmp_path))
