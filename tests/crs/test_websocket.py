"""Connections of clients, on a real port with real TLS."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from crs.connection import Connection
from crs.gate import ClientGate
from crs.identity import Identity
from crs.keepalive import KeepAlive
from crs.limits import Limits, LimitTable
from crs.signaling.message import MAX_MESSAGE, SUBPROTOCOL
from crs.websocket import ClientSocket
from rtlib.listen import bind_stream
from rtlib.testing.loop import installed_reactor, run
from rtlib.tls import PskClientOptions

KEY = bytes(32)
ME = b"+46@acc"


class Clients:
    """The receiver: answers each message with itself, and remembers."""

    def __init__(self) -> None:
        self.open: list[Connection] = []
        self.seen: list[Identity] = []
        self.offences: list[str] = []

    def opened(self, connection: Connection) -> None:
        self.open.append(connection)
        self.seen.append(connection.identity)

    def received(self, connection: Connection, data: bytes) -> None:
        connection.send(data)

    def flush(self) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        self.open.remove(connection)

    def offended(self, kind: str, host: str, reason: str) -> None:
        assert host == "127.0.0.1"
        self.offences.append(kind)


class Phone(WebSocketClientProtocol):
    """A client that remembers."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.inbox: list[bytes] = []
        self.pongs: list[bytes] = []
        self.pinged = False
        self.opened = False
        self.gone = False
        self.clean = False

    def onOpen(self) -> None:
        self.opened = True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.inbox.append(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.gone, self.clean = True, wasClean

    def onPong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def onPing(self, payload: bytes) -> None:
        self.pinged = True
        super().onPing(payload)


class Raw(Protocol):
    """A stream of bytes."""

    transport: Any
    gone = False
    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = True


class Place:
    """The server's port and ways to connect to it."""

    def __init__(self, limits: LimitTable) -> None:
        self.clients = Clients()
        reactor = installed_reactor()
        sock = bind_stream("127.0.0.1", 0)
        self.gate = ClientGate(sock, {ME: KEY}.get, self.clients, reactor=reactor, limits=limits)
        self._phones: list[Any] = []

    async def phone(self, *, key: bytes = KEY, protocols: list[str] | None = None) -> Phone:
        offered = [SUBPROTOCOL] if protocols is None else protocols
        factory = WebSocketClientFactory("wss://127.0.0.1", protocols=offered, reactor=installed_reactor())
        factory.protocol = Phone
        factory.noisy = False
        phone: Any = await wrapClientTLS(PskClientOptions(ME, key), self.endpoint()).connect(factory)
        self._phones.append(phone)
        await until(lambda: phone.opened or phone.gone)
        assert isinstance(phone, Phone)
        return phone

    async def raw(self) -> Raw:
        connection = await self.endpoint().connect(Factory.forProtocol(Raw))
        self._phones.append(connection)
        assert isinstance(connection, Raw)
        return connection

    async def close(self) -> None:
        self.gate.stopService()
        for phone in self._phones:
            if not phone.gone:
                phone.transport.abortConnection()
        await until(lambda: not self.gate.handshakes and not self.clients.open)

    def endpoint(self) -> TCP4ClientEndpoint:
        port = int(self.gate.address[1])
        return TCP4ClientEndpoint(installed_reactor(), "127.0.0.1", port)


async def until(predicate: Callable[[], object]) -> None:
    for _ in range(1000):
        if predicate():
            return
        await deferLater(installed_reactor(), 0.005, lambda: None)
    raise AssertionError("it did not come true")


def at_the_port(
    story: Callable[[Place], Coroutine[Deferred[Any], Any, None]], limits: LimitTable | None = None
) -> Clients:
    async def main() -> Clients:
        place = Place(limits or LimitTable())
        place.gate.startService()
        try:
            await story(place)
        finally:
            await place.close()
        return place.clients

    # The timers of Autobahn's clients are left to run out: there is no way to cancel them.
    return run(main, timeout=30, clean=False)


def test_a_connection_from_open_to_close() -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.sendMessage(b"hello", isBinary=True)
        await until(lambda: phone.inbox == [b"hello"])
        place.clients.open[0].close(4000, "superseded")
        await until(lambda: phone.gone)
        assert (phone.remoteCloseCode, phone.remoteCloseReason) == (4000, "superseded")

    clients = at_the_port(story)
    assert clients.seen == [Identity("+46", "acc")]
    assert clients.offences == [] and clients.open == []


def test_a_client_that_said_goodbye_is_gone_at_once() -> None:
    """What is sent to it afterwards disturbs nobody: the batch may hold messages of others."""

    async def story(place: Place) -> None:
        phone = await place.phone()
        connection = place.clients.open[0]
        phone.sendClose(1000)
        await until(lambda: not place.clients.open)
        connection.send(b"too late")
        connection.close(4001, "shutdown")
        await until(lambda: phone.gone)
        assert phone.remoteCloseCode == 1000

    assert at_the_port(story).offences == []


def test_a_connection_that_is_over_leaves_nothing_for_the_collector() -> None:
    """The daemon's collector rests: what it alone could free would be a leak."""

    def kept() -> int:
        return sum(type(each) is ClientSocket for each in gc.get_objects())

    async def story(place: Place) -> None:
        before = kept()
        polite, rude, stranger = await place.phone(), await place.phone(), await place.raw()
        await until(lambda: place.gate.handshakes.total() == 1)
        assert kept() == before + 3
        polite.sendClose(1000)
        rude.transport.abortConnection()
        stranger.transport.abortConnection()
        await until(lambda: not place.clients.open and not place.gate.handshakes)
        await until(lambda: kept() == before)

    gc.collect()
    gc.disable()
    try:
        at_the_port(story)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("arguments", "offence"),
    [({"key": bytes(31) + b"\1"}, "handshake failed"), ({"protocols": ["crs.v9"]}, "bad HTTP request")],
)
def test_who_is_refused(arguments: dict[str, Any], offence: str) -> None:
    async def story(place: Place) -> None:
        phone = await place.phone(**arguments)
        await until(lambda: phone.gone)
        assert not phone.opened

    clients = at_the_port(story)
    assert offence in clients.offences and clients.seen == []


