"""TLS-PSK on a socket's descriptor, against pyOpenSSL's client on the other end of a socket pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from OpenSSL import SSL

from rtlib import psk
from rtlib.pskstream import RECORD, PskAcceptor, PskStream, StreamError

ALICE = b"alice@acct"
KEY = bytes(range(32))


class Pair:
    """A client, a stream, and the two sockets between them."""

    def __init__(self, key: bytes = KEY, version: int = SSL.TLS1_3_VERSION) -> None:
        self.near, self.far = socket.socketpair()
        for sock in (self.near, self.far):
            sock.setblocking(False)
        context = psk.client_context(ALICE, key)
        context.set_max_proto_version(version)
        self.client = SSL.Connection(context, self.far)
        self.client.set_connect_state()
        self.stream: PskStream = PskAcceptor({ALICE: KEY}.get).accept(self.near.fileno())

    def shake(self) -> bool:
        done = False
        for _ in range(6):
            with suppress(SSL.WantReadError):
                self.client.do_handshake()
            done = done or self.stream.handshake()
        return done

    def close(self) -> None:
        self.stream.free()
        self.near.close()
        self.far.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    assert pair.shake()
    yield pair
    pair.close()


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_both_versions(version: int) -> None:
    pair = Pair(version=version)
    assert pair.shake() and pair.stream.identity == ALICE
    pair.client.send(b"hello")
    assert pair.stream.read() == b"hello" and pair.stream.read() is None
    assert pair.stream.write(b"good day") == 8
    assert pair.client.recv(100) == b"good day"
    pair.close()


def test_a_wrong_key_fails_and_the_client_is_told() -> None:
    pair = Pair(key=bytes(32))
    with suppress(SSL.WantReadError):
        pair.client.do_handshake()
    with pytest.raises(StreamError, match=r"\w"):
        pair.stream.handshake()
    with pytest.raises(SSL.Error, match="alert"):
        pair.client.do_handshake()
    pair.close()


def test_bytes_that_are_no_tls() -> None:
    pair = Pair()
    pair.far.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(StreamError, match="http request"):
        pair.stream.handshake()
    pair.close()


def test_one_connections_failure_does_not_reach_another(pair: Pair) -> None:
    """OpenSSL's queue of errors is that of the thread."""
    other = Pair()
    other.far.send(b"\xff" * 100)
    with pytest.raises(StreamError):
        other.stream.handshake()
    assert pair.stream.read() is None
    other.close()


def test_the_clients_orderly_end_and_its_disorderly_one(pair: Pair) -> None:
    pair.client.shutdown()
    assert pair.stream.read() == b""
    other = Pair()
    assert other.shake()
    other.far.close()
    with pytest.raises(StreamError):
        other.stream.read()
    other.close()


def test_our_orderly_end(pair: Pair) -> None:
    pair.stream.end()
    with pytest.raises(SSL.ZeroReturnError):
        pair.client.recv(1)


def test_what_the_socket_does_not_take_is_offered_again(pair: Pair) -> None:
    data = bytes(range(256)) * (40 * 1024)
    received = bytearray()
    sent = pair.stream.write(data)
    assert 0 < sent < len(data) and sent % RECORD == 0
    while len(received) < len(data):
        with suppress(SSL.WantReadError):
            received += pair.client.recv(65536)
            continue
        sent += pair.stream.write(data[sent:])
    assert received == data


def test_records_are_read_one_by_one(pair: Pair) -> None:
    data = bytes(3 * RECORD)
    with suppress(SSL.WantWriteError):
        assert pair.client.send(data[:RECORD]) == RECORD
        assert pair.client.send(data[: RECORD // 2]) == RECORD // 2
    assert pair.stream.read() == data[:RECORD]
    assert pair.stream.read() == data[: RECORD // 2]
    assert pair.stream.read() is None
