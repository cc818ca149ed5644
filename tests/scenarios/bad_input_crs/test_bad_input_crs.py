"""Garbage, truncated, oversized and slowly dripped bytes on every port of crs.

Each is answered or cut off, counted, and logged once per source; no traceback; neighbours go on undisturbed.
"""

import json
import random
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Any, TypeVar

import msgspec
import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from crs.client import websocket
from crs.client.credentials import Credentials
from crs.client.error import ClientError
from crs.client.testing import CrsServer
from crs.relay.packet import Type, build
from crs.signaling.message import (
    MAX_MESSAGE,
    Attach,
    ClientData,
    Error,
    ErrorCode,
    Fetch,
    ItemKind,
    decode_server_message,
    encode,
)
from rtlib import psk
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine
from rtlib.outcome import Outcome
from rtlib.testing.daemon import wait_until
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor

Result = TypeVar("Result")

PATIENCE = 5.0
"""Seconds within which a neighbour's message must come back, whatever others do."""


def connect(server: CrsServer, source: str = "127.0.0.1") -> socket.socket:
    """A plain TCP connection to the port for clients."""
    address = (server.address.host, server.address.port)
    return socket.create_connection(address, timeout=5, source_address=(source, 0))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    server = CrsServer(tmp_path_factory.mktemp("crs"))
    with server:
        yield server
        server.daemon.stop()
        output = server.daemon.output
    assert "Traceback" not in output
    lines = re.findall(r"(?:INFO|WARN) \| \w+\(\d+\)\] (.+) from (127\.[\d.]+|uid \d+)", output)
    repeated = {line: count for line, count in Counter(lines).items() if count > 1}
    assert repeated == {}, "each kind is logged once per source"


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def beside(server: CrsServer, reactor: Any, uri: str, abuse: Callable[[], Result]) -> Result:
    """Run `abuse` in a thread while a neighbour exchanges messages; none of them may take long."""

    async def story() -> Result:
        neighbour, told = await server.attached(reactor, uri)
        abusing: Deferred[Result] = deferToThread(abuse)
        over: Outcome[Result] = Outcome()
        abusing.addCallbacks(over.set, lambda failure: over.fail(failure.value))
        slowest, rounds = 0.0, 0
        while not over.decided or not rounds:
            began = reactor.seconds()
            await neighbour.post(uri, b"to myself")
            await told.messages.get()
            slowest, rounds = max(slowest, reactor.seconds() - began), rounds + 1
            # A round is three requests, and fifty a second are allowed.
            await deferLater(reactor, 0.1)
        await neighbour.close()
        assert slowest < PATIENCE, f"{rounds} rounds, one of them in {slowest:.2f} s"
        return await over.wait()

    return run_on_reactor(story, timeout=60)


def hello(credentials: Credentials) -> bytes:
    """The first flight of a correct client."""
    connection = SSL.Connection(psk.client_context(credentials.identity, credentials.key), None)
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)


def until_closed(sock: socket.socket) -> bytes:
    """What arrives until the server closes; fails with a timeout if it does not."""
    received = b""
    with suppress(ConnectionError):
        while data := sock.recv(65536):
            received += data
    return received


def tls(server: CrsServer, uri: str) -> SSL.Connection:
    """A blocking TLS connection of a client with the right key."""
    credentials = server.credentials(uri)
    sock = connect(server)
    sock.settimeout(None)
    connection = SSL.Connection(psk.client_context(credentials.identity, credentials.key), sock)
    connection.set_connect_state()
    connection.do_handshake()
    return connection


def read(connection: SSL.Connection) -> bytes:
    """What arrives over TLS until the end."""
    received = b""
    with suppress(SSL.Error):
        while data := connection.recv(65536):
            received += data
    return received


