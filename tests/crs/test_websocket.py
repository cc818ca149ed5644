"""Connections of clients, on a real port with real TLS."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from crs.identity import Identity
from crs.limits import Limits, LimitTable
from crs.signaling.message import MAX_MESSAGE, SUBPROTOCOL
from crs.websocket import ClientFactory, ClientGate, Connection
from rtlib.listen import StreamPort, bind_stream
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
        self.opened = False
        self.gone = False

    def onOpen(self) -> None:
        self.opened = True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.inbox.append(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.gone = True


class Raw(Protocol):
    """TCP without TLS."""

    gone = False

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = True


class Place:
    """The server's port and ways to connect to it."""

    def __init__(self, limits: LimitTable) -> None:
        self.clients = Clients()
        reactor = installed_reactor()
        self.factory = ClientFactory(reactor, self.clients, limits=limits)
        gate = ClientGate({ME: KEY}.get, self.factory, reactor)
        self.port = StreamPort(bind_stream("127.0.0.1", 0), gate, reactor)
        self._phones: list[Any] = []

    async def phone(self, *, key: bytes = KEY, protocols: list[str] | None = None) -> Phone:
        offered = [SUBPROTOCOL] if protocols is None else protocols
        factory = WebSocketClientFactory("wss://127.0.0.1", protocols=offered, reactor=installed_reactor())
        factory.protocol = Phone
        factory.noisy = False
        phone: Any = await wrapClientTLS(PskClientOptions(ME, key), self._endpoint()).connect(factory)
        self._phones.append(phone)
        await until(lambda: phone.opened or phone.gone)
        assert isinstance(phone, Phone)
        return phone

    async def raw(self) -> Raw:
        connection = await self._endpoint().connect(Factory.forProtocol(Raw))
        self._phones.append(connection)
        assert isinstance(connection, Raw)
        return connection

    async def close(self) -> None:
        await self.port.stopService()
        for phone in self._phones:
            if not phone.gone:
                phone.transport.abortConnection()
        await until(lambda: not self.factory.handshakes and not self.clients.open)

    def _endpoint(self) -> TCP4ClientEndpoint:
        port = int(self.port.address[1])
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
        place.port.startService()
        try:
            await story(place)
        finally:
            await place.close()
        return place.clients

    # Autobahn's batched timers are left to run out: the factory has no way to cancel them.
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
        await until(lambda: place.factory.handshakes.total() == 2)
        third = await place.raw()
        await until(lambda: third.gone)
        assert not first.gone and not second.gone
        assert first.transport is not None
        first.transport.loseConnection()
        await until(lambda: place.factory.handshakes.total() == 1)
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
        place.factory.limits.replace([("message-size", 2000, "acc")])
        phone = await place.phone()
        phone.sendMessage(bytes(2000), isBinary=True)
        await until(lambda: phone.inbox == [bytes(2000)])
        phone.sendMessage(bytes(2001), isBinary=True)
        await until(lambda: phone.gone)
        assert phone.remoteCloseCode == 1009
        assert place.factory.limits.reached == {"message-size": 1}

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
