"""Who sends much at a time waits for the others."""

from __future__ import annotations

from twisted.internet.task import Clock

from haproxy.protection.accesslist import AccessList, Lists
from haproxy.protection.backlog import SHARE, WAITING, Backlog
from haproxy.protection.guard import Datagrams, Guard, Policy
from haproxy.protection.service import Protection
from rtlib.address import pack
from rtlib.offence import OffenceLog

HERE, THERE = pack("192.0.2.50", 5060), pack("192.0.2.51", 5060)


def batch(count: int, address: bytes = HERE) -> Datagrams:
    return [(b"%d" % number, address) for number in range(count)]


def test_a_few_for_each_turn_in_order() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    got: list[Datagrams] = []
    assert backlog.add(batch(SHARE + 1), got.append) == 0
    assert backlog.add(batch(1, THERE), got.append) == 0
    assert (got, len(backlog)) == ([], SHARE + 2)
    clock.advance(0)
    assert got == [batch(SHARE), [batch(SHARE + 1)[-1], *batch(1, THERE)]]
    assert (len(backlog), clock.getDelayedCalls()) == (0, [])


def test_each_goes_to_its_own_socket() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    one: list[Datagrams] = []
    other: list[Datagrams] = []
    backlog.add(batch(2), one.append)
    backlog.add(batch(1), other.append)
    clock.advance(0)
    assert (one, other) == ([batch(2)], [batch(1)])


def test_it_is_bounded_and_tells_what_finds_no_room() -> None:
    backlog = Backlog(Clock())
    assert backlog.add(batch(WAITING - 1), lambda some: None) == 0
    assert backlog.add(batch(3), lambda some: None) == 2
    assert backlog.add(batch(3), lambda some: None) == 3
    assert len(backlog) == WAITING


def test_nothing_is_left_over() -> None:
    clock = Clock()
    backlog = Backlog(clock)
    backlog.add(batch(3), lambda some: None)
    backlog.stop()
    assert (len(backlog), clock.getDelayedCalls()) == (0, [])


def test_the_protection_takes_whom_nobody_has_to_wait_for_first() -> None:
    clock = Clock()
    lists = Lists(AccessList(), AccessList(), AccessList())
    guard = Guard(lists, Policy(), pardon=lambda address: False, inside=lambda address: False)
    protection = Protection(clock, guard, OffenceLog(), clock.seconds)
    late: list[Datagrams] = []
    flood, call = [(b"INVITE x", HERE)] * 50, [(b"INVITE y", THERE)]
    assert protection.admit(flood + call, late.append) == flood[:16] + call
    while clock.getDelayedCalls():
        clock.advance(0)
    assert [datagram for each in late for datagram in each] == flood[16:]
    for number in range(40):
        protection.admit([(b"INVITE x", pack(f"192.0.2.{number}", 5060))] * 200, late.append)
    assert guard.totals()["backlog"] == 40 * (200 - 16) - WAITING
    protection.stopService()
    assert clock.getDelayedCalls() == []
    assert protection.admit(flood) == flood  # a stream: it has an order, and is read a little at a time