def test_bytes_that_are_no_tls(server: CrsServer, reactor: Any) -> None:
    dice = random.Random(1)
    first = hello(server.credentials("+4901"))
    broken = [
        b"",
        b"GET / HTTP/1.1\r\nHost: crs\r\n\r\n",
        dice.randbytes(100_000),
        b"\x16\x03\x01\xff\xff" + bytes(1000),
        b"\x16\x03\x01\x00\x00" * 1000,
        first[: len(first) // 2],
        first[:-1] + bytes(50) + dice.randbytes(5000),
        *(first[:place] + b"\xff\xff" + first[place + 2 :] for place in range(5, len(first) - 2, 11)),
    ]

    def abuse() -> None:
        for data in broken:
            with connect(server) as sock:
                # Whoever is cut off already learns it here: shutdown() raises a plain OSError, ENOTCONN.
                with suppress(OSError):
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                until_closed(sock)

    before = server.offences()
    beside(server, reactor, "+4900", abuse)
    wait_until(lambda: (server.offences() - before)["handshake failed"] == len(broken), 5, "all are counted")


@pytest.mark.parametrize(
    ("request_text", "answer", "kind"),
    [
        ("GET / HTTP/1.1\r\nHost: crs\r\n\r\n", b"HTTP/1.1 4", "bad HTTP request"),
        ("POST /upload HTTP/1.1\r\nHost: crs\r\n\r\n", b"HTTP/1.1 4", "bad HTTP request"),
        ("\x00\x01\x02\r\n\r\n", b"HTTP/1.1 4", "bad HTTP request"),
        (
            "GET / HTTP/1.1\r\nHost: crs\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            b"HTTP/1.1 400",
            "bad HTTP request",
        ),
        ("GET / HTTP/1.1\r\nX: " + "x" * 9000, b"", "HTTP request too long"),
        ("x" * 200_000, b"", "HTTP request too long"),
    ],
    ids=["no-upgrade", "post", "binary", "no-subprotocol", "long-header", "endless-line"],
)
def test_requests_that_open_no_websocket(
    server: CrsServer, reactor: Any, request_text: str, answer: bytes, kind: str
) -> None:
    def abuse() -> bytes:
        connection = tls(server, "+4902")
        with suppress(SSL.Error):
            connection.sendall(request_text.encode())
        return read(connection)

    before = server.offences()
    received = beside(server, reactor, "+4903", abuse)
    assert received.startswith(answer) if answer else received == b""
    assert (server.offences() - before)[kind] == 1


class Collector:
    """Keeps what a link receives."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.end: Outcome[ClientError] = Outcome()

    def message(self, data: bytes) -> None:
        self.messages.append(decode_server_message(data))

    def lost(self, reason: ClientError) -> None:
        self.end.set(reason)


async def opened(server: CrsServer, reactor: Any, uri: str) -> tuple[Any, Collector]:
    """An open WebSocket that nobody uses yet."""
    collector = Collector()
    link = await websocket.connect(reactor, server.address, server.credentials(uri), collector)
    return link, collector


def test_messages_that_are_none(server: CrsServer, reactor: Any) -> None:
    """Each gets an error that says what is wrong, with the id if that can be read; the connection stays."""
    wrong: list[tuple[bytes, int | None]] = [
        (b"", None),
        (b"\xc1", None),
        (b"\x81\xa4type", None),
        (b"\x91" * 30_000, None),
        (b"\x81\xa4type\xa6\xf3ealed", None),
        (msgspec.msgpack.encode("attach"), None),
        (msgspec.msgpack.encode({"type": "attach"}), None),
        (msgspec.msgpack.encode({"type": "attach", "id": -1}), None),
        (msgspec.msgpack.encode({"type": "attach", "id": 3}), 3),
        (msgspec.msgpack.encode({"type": "attach", "id": 4, "version": "x" * 65}), 4),
        (msgspec.msgpack.encode({"type": "attached", "id": 5}), 5),
        (msgspec.msgpack.encode({"type": "post", "id": 6, "message": "m m", "to": "x", "payload": b""}), 6),
        *((random.Random(seed).randbytes(seed), None) for seed in range(1, 100)),
    ]

    async def story() -> None:
        link, collector = await opened(server, reactor, "+4904")
        for data, _ in wrong:
            link.send(data)
        link.send(encode(Attach(id=9, version="still here")))
        while not collector.messages or collector.messages[-1].id != 9:
            await deferLater(reactor, 0.01)
        errors = collector.messages[:-1]
        assert [(error.code, error.id) for error in errors[:12]] == [
            (ErrorCode.bad_message, number) for _, number in wrong[:12]
        ]
        assert len(errors) == len(wrong)
        assert all(isinstance(error, Error) and error.reason for error in errors)
        link.close()
        await collector.end.wait()

    before = server.offences()
    run_on_reactor(story, timeout=60)
    assert (server.offences() - before)["bad message"] == len(wrong)


@pytest.mark.parametrize(
    ("abuse", "code"),
    [
        (lambda link: link.sendMessage(b"text", isBinary=False), 1003),
        (lambda link: link.sendFrame(opcode=2, payload=bytes(MAX_MESSAGE + 1)), 1009),
        (lambda link: link.sendFrame(opcode=2, payload=bytes(5_000_000)), 1009),
        (lambda link: [link.sendFrame(0 if part else 2, bytes(9000), False) for part in range(5)], 1009),
        (lambda link: link.transport.write(b"\xf2\x80\0\0\0\0"), 1002),
        (lambda link: link.transport.write(b"\x82\x01x"), 1002),
        (lambda link: [link.send(encode(Attach(id=1, version="x"))) for _ in range(1500)], 1008),
    ],
    ids=["text", "oversized", "far-oversized", "fragments", "reserved-bits", "unmasked", "flood"],
)
def test_abuse_that_closes_the_connection(
    server: CrsServer, reactor: Any, abuse: Callable[[Any], object], code: int
) -> None:
    async def story() -> None:
        neighbour, told = await server.attached(reactor, "+4906")
        link, collector = await opened(server, reactor, "+4905")
        abuse(link)
        assert f"({code})" in str(await collector.end.wait())
        await neighbour.post("+4906", b"to myself")
        await told.messages.get()
        await neighbour.close()

    run_on_reactor(story, timeout=60)


def frame(first: int, payload: bytes = b"", *, length: bytes = b"") -> bytes:
    """A masked frame (RFC 6455 section 5.2) as nobody should send it; the mask is zero."""
    return bytes([first]) + (length or bytes([0x80 | len(payload)])) + bytes(4) + payload


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(0x09), 1002, id="fragmented-ping"),
        pytest.param(frame(0x89, bytes(126), length=b"\xfe\x00\x7e"), 1002, id="long-ping"),
        pytest.param(frame(0x83), 1002, id="reserved-opcode"),
        pytest.param(frame(0x8B), 1002, id="reserved-control-opcode"),
        pytest.param(frame(0xC2), 1002, id="compressed-without-extension"),
        pytest.param(frame(0x80), 1002, id="continuation-of-nothing"),
        pytest.param(frame(0x02, b"x") + frame(0x82, b"y"), 1002, id="message-within-a-message"),
        pytest.param(frame(0x82, length=b"\xff" + (2**62).to_bytes(8, "big")), 1009, id="giant-length"),
        pytest.param(frame(0x82, length=b"\xff" + (2**63).to_bytes(8, "big")), 1002, id="negative-length"),
        pytest.param(frame(0x82, b"x", length=b"\xfe\x00\x01"), 1002, id="length-in-too-many-bytes"),
        pytest.param(frame(0x88, b"\x03"), 1002, id="close-with-half-a-code"),
        pytest.param(frame(0x88, b"\x03\xe7"), 1002, id="close-with-a-code-that-is-none"),
        pytest.param(frame(0x88, b"\x03\xed"), 1002, id="close-with-a-code-that-is-never-sent"),
        pytest.param(frame(0x88, b"\x03\xe8\xff"), 1007, id="close-with-bad-utf-8"),
        pytest.param(frame(0x81, b"\xff"), 1007, id="text-with-bad-utf-8"),
    ],
)
def test_frames_that_are_none(server: CrsServer, reactor: Any, data: bytes, code: int) -> None:
    async def story() -> None:
        link, collector = await opened(server, reactor, "+4911")
        link.transport.write(data)
        assert f"({code})" in str(await collector.end.wait())

    run_on_reactor(story, timeout=60)


def test_a_client_that_does_not_read_is_cut_off(server: CrsServer, reactor: Any) -> None:
    """It asks for megabytes and takes none: its bound is reached, and the neighbour does not notice."""
    before = server.offences()

    async def story() -> None:
        neighbour, told = await server.attached(reactor, "+4913")
        greedy, _ = await server.attached(reactor, "+4912")
        await greedy.store(ClientData(name="large", data=bytes(30_000)))
        await greedy.close()
        link, collector = await opened(server, reactor, "+4912")
        link.send(encode(Attach(id=0, version="greedy")))
        while not collector.messages:
            await deferLater(reactor, 0.01)
        link.transport.transport.pauseProducing()
        for number in range(1, 190):
            link.send(encode(Fetch(id=number, kind=ItemKind.data, name="large")))
        slowest = 0.0
        while not await deferToThread(lambda: (server.offences() - before)["does not read"]):
            began = reactor.seconds()
            await neighbour.post("+4913", b"to myself")
            await told.messages.get()
            slowest = max(slowest, reactor.seconds() - began)
        assert slowest < PATIENCE
        assert (await deferToThread(server.counted, "limits_reached", "limit"))["outgoing-buffer"] == 1
        link.transport.transport.resumeProducing()
        assert "was lost" in str(await collector.end.wait())
        await neighbour.close()

    run_on_reactor(story, timeout=60)


def test_too_many_handshakes_of_one_address(server: CrsServer, reactor: Any) -> None:
    """The 65th connection that says nothing is closed at once; other addresses do not notice."""

    def abuse() -> int:
        with ExitStack() as stack:
            connections = [stack.enter_context(connect(server, "127.0.0.2")) for _ in range(80)]
            poll = select.poll()
            for connection in connections:
                poll.register(connection, select.POLLIN)
            closed: set[int] = set()
            deadline = time.monotonic() + 5
            while len(closed) < 16 and time.monotonic() < deadline:
                for number, _ in poll.poll(100):
                    closed.add(number)
                    poll.unregister(number)
            poll.poll(100)
            return len(closed) + len(poll.poll(100))

    assert beside(server, reactor, "+4907", abuse) == 16
    with connect(server, "127.0.0.2") as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)


def test_datagrams_beside_a_call(server: CrsServer, reactor: Any) -> None:
    """A call goes on without loss while the relay's port gets what it cannot use."""
    dice = random.Random(2)

    def abuse(identifiers: list[int]) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", server.relay_port))
            for size in (0, 1, 3, 7, 8, 11, 12, 31, 32, 33, 172, 1500, 1501, 9000, 60_000):
                for head in (b"\x80", b"\x01", b"\x02", b"\x10", b"\xff", b"\x00", b"\x80\xc8"):
                    sock.send((head + dice.randbytes(size))[:size])
            for identifier in identifiers:
                packed = identifier.to_bytes(4, "big")
                for data in (
                    build(Type.bind, identifier, 2**63, bytes(32)),
                    build(Type.bind_ack, identifier, 2**63, bytes(32)),
                    b"\x80\0\0\1\0\0\0\0" + packed + bytes(160),
                    b"\x80\xc8\0\1" + packed + bytes(20),
                    b"\x10\0\0\0" + packed + bytes(100),
                ):
                    sock.send(data)

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4911")
        bob, told = await server.attached(reactor, "+4912")
        outgoing = await alice.call("+4912")
        incoming = await told.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        relay = outgoing.streams[0].relay
        playing = outgoing.streams[0].play(islice(frames(sine(440)), 50))
        await deferToThread(abuse, [relay.identifier, relay.peer, 1, 2**32 - 1])
        await playing
        while incoming.streams[0].reception.received < 50:
            await deferLater(reactor, 0.01)
        assert (incoming.streams[0].reception.lost, incoming.streams[0].counters.refused) == (0, 0)
        assert (outgoing.streams[0].reception.received, outgoing.streams[0].counters.refused) == (0, 0)
        await alice.close()
        await bob.close()

    before, counted = server.offences(), relay_counters(server)
    run_on_reactor(story, timeout=60)
    offences, after = server.offences() - before, relay_counters(server)
    assert after["error_too_short"] - counted["error_too_short"] >= 7 * 3
    assert after["error_too_long"] - counted["error_too_long"] == 7 * 3
    assert offences["relay: forged bind"] + offences["relay: unknown bind"] >= 4
    assert offences["relay: garbage"] + offences["relay: unknown version"] > 10
    assert offences["relay: media from a wrong address"] + offences["relay: unknown identifier"] >= 4


def relay_counters(server: CrsServer) -> dict[str, int]:
    shown = json.loads(server.cli("--json", "show", "relay").stdout)
    counters: dict[str, int] = shown["received"][0]
    return counters


def commands(server: CrsServer) -> socket.socket:
    """A connection to the command socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(str(server.home / "run" / "crs.sock"))
    return sock


def test_bytes_on_the_command_socket(server: CrsServer, reactor: Any) -> None:
    lines = [
        b"\n",
        b"help\n",
        b"\xff\xfe\xfd\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b'{"command": "show attach", "arguments": 7}\n',
        b'{"command": "no such command", "arguments": {}}\n',
        b'{"command": "show attach", "arguments": {"x": 1}}\n',
        b'{"command": "delete account", "arguments": {"account_id": 7}}\n',
        random.Random(3).randbytes(10_000).replace(b"\n", b"") + b"\n",
        bytes(3_000_000),
    ]

    def abuse() -> list[bytes]:
        answers = []
        for line in lines:
            with commands(server) as sock:
                with suppress(ConnectionError):
                    sock.sendall(line)
                answers.append(until_closed(sock))
        with commands(server) as sock:
            sock.sendall(b'{"command": "show')
        return answers

    answers = beside(server, reactor, "+4908", abuse)
    for line, answer in zip(lines[:-1], answers[:-1], strict=True):
        assert b"error" in answer, line[:60]
    assert server.cli("show", "attach").returncode == 0


def test_too_many_connections_to_the_command_socket(server: CrsServer) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(commands(server)) for _ in range(16)]
        with commands(server) as refused:
            refused.sendall(b"{}\n")
            assert b"too many commands at once" in until_closed(refused)
        shown = server.cli("show", "attach")
        assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
        assert "too many commands at once" in shown.stderr
        waiting += [stack.enter_context(commands(server)) for _ in range(16)]
        with commands(server) as shut:
            assert until_closed(shut) == b""
        for sock in waiting:
            sock.close()
        wait_until(lambda: server.cli("show", "attach").returncode == 0, 5, "a place is free again")


def test_slowly_dripped_bytes(server: CrsServer, reactor: Any) -> None:
    """A byte every 0.2 s keeps no connection: each is cut off 10 s after it began, whatever it drips."""
    first = hello(server.credentials("+4909"))

    def abuse() -> dict[str, float]:
        began = time.monotonic()
        connection = tls(server, "+4909")
        # What drips over TLS is made ready as records, so that all sources are plain sockets here.
        drips: dict[str, tuple[Any, bytes]] = {
            "nothing": (connect(server), b""),
            "handshake": (connect(server), first),
            "command socket": (commands(server), b'{"command": "show attach", "arguments": {}}'),
            "http": (connection, b"GET / HTTP/1.1\r\nHost: crs\r\nX: " + b"x" * 200),
        }
        ended: dict[str, float] = {}
        position = 0
        while len(ended) < len(drips) and time.monotonic() - began < 14:
            for name, (sock, data) in drips.items():
                if name not in ended and drip(sock, data[position : position + 1]):
                    ended[name] = time.monotonic() - began
            position += 1
        for sock, _ in drips.values():
            sock.close()
        return ended

    ended = beside(server, reactor, "+4910", abuse)
    assert set(ended) == {"nothing", "handshake", "command socket", "http"}
    assert all(9 < seconds < 13 for seconds in ended.values()), ended


def drip(sock: Any, data: bytes) -> bool:
    """Send a byte, wait a little; True once the server has closed the connection."""
    try:
        sock.sendall(data)
    except (OSError, SSL.Error):
        return True
    readable, _, _ = select.select([sock], [], [], 0.05)
    if not readable:
        return False
    try:
        return not sock.recv(65536) or (isinstance(sock, socket.socket) and sock.family == socket.AF_UNIX)
    except (OSError, SSL.Error):
        return True
