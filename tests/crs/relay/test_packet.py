"""Control packets of the relay."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from crs.relay import packet
from crs.relay.packet import Type

KEY = bytes(range(32))


def test_the_layout_is_that_of_the_document() -> None:
    data = packet.build(Type.bind, 0x01020304, 5, KEY)
    head = bytes.fromhex("01000000 01020304 0000000000000005")
    assert data == head + hmac.new(KEY, head, hashlib.sha256).digest()[:16]
    assert packet.build(Type.bind_ack, 1, 0, KEY)[0] == 2


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 31), st.integers(1, 255))
def test_one_changed_bit_is_noticed(identifier: int, counter: int, place: int, change: int) -> None:
    data = bytearray(packet.build(Type.bind, identifier, counter, KEY))
    control = packet.parse(bytes(data))
    assert control is not None and control.is_authentic(KEY)
    assert (control.identifier, control.counter) == (identifier, counter)
    data[place] ^= change
    changed = packet.parse(bytes(data))
    assert changed is None or not changed.is_authentic(KEY)


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    control = packet.parse(data)
    assert control is None or not control.is_authentic(KEY)
    packet.parse_opaque(data)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_opaque_data(identifier: int, payload: bytes) -> None:
    assert packet.parse_opaque(packet.opaque(identifier, payload)) == (identifier, payload)
