"""Expelling clients from a machine that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, succeed

from crs.batch import SIZE
from crs.expulsion import Expulsion
from crs.identity import Identity
from crs.signaling import message
from crs.signaling.event import AttachEvent
from crs.signaling.message import EndReason, RelayKind, Who
from crs.signaling.testing import World


@dataclass
class Doors:
    """Closes connections of a world as the doorway does."""

    world: World

    def purge(self, match: Callable[[Identity], bool]) -> int:
        purged = [phone for phone in self.world.phones.values() if match(phone.client)]
        for phone in purged:
            self.world.disconnect(phone)
        return len(purged)


def expelling(world: World, is_banned: Callable[[Identity], bool]) -> Callable[[], int]:
    """`enforce` as a function, in a world where nobody else is served meanwhile."""
    expulsion = Expulsion(
        is_banned, world.machine, Doors(world).purge, now=lambda: world.now, pause=lambda: succeed(None)
    )

    def enforce() -> int:
        outcome: list[int] = []
        Deferred.fromCoroutine(expulsion.enforce()).addCallback(outcome.append)
        [closed] = outcome
        return closed

    return enforce


def test_calls_and_registration_end_at_once() -> None:
    world, banned = World(), set[Identity]()
    enforce = expelling(world, banned.__contains__)
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    three = world.connect("+3").attach()
    one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    three.ask(message.Invite, session="t", to="+2", streams=[RelayKind.rtp])
    for _ in range(2):
        two.take(message.Invited)
    assert enforce() == 0
    banned.add(one.client)
    assert enforce() == 1
    ended = two.take(message.Ended)
    assert (ended.session, ended.reason, ended.who) == ("s", EndReason.hangup, Who.server)
    assert two.silent(), "the other call goes on"
    assert [session.label for session in world.machine.exchange.table.live] == ["t"]
    assert world.machine.attachments.find(one.client) is None
    assert "denied" in {event.state for event in world.told(AttachEvent)}


def test_who_is_connected_only_is_left_alone() -> None:
    world = World()
    phone = world.connect("+1")
    enforce = expelling(world, phone.client.__eq__)
    assert enforce() == 0
    assert phone.number in world.phones


def test_others_are_served_in_between() -> None:
    world = World()
    for number in range(SIZE + 1):
        world.connect(f"+{number}").attach()
    pauses: list[Deferred[None]] = []

    def pause() -> Deferred[None]:
        pauses.append(Deferred())
        return pauses[-1]

    expulsion = Expulsion(
        lambda client: True, world.machine, Doors(world).purge, now=lambda: world.now, pause=pause
    )
    done = Deferred.fromCoroutine(expulsion.enforce())
    assert world.machine.attachments.attached_count == 1
    pauses[0].callback(None)
    assert world.machine.attachments.attached_count == 0 and not done.called
    pauses[1].callback(None)
    assert done.result == SIZE + 1
