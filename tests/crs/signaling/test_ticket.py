"""Resume tokens."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from crs.signaling.ticket import Sealer, Ticket

TICKET = Ticket("this run", "+46", "acc", 7)


def test_any_server_with_the_key_reads_a_token() -> None:
    token = Sealer(b"pool key", os.urandom).seal(TICKET)
    assert Sealer(b"pool key", os.urandom).open(token) == TICKET
    assert Sealer(b"another", os.urandom).open(token) is None
    assert Sealer(b"pool key", os.urandom).seal(TICKET) != token
    assert b"+46" not in token


def test_a_changed_key_reads_tokens_of_the_one_before() -> None:
    sealer = Sealer(b"first", os.urandom)
    first = sealer.seal(TICKET)
    sealer.change(b"second")
    second = sealer.seal(TICKET)
    assert sealer.open(first) == sealer.open(second) == TICKET
    assert Sealer(b"first", os.urandom).open(second) is None
    sealer.change(b"third")
    assert sealer.open(first) is None and sealer.open(second) == TICKET


@given(st.data())
def test_a_changed_token_says_nothing(data: st.DataObject) -> None:
    token = bytearray(Sealer(b"pool key", os.urandom).seal(TICKET))
    place = data.draw(st.integers(0, len(token) - 1))
    token[place] ^= data.draw(st.integers(1, 255))
    assert Sealer(b"pool key", os.urandom).open(bytes(token)) is None


@given(st.binary(max_size=200))
def test_garbage_says_nothing(token: bytes) -> None:
    assert Sealer(b"pool key", os.urandom).open(token) is None