@pytest.mark.parametrize(
    ("data", "binary", "code"), [(b"text", False, 1003), (bytes(MAX_MESSAGE + 1), True, 1009)]
)
def test_messages_that_close_the_connection(data: bytes, binary: bool, code: int) -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.sendMessage(data, isBinary=binary)
        await until(lambda: phone.gone)
        assert phone.remoteCloseCode == code
        assert phone.inbox == []

    assert len(at_the_port(story).offences) == 1


def test_bytes_that_are_no_tls() -> None:
    async def story(place: Place) -> None:
        stranger = await place.raw()
        assert stranger.transport is not None
        stranger.transport.write(b"GET / HTTP/1.1\r\n\r\n" * 20)
        await until(lambda: stranger.gone)
        assert (await place.phone()).opened

    assert at_the_port(story).offences == ["handshake failed"]


def test_one_address_has_a_number_of_handshakes() -> None:
    async def story(place: Place) -> None:
        first, second = await place.raw(), await place.raw()
        await until(lambda: place.gate.handshakes.total() == 2)
        third = await place.raw()
        await until(lambda: third.gone)
        assert not first.gone and not second.gone
        assert first.transport is not None
        first.transport.loseConnection()
        await until(lambda: place.gate.handshakes.total() == 1)
        assert (await place.phone()).opened

    limits = LimitTable([("handshakes-per-address", 2, None)])
    assert "too many handshakes" in at_the_port(story, limits).offences
    assert limits.reached == {"handshakes-per-address": 1}


def test_a_handshake_has_a_time() -> None:
    async def story(place: Place) -> None:
        stranger = await place.raw()
        await until(lambda: stranger.gone)
        assert (await place.phone()).opened

    limits = LimitTable([("handshake-time", 1, None)])
    assert at_the_port(story, limits).offences == ["handshake too slow"]
    assert limits.reached == {"handshake-time": 1}


