"""Port pairs."""

import socket
from typing import Any

import pytest

from haproxy.rtpproxy.port import PortPool, PortsExhausted
from rtlib.listen import ListenError


class Host:
    """Binds sockets in mind only; some ports are taken by others."""

    def __init__(self, *taken: int) -> None:
        self.taken = set(taken)

    def bind(self, host: str, port: int) -> socket.socket:
        if port in self.taken:
            raise ListenError("address already in use", f"{host}:{port}")
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def pool(forwarder: Any, low: int, high: int, *taken: int, start: int = 0) -> PortPool:
    return PortPool(
        forwarder, bind=Host(*taken).bind, low=low, high=high, start=start, hosts={"203.0.113.1": "10.0.0.1"}
    )


@pytest.mark.parametrize(
    ("low", "high", "numbers"), [(20000, 20005, [20000, 20002, 20004]), (20001, 20005, [20002, 20004])]
)
def test_even_and_odd_within_the_range(forwarder: Any, low: int, high: int, numbers: list[int]) -> None:
    ports = pool(forwarder, low, high)
    assert [ports.open("10.0.0.1").number for _ in numbers] == numbers
    with pytest.raises(PortsExhausted):
        ports.open("10.0.0.1")
    assert ports.open("10.0.0.2").number == numbers[0]
    assert (ports.in_use, ports.exhausted) == (len(numbers) + 1, 1)


@pytest.mark.parametrize("taken", [20000, 20001])
def test_what_others_hold_is_skipped(forwarder: Any, taken: int) -> None:
    assert pool(forwarder, 20000, 20009, taken).open("10.0.0.1").number == 20002


def test_a_number_rests_before_it_is_used_again(forwarder: Any) -> None:
    ports = pool(forwarder, 20000, 20005, start=1)
    first = ports.open("10.0.0.1")
    ports.close(first)
    assert [ports.open("10.0.0.1").number for _ in range(3)] == [20004, 20000, 20002]


def test_known_by_both_addresses(forwarder: Any) -> None:
    ports = pool(forwarder, 20000, 20005)
    ports.open("10.0.0.1")
    assert ports.has("10.0.0.1", 20000)
    assert ports.has("203.0.113.1", 20000)
    assert not ports.has("10.0.0.1", 20002)


def test_set_up_time_is_bounded(forwarder: Any) -> None:
    with pytest.raises(PortsExhausted):
        pool(forwarder, 20000, 30000, *range(20000, 20200)).open("10.0.0.1")
