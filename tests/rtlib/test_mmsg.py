from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.address import pack, unpack
from rtlib.listen import bind_datagram
from rtlib.mmsg import Batch


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=20))
def test_what_is_sent_arrives_bit_for_bit_with_the_kernels_addresses(packets: list[bytes]) -> None:
    for host in ("127.0.0.1", "::1"):
        with bind_datagram(host, 0) as one, bind_datagram(host, 0) as two:
            buffers = Batch(one.family, 8, 200)
            target = pack(*two.getsockname()[:2])
            sent = buffers.send(one.fileno(), [(data, target) for data in packets])
            assert sent == min(8, len(packets))
            arrived = buffers.receive(two.fileno())
            assert [data for data, _ in arrived] == packets[:8]
            assert {unpack(address) for _, address in arrived} == {one.getsockname()[:2]}
            assert buffers.receive(two.fileno()) == []


def test_sending_stops_before_what_does_not_fit() -> None:
    with bind_datagram("127.0.0.1", 0) as sock:
        target = pack(*sock.getsockname())
        buffers = Batch(socket.AF_INET, 8, 100)
        assert buffers.send(sock.fileno(), [(b"x", target), (bytes(101), target), (b"y", target)]) == 1
        with pytest.raises(OSError) as caught:
            buffers.send(sock.fileno(), [(bytes(101), target)])
        assert caught.value.errno == errno.EMSGSIZE
        with pytest.raises(OSError) as caught:
            buffers.send(sock.fileno(), [(b"x", pack("::1", 1))])
        assert caught.value.errno == errno.EAFNOSUPPORT


def test_nothing_is_sent_of_nothing() -> None:
    with bind_datagram("127.0.0.1", 0) as sock:
        assert Batch(socket.AF_INET, 8, 100).send(sock.fileno(), []) == 0


def test_a_closed_descriptor_is_an_error() -> None:
    buffers = Batch(socket.AF_INET, 8, 100)
    with pytest.raises(OSError) as caught:
        buffers.receive(-1)
    assert caught.value.errno == errno.EBADF