def test_an_accounts_messages_may_be_limited_further() -> None:
    async def story(place: Place) -> None:
        place.gate.limits.replace([("message-size", 2000, "acc")])
        phone = await place.phone()
        phone.sendMessage(bytes(2000), isBinary=True)
        await until(lambda: phone.inbox == [bytes(2000)])
        phone.sendMessage(bytes(2001), isBinary=True)
        await until(lambda: phone.gone)
        assert phone.remoteCloseCode == 1009
        assert place.gate.limits.reached == {"message-size": 1}

    at_the_port(story)


def test_who_does_not_read_is_cut_off() -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.transport.transport.pauseProducing()
        connection = place.clients.open[0]
        sent = 0
        while place.clients.open and sent < 64 * 2**20:
            connection.send(bytes(32 * 1024))
            sent += 32 * 1024
            await deferLater(installed_reactor(), 0, lambda: None)
        assert not place.clients.open
        assert sent > Limits().outgoing_buffer

    assert at_the_port(story).offences == ["does not read"]


BAD_FRAMES: dict[str, tuple[bytes, int]] = {
    "reserved bits": (b"\xc2\x80\0\0\0\0", 1002),
    "unknown opcode": (b"\x83\x80\0\0\0\0", 1002),
    "fragmented ping": (b"\x09\x80\0\0\0\0", 1002),
    "ping too long": (b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126), 1002),
    "not masked": (b"\x82\x01x", 1002),
    "continuation of nothing": (b"\x80\x80\0\0\0\0", 1002),
    "length not minimal": (b"\x82\xfe\x00\x01\0\0\0\0x", 1002),
    "giant length": (b"\x82\xff\0\0\x01\0\0\0\0\0\0\0\0\0", 1009),
    "too long in fragments": ((b"\x02\xfe\x60\x00\0\0\0\0" + bytes(0x6000)) * 2, 1002),
    "no UTF-8": (b"\x81\x81\0\0\0\0\xff", 1007),
    "text": (b"\x81\x81\0\0\0\0x", 1003),
    "bad close code": (b"\x88\x82\0\0\0\0\x03\xe7", 1002),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_frames_that_close_the_connection(name: str) -> None:
    """Autobahn's client is told the code; what follows the bad frame is never answered."""
    data, code = BAD_FRAMES[name]

    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.sendMessage(b"before", isBinary=True)
        phone.transport.write(data + b"\x82\x81\0\0\0\0x")
        await until(lambda: phone.gone)
        assert (phone.remoteCloseCode, phone.inbox) == (code, [b"before"])
        await until(lambda: not place.clients.open)

    assert len(at_the_port(story).offences) == 1


def test_fragments_and_pings() -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.beginMessage(isBinary=True)
        phone.sendMessageFrame(b"one ")
        phone.sendPing(b"are you there?")
        phone.sendMessageFrame(b"message")
        phone.endMessage()
        await until(lambda: phone.inbox == [b"one message"])
        assert phone.pongs == [b"are you there?"]

    assert at_the_port(story).offences == []


@pytest.mark.parametrize("code", [1000, 3000, 4321])
def test_a_farewell_is_answered_with_its_code(code: int) -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.sendClose(code, "enough")
        await until(lambda: phone.gone)
        assert (phone.remoteCloseCode, phone.clean) == (code, True)

    assert at_the_port(story).offences == []


def test_both_say_goodbye_at_once() -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        place.clients.open[0].close(4000, "superseded")
        phone.sendClose(1000)
        await until(lambda: phone.gone and not place.clients.open)

    assert at_the_port(story).offences == []


def test_who_does_not_answer_a_close_is_cut_off() -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.transport.transport.pauseProducing()
        place.clients.open[0].close(4000, "superseded")
        await until(lambda: not place.clients.open)
        await until(lambda: not place.gate.open)

    at_the_port(story)


