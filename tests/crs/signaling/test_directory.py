"""The directory of observed clients."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from crs.identity import Identity
from crs.signaling.directory import SAVE_BATCH, SAVE_DELAY, Confirmation, Directory, Record
from crs.signaling.event import Done, Event, Failed, Result, SaveCounts
from crs.signaling.outlet import Outlet

CLIENTS = [Identity(f"+{number}", "a") for number in range(2 * SAVE_BATCH + 1)]


class World:
    """A directory with clients, and the store that it asks."""

    def __init__(self) -> None:
        self.outlet = Outlet(lambda connection, data: None)
        self.directory = Directory(self.outlet, lambda one, other: True)
        for client in CLIENTS:
            self.directory.load(client, b"\x80")
        self.batches: list[int] = []
        self.saved: set[Identity] = set()

    def pass_time(self, now: float, answer: Callable[[], Result] = Done) -> None:
        self.outlet.expire(now)
        self.answer(now, answer)

    def answer(self, now: float, answer: Callable[[], Result] = Done) -> None:
        while (event := self.outlet.next_event()) is not None:
            self._answer(event, now, answer())

    def _answer(self, event: Event, now: float, result: Result) -> None:
        assert isinstance(event, SaveCounts)
        self.batches.append(len(event.records))
        if isinstance(result, Done):
            self.saved.update(client for client, _ in event.records)
        self.outlet.completed(event.token, result, now)


def test_thousands_of_changes_are_saved_little_by_little() -> None:
    world = World()
    for client in CLIENTS:
        world.directory.read(client, 1e9, 0.0)
    world.pass_time(SAVE_DELAY - 0.2)
    assert world.batches == []
    for tick in range(10):
        before = len(world.batches)
        world.pass_time(SAVE_DELAY + 0.1 * tick)
        assert len(world.batches) <= before + 1
    assert world.batches == [SAVE_BATCH, SAVE_BATCH, 1] and world.saved == set(CLIENTS)
    assert world.outlet.get_timer() is None


def test_a_server_that_stops_saves_all_at_once() -> None:
    world = World()
    for client in CLIENTS:
        world.directory.read(client, 1e9, 0.0)
    world.directory.save(0.1)
    world.answer(0.1)
    assert world.saved == set(CLIENTS) and world.outlet.get_timer() is None


def test_what_could_not_be_saved_is_saved_later() -> None:
    world = World()
    world.directory.read(CLIENTS[0], 1e9, 0.0)
    world.pass_time(SAVE_DELAY, lambda: Failed("the disk is full"))
    assert world.saved == set()
    world.pass_time(2 * SAVE_DELAY + 0.1)
    assert world.saved == {CLIENTS[0]}


def test_the_clients_of_a_deleted_account_are_not_saved() -> None:
    world = World()
    world.directory.read(CLIENTS[0], 1e9, 0.0)
    assert set(world.directory.forget("a")) == set(CLIENTS)
    world.pass_time(SAVE_DELAY)
    assert world.batches == [] and dict(world.directory) == {}
    world.directory.load(CLIENTS[0], b"\x80")
    assert [record for _, record in world.directory] == [Record()]


def test_older_counts_that_are_kept_apart_do_not_undo_a_confirmation() -> None:
    directory = Directory(Outlet(lambda connection, data: None), lambda one, other: True)
    confirmed = (Confirmation("2026-11", 1_000, 1e9),)
    directory.load(CLIENTS[0], msgspec.msgpack.encode(Record(posted=1, confirmed=confirmed)))
    directory.load_counts(CLIENTS[0], msgspec.msgpack.encode(Record(posted=7, read=5.0)))
    assert dict(directory) == {CLIENTS[0]: Record(posted=7, read=5.0, confirmed=confirmed)}
