"""Expelling clients from a machine that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


def test_calls_and_registration_end_at_once() -> None:
    world, banned = World(), set[Identity]()
    expulsion = Expulsion(banned.__contains__, world.machine, Doors(world).purge, lambda: world.now)
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    three = world.connect("+3").attach()
    one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    three.ask(message.Invite, session="t", to="+2", streams=[RelayKind.rtp])
    for _ in range(2):
        two.take(message.Invited)
    assert expulsion.enforce() == 0
    banned.add(one.client)
    assert expulsion.enforce() == 1
    ended = two.take(message.Ended)
    assert (ended.session, ended.reason, ended.who) == ("s", EndReason.hangup, Who.server)
    assert two.silent(), "the other call goes on"
    assert [session.label for session in world.machine.exchange.table.live] == ["t"]
    assert world.machine.attachments.find(one.client) is None
    assert "denied" in {event.state for event in world.told(AttachEvent)}


def test_who_is_connected_only_is_left_alone() -> None:
    world = World()
    phone = world.connect("+1")
    expulsion = Expulsion(phone.client.__eq__, world.machine, Doors(world).purge, lambda: world.now)
    assert expulsion.enforce() == 0
    assert phone.number in world.phones
