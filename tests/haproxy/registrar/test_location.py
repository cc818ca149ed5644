"""Bindings: order, limits, expiry, changes."""

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
    assert [b.contact for b in service.bindings_of_user(b"5000")] == [b"new", b"old", b"low"]


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
    assert service.bindings_of_user(b"5000") == ()


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
            assert set(service.bindings_of_user(name.encode())) == expected
