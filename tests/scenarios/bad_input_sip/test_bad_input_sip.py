"""What nobody should send, sent to a real genproxy."""

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from haproxy.sip.message import Request, Response, parse
from haproxy.testing.genproxy import Genproxy, own_host
from rtlib.testing.daemon import wait_until

SUBSCRIBERS = {"5000": "unused"}
QUICK = 2.0
"""Seconds in which a neighbour is answered, whatever others send."""


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Genproxy]:
    with Genproxy(tmp_path / "proxy", subscribers=SUBSCRIBERS) as running:
        yield running
        assert "Traceback" not in running.daemon.text
        assert running.daemon.stop() < 2.0


def register(proxy: Genproxy, sock: socket.socket, sequence: int = 1) -> Request:
    """A good REGISTER for this socket."""
    host, port = sock.getsockname()
    transport = "UDP" if sock.type == socket.SOCK_DGRAM else "TCP"
    aor = f"<sip:5000@{proxy.host}>".encode()
    return Request.create(
        b"REGISTER",
        f"sip:{proxy.host}".encode(),
        [
            (b"Via", f"SIP/2.0/{transport} {host}:{port};branch=z9hG4bK{port}-{sequence}".encode()),
            (b"From", aor + b";tag=n"),
            (b"To", aor),
            (b"Call-ID", f"{port}@{host}".encode()),
            (b"CSeq", b"%d REGISTER" % sequence),
            (b"Contact", f"<sip:5000@{host}:{port};transport={transport}>".encode()),
        ],
    )


class Neighbour:
    """A phone that registers again and again, with one datagram each."""

    def __init__(self, proxy: Genproxy) -> None:
        self.proxy = proxy
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((own_host(), 0))
        self._sequence = 0

    def check(self) -> None:
        """Register; answered with 200, quickly."""
        self._sequence += 1
        self._sock.settimeout(QUICK)
        request = register(self.proxy, self._sock, self._sequence)
        self._sock.sendto(bytes(request), (self.proxy.host, self.proxy.port))
        response = parse(self._sock.recv(65536))
        assert isinstance(response, Response)
        assert (response.status, response.cseq_number) == (200, self._sequence)

    def close(self) -> None:
        """Close its socket."""
        self._sock.close()


@pytest.fixture
def neighbour(proxy: Genproxy) -> Iterator[Neighbour]:
    phone = Neighbour(proxy)
    phone.check()
    yield phone
    phone.check()
    phone.close()


@contextmanager
def tcp(proxy: Genproxy, host: str = "") -> Iterator[socket.socket]:
    with socket.create_connection(
        (proxy.host, proxy.port), 5, source_address=(host or own_host(), 0)
    ) as sock:
        yield sock


def closed(sock: socket.socket, within: float) -> bool:
    """Whether the other end closes the connection in time; what it still sends is read."""
    deadline = time.monotonic() + within
    try:
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(65536):
                return True
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return False


def lines_about(proxy: Genproxy, host: str) -> list[str]:
    return [line for line in proxy.daemon.output.splitlines() if host in line]


def malformed(message: Request) -> list[bytes]:
    """A message cut at every third byte, with every header broken in turn, and with binary inside."""
    whole = bytes(message)
    cut = [whole[:end] for end in range(1, len(whole) - 4, 3)]
    lines = whole.split(b"\r\n")
    broken = [
        b"\r\n".join([*lines[:i], lines[i].replace(b":", b"", 1), *lines[i + 1 :]]) for i in range(1, 8)
    ]
    binary = [whole.replace(name, name + b"\xff\x00\x01", 1) for name in (b"Via", b"From", b"CSeq", b"sip:")]
    return cut + broken + binary


def test_garbage_over_udp(proxy: Genproxy, neighbour: Neighbour) -> None:
    dice = random.Random(7)
    host = own_host()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        for number in range(600):
            sock.sendto(dice.randbytes(dice.choice([0, 1, 20, 500, 1400])), (proxy.host, proxy.port))
            if number % 100 == 0:
                neighbour.check()
        for message in malformed(register(proxy, sock)):
            sock.sendto(message, (proxy.host, proxy.port))
        sock.sendto(os.urandom(65000), (proxy.host, proxy.port))
        sock.sendto(bytes(register(proxy, sock)) + b"x" * 60000, (proxy.host, proxy.port))
    neighbour.check()
    wait_until(lambda: lines_about(proxy, host), 5, "a line in the log")
    assert proxy.metric("malformed_total") > 500
    assert len(lines_about(proxy, host)) <= 3, lines_about(proxy, host)


