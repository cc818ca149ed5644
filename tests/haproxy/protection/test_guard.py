"""Who gets in: lists, anti-flood, scanners, in the order of the guide (7.1.15)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.protection.accesslist import AccessList, Lists
from haproxy.protection.guard import Blocked, Guard, Policy, Unblocked
from haproxy.protection.source import Limits, Source, Table
from rtlib.address import Address, pack
from rtlib.settings.types import parse_entry

HERE = pack("192.0.2.50", 5060)
GENESIS = pack("192.0.2.11", 5060)
REQUEST = b"INVITE sip:100@192.0.2.1 SIP/2.0\r\nUser-Agent: phone\r\n\r\n"
RESPONSE = b"SIP/2.0 200 OK\r\n\r\n"
SCAN = b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nUser-Agent: friendly-scanner\r\n\r\n"


class Door:
    """A guard, its clock, and who is who."""

    def __init__(
        self, deny: str = "", allow: str = "", proxy: str = "", *, tables: Any = None, **policy: Any
    ) -> None:
        self.lists = Lists(*(AccessList(map(parse_entry, text.split())) for text in (deny, allow, proxy)))
        self.genesis = {GENESIS[4:8]}
        self.now = 1000.0
        self.guard = Guard(
            self.lists,
            Policy(**policy),
            pardon=lambda address: address[4:8] in self.genesis,
            inside=lambda address: address[8:14] == b"\xfd\0\0\0\0\0",
            **(tables or {}),
        )

    def send(self, data: bytes = REQUEST, address: Address = HERE, count: int = 1) -> int:
        """How many of so many messages get in, at once or later."""
        return sum(map(len, self.guard.admit([(data, address)] * count, self.now)))

    def flood(self, seconds: float, rate: float, address: Address = HERE, data: bytes = REQUEST) -> int:
        """A steady rate; how many get in."""
        got = 0
        for _ in range(round(seconds * rate)):
            got += self.send(data, address)
            self.wait(1 / rate)
        return got

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = self.guard.get_timer()
        if due is not None and due <= self.now:
            self.guard.handle_timer(self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time go by, each timer at its time."""
        end = self.now + seconds
        while (due := self.guard.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.guard.handle_timer(self.now)
        self.now = end

    def told(self) -> list[str]:
        """Kinds of events, oldest first."""
        names = []
        while (event := self.guard.next_event()) is not None:
            again = isinstance(event, Blocked) and event.again
            names.append(type(event).__name__ + (" again" if again else ""))
        return names

    @property
    def blocked(self) -> list[str]:
        return [source.host for source in self.guard.blocked()]


class TestLists:
    def test_denied(self) -> None:
        door = Door(deny="192.0.2.0/24", allow="192.0.2.50")
        assert door.send(count=3) == 0
        assert door.guard.totals()["denied"] == 3
        assert door.guard.shuts(HERE)

    @pytest.mark.parametrize(("name", "rate"), [("allow", 1000), ("proxy", 1000)])
    def test_listed_sources_may_send_what_they_like(self, name: str, rate: int) -> None:
        door = Door(**{name: "192.0.2.0/24"})
        assert door.flood(10, rate) == 10 * rate
        assert door.blocked == []

    def test_a_port_counts(self) -> None:
        door = Door(deny="192.0.2.50:5070")
        assert door.send(address=pack("192.0.2.50", 5070)) == 0
        assert door.send() == 1

    def test_scanners_may_scan_from_the_allow_list_only(self) -> None:
        assert Door(allow="192.0.2.50").send(SCAN) == 1
        assert Door(proxy="192.0.2.50").send(SCAN) == 0

    def test_other_lists_count_at_once(self) -> None:
        door = Door()
        assert door.send() == 1
        door.lists.deny.replace([parse_entry("192.0.2.50")])
        door.guard.apply(Policy())
        assert door.send() == 0
        door.lists.deny.replace([])
        door.guard.apply(Policy())
        assert door.send() == 1


class TestFlood:
    """About 8 requests a second for 2 to 6 seconds."""

    def test_eight_a_second_are_no_flood(self) -> None:
        door = Door()
        assert door.flood(60, 8) == 480
        assert door.blocked == []

    @pytest.mark.parametrize("rate", [9, 10, 50, 120])
    def test_more_than_eight_are(self, rate: int) -> None:
        door = Door()
        begin = door.now
        while not door.blocked:
            door.send()
            door.wait(1 / rate)
        assert 2.0 <= door.now - begin <= 6.0
        assert door.send(count=5) == 0
        assert door.guard.shuts(HERE)

    def test_a_short_burst_is_none(self) -> None:
        door = Door()
        for _ in range(3):
            assert door.send(count=200) == 200
            door.pass_time(6)
        assert door.blocked == []

    def test_far_too_much_is_dropped_before_it_is_blocked(self) -> None:
        door = Door()
        assert door.flood(2.5, 20_000) < 600
        assert door.blocked == ["192.0.2.50"]
        assert door.guard.totals()["excess"] > 30_000

    def test_who_sends_more_than_he_may_for_long_waits_for_the_others(self) -> None:
        door = Door()
        at_once, later = door.guard.admit([(REQUEST, HERE)] * 20 + [(REQUEST, GENESIS)] * 20, door.now)
        assert (len(at_once), len(later)) == (36, 4)
        assert {address for _, address in later} == {HERE}
        door.pass_time(2)
        assert len(door.guard.admit([(REQUEST, HERE)], door.now)[0]) == 1

    def test_where_very_many_send_a_little_those_that_are_known_come_first(self) -> None:
        door = Door(proxy="192.0.2.60", strangers=500)
        door.guard.registered(pack("192.0.2.61", 1), door.now + 60)
        known = [(REQUEST, pack(f"192.0.2.{number}", 5060)) for number in (60, 61, 11)]
        others = [(REQUEST, pack(f"198.51.100.{number}", 5060)) for number in range(150)]
        at_once, later = door.guard.admit([*others, *known], door.now)
        assert (at_once, later) == ([*others[:100], *known], others[100:])
        door.pass_time(2)
        assert door.guard.admit(others[50:], door.now) == (others[50:], [])

    def test_of_strangers_genesis_gets_so_many_whatever_they_send_elsewhere(self) -> None:
        door = Door(strangers=10)
        strangers = [pack(f"198.51.100.{number}", 5060) for number in range(100)]
        assert len(door.guard.admit([(REQUEST, each) for each in strangers], door.now)[1]) == 98
        assert [door.guard.holds(each, door.now) for each in strangers[:15]] == [False] * 10 + [True] * 5
        assert not door.guard.holds(GENESIS, door.now)
        assert door.guard.held == 5
        door.guard.apply(Policy(strangers=10))
        assert door.guard.holds(HERE, door.now)
        door.guard.apply(Policy())
        assert not any(door.guard.holds(each, door.now) for each in strangers)

    def test_who_is_known(self) -> None:
        door = Door(allow="192.0.2.60", proxy="192.0.2.61", deny="192.0.2.62")
        door.guard.registered(pack("192.0.2.63", 1), door.now + 60)
        known = [
            number
            for number in (11, *range(60, 65))
            if door.guard.knows(pack(f"192.0.2.{number}", 9), door.now)
        ]
        assert known == [11, 60, 61, 63]
        door.pass_time(61)
        assert not door.guard.knows(pack("192.0.2.63", 9), door.now)

    def test_all_ports_of_an_address_together(self) -> None:
        door = Door()
        for number in range(100):
            door.send(address=pack("192.0.2.50", 6000 + number))
            door.wait(0.1)
        assert door.blocked == ["192.0.2.50"]
        assert door.send(address=pack("192.0.2.50", 7000)) == 0
        assert door.send(address=pack("192.0.2.51", 7000)) == 1

    def test_responses_and_keepalives_are_no_requests(self) -> None:
        door = Door()
        assert door.flood(10, 100, data=RESPONSE) == 1000
        assert door.flood(10, 100, data=b"\r\n\r\n") == 1000
        assert door.blocked == []

    def test_but_there_may_not_be_any_number_of_responses(self) -> None:
        door = Door()
        door.flood(5, 500, data=RESPONSE)
        assert door.blocked == ["192.0.2.50"]
        assert "256 messages" in next(door.guard.blocked()).reason

    def test_genesis_may_send_what_it_likes(self) -> None:
        door = Door()
        assert door.flood(10, 500, GENESIS) == 5000
        assert door.blocked == []

    def test_genesis_is_looked_for_once_in_an_interval(self) -> None:
        door = Door()
        asked: list[Address] = []

        def pardon(address: Address) -> bool:
            asked.append(address)
            return False

        door.guard._pardon = pardon
        door.send(count=5000)
        assert len(asked) == 1

    def test_a_genesis_that_is_gone_is_nobody(self) -> None:
        door = Door()
        door.flood(10, 100, GENESIS)
        door.genesis.clear()
        door.flood(6, 100, GENESIS)
        assert door.blocked == ["192.0.2.11"]

    def test_switched_off(self) -> None:
        door = Door(flood=False)
        assert door.flood(10, 1000) == 10_000

    def test_failures_count_as_requests(self) -> None:
        door = Door()
        for _ in range(100):
            door.guard.offend(HERE, door.now)
            door.wait(0.1)
        assert door.blocked == ["192.0.2.50"]

    def test_other_limits(self) -> None:
        door = Door(limits=Limits(requests=2, interval=1.0, intervals=1, block=10.0))
        assert door.send(count=3) == 2
        assert door.blocked == ["192.0.2.50"]


class TestBlock:
    """It is looked at every 5 minutes."""

    def blocked(self, **policy: Any) -> Door:
        door = Door(**policy)
        door.flood(5, 20)
        assert door.told() == ["Blocked"]
        return door

    def test_it_ends_for_who_has_become_quiet(self) -> None:
        door = self.blocked()
        door.pass_time(290)
        assert door.send() == 0
        door.pass_time(11)
        assert door.told() == ["Unblocked"]
        assert door.send() == 1
        assert not door.guard.shuts(HERE)

    def test_it_goes_on_for_who_has_not(self) -> None:
        door = self.blocked()
        for _ in range(3):
            assert door.flood(301, 20) == 0
        assert door.told() == ["Blocked again"] * 3
        door.pass_time(301)
        assert door.told() == ["Unblocked"]

    def test_a_slow_sender_is_free_again(self) -> None:
        door = self.blocked()
        door.flood(301, 5)
        assert door.blocked == []

    def test_what_was_dropped_is_counted_for_good(self) -> None:
        door = self.blocked()
        before = door.guard.totals()["flood"]
        door.send(count=50)
        assert door.guard.totals()["flood"] == before + 50
        door.guard.unblock(None)
        assert door.guard.totals()["flood"] == before + 50

    def test_an_operator_ends_it(self) -> None:
        door = self.blocked()
        assert door.guard.unblock("192.0.2.51") == 0
        assert door.guard.unblock("192.0.2.50") == 1
        assert door.guard.unblock(None) == 0
        assert door.send() == 1
        door.flood(5, 20)
        assert door.told() == ["Unblocked", "Blocked"]
        door.pass_time(400)
        assert door.told() == ["Unblocked"]  # once: what the first block left behind does nothing
        with pytest.raises(ValueError, match="not appear"):
            door.guard.unblock("x")

    def test_it_survives_a_reload(self) -> None:
        door = self.blocked()
        door.guard.apply(Policy(limits=Limits(requests=100)))
        assert door.send() == 0

    def test_but_not_what_makes_it_pointless(self) -> None:
        door = self.blocked()
        door.guard.apply(Policy(flood=False))
        assert door.send() == 1
        door = self.blocked()
        door.lists.allow.replace([parse_entry("192.0.2.50")])
        door.guard.apply(Policy())
        assert (door.send(), door.blocked) == (1, [])

    def test_the_dry_run_drops_nothing_and_tells_everything(self) -> None:
        door = self.blocked(dry_run=True)
        assert door.send(count=10_000) == 10_000
        assert door.blocked == ["192.0.2.50"]
        assert door.guard.totals()["flood"] > 10_000
        assert not door.guard.shuts(HERE)


class TestScanners:
    def test_it_hears_nothing_and_is_blocked(self) -> None:
        door = Door()
        assert door.send(SCAN) == 0
        assert door.send() == 0
        (source,) = door.guard.blocked()
        assert (source.kind, source.reason) == ("scanner", "calls itself friendly-scanner")
        assert door.guard.totals()["scanner"] == 2

    def test_also_without_anti_flood(self) -> None:
        door = Door(flood=False)
        assert (door.send(SCAN), door.send()) == (0, 0)

    def test_not_without_names(self) -> None:
        door = Door(scanners=())
        assert door.send(SCAN) == 1
        door = Door()
        door.send(SCAN)
        door.guard.apply(Policy(scanners=()))
        assert door.blocked == []

    def test_a_phones_address_is_not_blocked_for_a_message_that_anybody_can_forge(self) -> None:
        door = Door()
        door.guard.registered(HERE, door.now + 60)
        door.guard.registered(HERE, door.now + 30)  # another phone at the same address
        door.pass_time(40)
        assert (door.send(SCAN), door.send()) == (0, 1)
        assert (door.send(SCAN, GENESIS), door.send(address=GENESIS)) == (0, 1)
        assert door.guard.totals()["scanner"] == 2
        door.pass_time(30)
        assert (door.send(SCAN), door.send()) == (0, 0)

    def test_in_a_response_it_may_be_quoted(self) -> None:
        assert Door().send(RESPONSE.replace(b"\r\n\r\n", b"\r\nUser-Agent: friendly-scanner\r\n\r\n")) == 1


class TestAddresses:
    def test_ipv6_from_elsewhere_counts_by_its_64(self) -> None:
        door = Door()
        for number in range(100):
            door.send(address=pack(f"2001:db8::{number:x}", 5060))
            door.wait(0.1)
        assert door.blocked == ["2001:db8::/64"]
        assert door.send(address=pack("2001:db8::ffff", 1)) == 0
        assert door.send(address=pack("2001:db8:0:1::1", 1)) == 1
        assert door.guard.unblock("2001:db8::/64") == 1

    def test_ipv6_in_our_own_network_counts_by_itself(self) -> None:
        door = Door()
        for number in range(100):
            door.send(address=pack(f"fd00::{number:x}", 5060))
            door.wait(0.1)
        assert door.blocked == []

    def test_tables_are_bounded(self) -> None:
        door = Door(tables={"addresses": 100, "blocks": 10})
        for number in range(1000):
            door.send(address=pack(f"10.0.{number >> 8}.{number & 255}", 5060))
        assert len(door.guard) <= 200
        assert door.guard.forgotten > 700
        for number in range(20):
            door.send(SCAN, address=pack(f"10.1.0.{number}", 5060))
        assert len(door.blocked) == 10
        assert door.blocked[-1] == "10.1.0.19"
        assert door.send(address=pack("10.1.0.0", 5060)) == 1

    def test_who_is_blocked_is_not_forgotten(self) -> None:
        door = Door(tables={"addresses": 10})
        door.send(SCAN)
        for number in range(100):
            door.send(address=pack(f"10.0.0.{number}", 5060))
        assert door.send() == 0
        assert [event for event in door.told() if event == "Unblocked"] == []


PEERS = (
    HERE,
    pack("192.0.2.50", 5062),
    GENESIS,
    *(pack(f"192.0.2.{last}", 5060) for last in (60, 61, 62, 63)),
)


ORDINARY = (REQUEST, RESPONSE, b"\r\n\r\n")


def batches(*messages: bytes) -> st.SearchStrategy[list[tuple[bytes, Address]]]:
    return st.lists(st.tuples(st.sampled_from(messages), st.sampled_from(PEERS)), max_size=30)


@given(
    st.lists(
        st.tuples(
            # Scanners in one of two only: a batch that has one is looked at message by message anyway.
            st.one_of(batches(*ORDINARY), batches(*ORDINARY, SCAN)),
            st.sampled_from((0.0, 0.1, 1.0, 2.0, 5.0)),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from((0, 5, 1000)),
)
def test_many_at_once_are_what_they_are_one_by_one(
    steps: list[tuple[list[tuple[bytes, Address]], float]], flood: bool, dry_run: bool, strangers: int
) -> None:
    one, all_at_once = (
        Door(
            deny="192.0.2.61",
            allow="192.0.2.62",
            proxy="192.0.2.63",
            flood=flood,
            dry_run=dry_run,
            strangers=strangers,
            limits=Limits(requests=6, messages=10),
        )
        for _ in range(2)
    )
    for door in (one, all_at_once):
        door.guard.registered(pack("192.0.2.60", 5060), door.now + 10)
    for batch, seconds in steps:
        singly = [one.guard.admit([datagram], one.now) for datagram in batch]
        admitted, hasty = all_at_once.guard.admit(batch, all_at_once.now)
        assert admitted == [each for some, _ in singly for each in some]
        assert hasty == [each for _, some in singly for each in some]
        for door in (one, all_at_once):
            door.pass_time(seconds)
        assert one.told() == all_at_once.told()
        assert one.guard.totals() == all_at_once.guard.totals()
        assert [_state(one.guard.source(each)) for each in PEERS] == [
            _state(all_at_once.guard.source(each)) for each in PEERS
        ]


def _state(source: Source) -> tuple[object, ...]:
    counts = source.requests, source.messages, source.streak, source.hasty, source.pardoned, source.dropped
    return source.host, source.state, source.ends, source.kind, source.until, *counts


def test_events_say_what_happened() -> None:
    door = Door()
    door.flood(5, 20)
    event = door.guard.next_event()
    assert event == Blocked(
        "192.0.2.50", "flood", "more than 16 requests in 2 s, 2 times in a row", 300.0, False
    )
    door.guard.unblock(None)
    event = door.guard.next_event()
    assert isinstance(event, Unblocked)
    assert event.dropped > 30


def test_a_table_keeps_what_is_asked_for() -> None:
    lost: list[int] = []
    table: Table[int] = Table(3, lost.append)
    often = Source("x", 0)
    table.put(0, often)
    for number in range(1, 20):
        table.put(number, Source("", 0))
        assert table.find(0) is often
    assert len(table) <= 6
    assert table.find(1) is None
    assert sum(lost) == 20 - len(table)
