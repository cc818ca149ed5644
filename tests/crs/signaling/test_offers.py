"""Monthly updates are offered until they are confirmed."""

from __future__ import annotations

import pytest

from crs.signaling import message
from crs.signaling.directory import Confirmation, Directory
from crs.signaling.event import Blob, ItemChanged
from crs.signaling.message import ErrorCode
from crs.signaling.offers import Offered
from crs.signaling.outlet import Outlet
from crs.signaling.testing import START, WALL, Phone, World

NOVEMBER = Offered("2026-11", 1_000, 3)
DECEMBER = Offered("2026-12", 2_000, 5)


def offer(world: World, phone: Phone, *offered: Offered) -> None:
    """From now on these are there for a client."""
    world.updates[phone.client] = list(offered)
    for each in offered:
        blob = Blob(each.created, each.month[-2:].encode() * 8)
        world.storage.blobs[phone.client, each.month] = blob


def offers(phone: Phone) -> list[tuple[str, int, int]]:
    """What was offered since."""
    found = []
    while not phone.silent():
        told = phone.take(message.Offer)
        found.append((told.month, told.created, told.size))
    return found


def test_offered_at_each_attach_until_confirmed() -> None:
    world = World()
    phone = world.connect("+1")
    offer(world, phone, NOVEMBER, DECEMBER)
    assert offers(phone.attach()) == [NOVEMBER, DECEMBER]
    assert offers(phone.attach()) == [NOVEMBER, DECEMBER]
    number = phone.ask(message.FetchUpdate, month="2026-11")
    assert phone.take(message.Update) == message.Update(
        id=number, month="2026-11", created=1_000, payload=b"1111111111111111"
    )
    assert offers(phone.attach()) == [NOVEMBER, DECEMBER], "fetched is not confirmed"
    number = phone.ask(message.ConfirmUpdate, month="2026-11", created=1_000)
    assert phone.take(message.Ok).id == number
    assert [event.what for event in world.told(ItemChanged)] == ["confirm update 2026-11"]
    assert offers(phone.attach()) == [DECEMBER]
    phone.ask(message.ConfirmUpdate, month="2026-12", created=2_000)
    phone.take(message.Ok)
    assert offers(phone.attach()) == []


def test_a_newer_update_of_the_month_is_offered_anew() -> None:
    world = World()
    phone = world.connect("+1")
    offer(world, phone, NOVEMBER)
    phone.attach()
    phone.take(message.Offer)
    offer(world, phone, NOVEMBER._replace(created=1_001))
    phone.ask(message.ConfirmUpdate, month="2026-11", created=1_000)
    error = phone.take(message.Error)
    assert (error.code, error.reason) == (
        ErrorCode.not_found,
        "the update for 2026-11 is another one now",
    )
    assert offers(phone.attach()) == [("2026-11", 1_001, 3)]
    phone.ask(message.ConfirmUpdate, month="2026-11", created=1_001)
    phone.take(message.Ok)
    offer(world, phone, NOVEMBER)
    assert offers(phone.attach()) == [NOVEMBER]


def test_a_confirmation_is_on_disk_before_it_is_answered() -> None:
    world = World(manual=True)
    phone = world.connect("+1")
    offer(world, phone, NOVEMBER)
    phone.ask(message.Attach, version="test")
    world.complete_all()
    phone.take(message.Attached)
    world.complete_all()
    assert offers(phone) == [NOVEMBER]
    phone.ask(message.ConfirmUpdate, month="2026-11", created=1_000)
    assert phone.silent()
    world.complete(fail=True)
    assert phone.take(message.Error).code is ErrorCode.unavailable
    assert world.machine.directory.confirmation(phone.client, "2026-11", 1_000) is None
    phone.ask(message.ConfirmUpdate, month="2026-11", created=1_000)
    world.complete()
    phone.take(message.Ok)
    again = Directory(Outlet(lambda number, data: None), str.__eq__)
    again.load(phone.client, world.storage.saved[phone.client])
    wall = WALL + world.now - START
    assert again.confirmation(phone.client, "2026-11", 1_000) == Confirmation("2026-11", 1_000, wall)


def test_counters_that_are_written_meanwhile_do_not_undo_a_confirmation() -> None:
    world = World(manual=True)
    phone = world.connect("+1")
    offer(world, phone, NOVEMBER)
    phone.ask(message.Attach, version="test")
    world.complete_all()
    phone.ask(message.ConfirmUpdate, month="2026-11", created=1_000)
    world.advance(10)
    world.complete_all()
    again = Directory(Outlet(lambda number, data: None), str.__eq__)
    again.load(phone.client, world.storage.saved[phone.client])
    assert again.confirmation(phone.client, "2026-11", 1_000) is not None


@pytest.mark.parametrize("kind", [message.FetchUpdate, message.ConfirmUpdate])
def test_what_is_not_offered(kind: type[message.Request]) -> None:
    world = World()
    phone = world.connect("+1").attach()
    more = {"created": 5} if kind is message.ConfirmUpdate else {}
    phone.ask(kind, month="2026-11", **more)
    error = phone.take(message.Error)
    assert error.code is ErrorCode.not_found
    assert error.reason == "there is no update for 2026-11 for this client"
    phone.ask(kind, month="November", **more)
    assert phone.take(message.Error).code is ErrorCode.bad_message


def test_an_update_that_cannot_be_read() -> None:
    world = World()
    phone = world.connect("+1")
    offer(world, phone, NOVEMBER)
    world.storage.blobs.clear()
    phone.attach()
    phone.take(message.Offer)
    phone.ask(message.FetchUpdate, month="2026-11")
    assert phone.take(message.Error).code is ErrorCode.unavailable


def test_who_is_attached_is_told_of_a_new_update() -> None:
    world = World()
    one, two, away = (world.connect(f"+{number}") for number in range(3))
    one.attach()
    away.ask(message.Attach, version="test", resumable=True)
    token = away.take(message.Attached).token
    world.disconnect(away)
    for phone in (one, two, away):
        offer(world, phone, NOVEMBER)
    world.machine.offers.announce([phone.client for phone in (one, two, away)])
    world.flush()
    assert offers(one) == [NOVEMBER] and two.silent()
    back = world.connect("+2")
    assert token is not None
    back.ask(message.Attach, version="test", resume=message.Resume(token=token, received=0))
    assert back.take(message.Attached).resumed
    assert offers(back) == [NOVEMBER, NOVEMBER], "what was missed, and the state at the resumption"


def test_only_the_latest_months_are_remembered() -> None:
    world = World()
    phone = world.connect("+1").attach()
    for number in range(1, 9):
        offer(world, phone, Offered(f"2026-{number:02}", number, 1))
        phone.ask(message.ConfirmUpdate, month=f"2026-{number:02}", created=number)
        phone.take(message.Ok)
    [(_, record)] = world.machine.directory
    assert [each.month for each in record.confirmed] == ["2026-05", "2026-06", "2026-07", "2026-08"]