def test_a_malformed_request_is_answered_with_its_fault(proxy: Genproxy, neighbour: Neighbour) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((own_host(), 0))
        sock.settimeout(QUICK)
        request = register(proxy, sock)
        request.set(b"CSeq", b"once REGISTER")
        sock.sendto(bytes(request), (proxy.host, proxy.port))
        assert sock.recv(65536).startswith(b"SIP/2.0 400 ")


def test_garbage_over_tcp_closes_the_connection(proxy: Genproxy, neighbour: Neighbour) -> None:
    dice = random.Random(8)
    host = own_host()
    for _ in range(20):
        with tcp(proxy, host) as sock:
            sock.sendall(b"\x16\x03\x01" + dice.randbytes(500) + b"\r\n\r\n")
            assert closed(sock, 5)
        neighbour.check()
    assert 1 <= len(lines_about(proxy, host)) <= 3, lines_about(proxy, host)
    assert proxy.metric("offences_total") >= 20


@pytest.mark.parametrize(
    "flood",
    [
        b"INVITE sip:a SIP/2.0\r\nX: " + b"x" * 100_000,
        b"INVITE sip:a SIP/2.0\r\n" + b"X: y\r\n" * 20_000,
        b"INVITE sip:a SIP/2.0\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 1000,
        b"INVITE sip:a SIP/2.0\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n12345",
        b"INVITE sip:a SIP/2.0\r\nContent-Length: -5\r\n\r\n",
    ],
    ids=["long line", "many headers", "huge body", "two lengths", "negative length"],
)
def test_oversized_over_tcp_closes_the_connection(
    proxy: Genproxy, neighbour: Neighbour, flood: bytes
) -> None:
    with tcp(proxy) as sock:
        with suppress(OSError):  # it may have been closed meanwhile
            sock.sendall(flood)
        assert closed(sock, 5)
    assert proxy.metric("offences_total") >= 1


def test_a_slow_sender_is_cut_off_and_stalls_nobody(proxy: Genproxy, neighbour: Neighbour) -> None:
    host = own_host()
    with tcp(proxy, host) as slow, tcp(proxy) as silent:
        message = bytes(register(proxy, slow))
        begin = time.monotonic()
        slow.settimeout(0.25)
        cut_off = False
        for byte in message:
            slow.sendall(bytes([byte]))
            neighbour.check()
            try:
                cut_off = not slow.recv(65536)
            except TimeoutError:
                continue
            except ConnectionResetError:
                cut_off = True
            if cut_off:
                break
        assert cut_off
        assert time.monotonic() - begin < 14
        assert closed(silent, 14)
    assert 1 <= len(lines_about(proxy, host)) <= 2, lines_about(proxy, host)


def test_many_connections_from_one_address_leave_room_for_others(
    proxy: Genproxy, neighbour: Neighbour
) -> None:
    host = own_host()
    socks: list[socket.socket] = []
    try:
        for _ in range(300):
            try:
                socks.append(socket.create_connection((proxy.host, proxy.port), 2, source_address=(host, 0)))
            except OSError:
                break
        with tcp(proxy) as other:
            other.sendall(bytes(register(proxy, other)))
            other.settimeout(2)
            assert other.recv(65536).startswith(b"SIP/2.0 ")
        neighbour.check()
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    "data",
    [b"\xff\x00garbage\n", b"{}\n", b"[1,2\n", b'{"command": "no such"}\n', b"x" * 2_000_000],
    ids=["binary", "empty", "truncated", "unknown", "oversized"],
)
def test_garbage_on_the_command_socket(proxy: Genproxy, neighbour: Neighbour, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(proxy.socket))
        with suppress(OSError):  # it may have been closed meanwhile
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        assert closed(sock, 5)
    assert "0.1.0" in proxy.cli("show", "version")