def test_a_slow_reader_gets_everything_within_the_bound() -> None:
    async def story(place: Place) -> None:
        place.gate.limits.replace([("outgoing-buffer", 64 * 2**20, None)])
        phone = await place.phone()
        phone.transport.transport.pauseProducing()
        messages = [bytes([number % 256]) * 32768 for number in range(500)]
        for message in messages:
            place.clients.open[0].send(message)
        await deferLater(installed_reactor(), 0.05, lambda: None)
        assert len(phone.inbox) < len(messages)
        phone.transport.transport.resumeProducing()
        await until(lambda: len(phone.inbox) == len(messages))
        assert phone.inbox == messages

    assert at_the_port(story).offences == []


def test_silent_clients_are_pinged_and_those_that_do_not_answer_are_cut_off() -> None:
    async def story(place: Place) -> None:
        place.gate.keep_alive.replace([("127.0.0.0/8", KeepAlive("ws", 0.5, 0.5))])
        alive, dead = await place.phone(), await place.phone()
        dead.transport.transport.pauseProducing()
        await until(lambda: len(place.clients.open) == 1)
        assert alive.pinged and not alive.gone

    at_the_port(story)


def test_a_connection_that_is_cut_off_is_closed() -> None:
    async def story(place: Place) -> None:
        phone = await place.phone()
        phone.transport.abortConnection()
        await until(lambda: not place.clients.open)

    assert at_the_port(story).offences == []


def test_a_request_that_is_too_long() -> None:
    async def story(place: Place) -> None:
        wrapped = wrapClientTLS(PskClientOptions(ME, KEY), place.endpoint())
        stranger: Any = await wrapped.connect(Factory.forProtocol(Raw))
        stranger.transport.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000)
        await until(lambda: stranger.gone)

    assert at_the_port(story).offences == ["HTTP request too long"]


def test_the_request_may_come_in_pieces_with_a_message_behind_it() -> None:
    request = (
        "GET /any HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    ).encode() + b"\x82\x82\0\0\0\0hi"

    async def story(place: Place) -> None:
        wrapped = wrapClientTLS(PskClientOptions(ME, KEY), place.endpoint())
        stranger: Any = await wrapped.connect(Factory.forProtocol(Raw))
        for at in range(0, len(request), 40):
            stranger.transport.write(request[at : at + 40])
            await deferLater(installed_reactor(), 0, lambda: None)
        await until(lambda: stranger.data.endswith(b"\r\n\r\n\x82\x02hi"))
        stranger.transport.loseConnection()
        await until(lambda: not place.clients.open)

    assert at_the_port(story).offences == []


def test_a_defect_met_by_one_client_costs_only_its_connection() -> None:
    class Broken(Clients):
        def received(self, connection: Connection, data: bytes) -> None:
            if data == b"break":
                raise RuntimeError("a defect")
            super().received(connection, data)

    async def story(place: Place) -> None:
        place.gate.receiver = Broken()
        one, other = await place.phone(), await place.phone()
        one.sendMessage(b"break", isBinary=True)
        other.sendMessage(b"hello", isBinary=True)
        await until(lambda: one.gone and other.inbox == [b"hello"])

    at_the_port(story)


def test_a_system_without_descriptors_is_asked_again_later() -> None:
    class Exhausted:
        """A listening socket whose system has no descriptor left, once."""

        def __init__(self, sock: Any) -> None:
            self._sock = sock
            self.refused = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

        def accept(self) -> Any:
            if not self.refused:
                self.refused += 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self._sock.accept()

    async def story(place: Place) -> None:
        listener = Exhausted(place.gate._listener)
        place.gate._listener = listener  # type: ignore[assignment]
        assert (await place.phone()).opened
        assert listener.refused == 1

    assert at_the_port(story).offences == []


def test_who_was_not_served_in_a_turn_comes_first_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time for more than one client a turn, everybody is served in turn."""
    monkeypatch.setattr("crs.gate.TURN", 0.0)

    async def story(place: Place) -> None:
        phones = [await place.phone() for _ in range(5)]
        for number in range(20):
            for phone in phones:
                phone.sendMessage(b"%d" % number, isBinary=True)
        await until(lambda: all(len(phone.inbox) == 20 for phone in phones))

    assert at_the_port(story).offences == []
