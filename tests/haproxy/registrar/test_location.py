"""Bindings: order, limits, expiry, changes."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.registrar.location import (
    Binding,
    LocationFull,
    LocationService,
    Removed,
    Saved,
    address_of_record,
)


def binding(
    user: bytes = b"5000",
    contact: bytes = b"sip:a",
    *,
    expires: float = 100.0,
    q: float = 1.0,
    modified: float = 0.0,
) -> Binding:
    aor = address_of_record(user, b"Example.org")
    return Binding(aor, contact, expires, call_id=b"c", cseq=1, q=q, modified=modified)


def changes(service: LocationService) -> list[object]:
    return list(iter(service.next_change, None))


def test_hosts_are_folded_and_users_are_not() -> None:
    assert address_of_record(b"Bob", b"EXAMPLE.org") == b"Bob@example.org"


def test_best_first() -> None:
    service = LocationService()
    for contact, q, modified in ((b"old", 1.0, 1.0), (b"low", 0.1, 9.0), (b"new", 1.0, 2.0)):
        service.save(binding(contact=contact, q=q, modified=modified))
    assert [b.contact for b in service.bindings(b"5000@example.org")] == [b"new", b"old", b"low"]


def test_replacing_keeps_one() -> None:
    service = LocationService()
    first, second = binding(), binding(expires=200.0)
    service.save(first)
    service.save(second, replaced=first)
    assert service.bindings(b"5000@example.org") == (second,)
    assert len(service) == 1
    assert changes(service) == [Saved(first), Saved(second)]
    service.handle_timer(150.0)
    assert len(service) == 1


def test_expiry() -> None:
    service = LocationService()
    gone = binding(expires=10.0)
    service.save(gone)
    service.save(binding(b"5001", expires=20.0))
    changes(service)
    timer = service.get_timer()
    assert timer is not None
    assert 10.0 <= timer <= 11.0
    service.handle_timer(11.0)
    assert changes(service) == [Removed(gone, "expired")]
    assert service.bindings(gone.aor) == ()


def test_limits() -> None:
    service = LocationService(contacts=2, bindings=3)
    service.save(binding(contact=b"1"))
    service.save(binding(contact=b"2"))
    with pytest.raises(LocationFull):
        service.save(binding(contact=b"3"))
    service.save(binding(b"5001"))
    assert not service.room_for(b"5002@example.org", 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 50)), max_size=30))
def test_the_indexes_agree(steps: list[tuple[str, str, int]]) -> None:
    service = LocationService()
    alive: dict[tuple[str, str], Binding] = {}
    for now, (user, contact, life) in enumerate(steps):
        service.handle_timer(float(now))
        alive = {key: b for key, b in alive.items() if b in list(service)}
        new = binding(user.encode(), contact.encode(), expires=now + life)
        service.save(new, replaced=alive.get((user, contact)))
        alive[user, contact] = new
        assert len(service) == len(list(service)) == len(alive)
        for name in "abc":
            expected = {b for (u, _), b in alive.items() if u == name}
            assert set(service.bindings(address_of_record(name.encode(), b"example.org"))) == expected


class TestRenewal:
    """What is told of refreshes."""

    def test_it_is_told_once_the_last_word_does_not_cover_it(self) -> None:
        service = LocationService()
        one = binding(expires=100.0)
        service.save(one)
        assert (one.covered, one.lags) == (150.0, False)
        changes(service)
        for now in (1.0, 50.0):
            service.renew(one, now + 100, b"c", 2, now)
            assert changes(service) == []
            assert one.lags
        service.renew(one, 151.0, b"d", 3, 51.0)
        assert changes(service) == [Saved(one)]
        assert (one.call_id, one.cseq, one.covered, one.lags) == (b"d", 3, 201.0, False)

    def test_it_lives_longer(self) -> None:
        service = LocationService()
        one = binding(expires=100.0)
        service.save(one)
        service.renew(one, 150.0, b"c", 2, 50.0)
        for now in range(1, 150):
            service.handle_timer(float(now))
            assert len(service) == 1
        service.handle_timer(151.0)
        assert changes(service) == [Saved(one), Removed(one, "expired")]

    def test_the_newest_comes_first(self) -> None:
        service = LocationService()
        one, two = binding(contact=b"1", modified=1.0), binding(contact=b"2", modified=2.0)
        service.save(one)
        service.save(two)
        assert service.bindings(one.aor) == (two, one)
        service.renew(one, 103.0, b"c", 2, 3.0)
        assert service.bindings(one.aor) == (one, two)


def test_what_was_removed_does_not_stay_in_memory() -> None:
    service = LocationService()
    for now in range(200):
        service.handle_timer(float(now))
        one = binding(expires=now + 86400.0, modified=float(now))
        service.save(one)
        service.remove(one)
    changes(service)
    # Those of the last minute, and the one in hand.
    assert sum(each is not one for each in gc.get_referrers(Binding) if isinstance(each, Binding)) <= 64
    service.handle_timer(1000.0)
    assert service.get_timer() is None
