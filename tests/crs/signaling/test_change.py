"""Changes of streams in a talk, as sequence charts."""

from __future__ import annotations

from typing import Any

import pytest

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.change import DECISION_TIME
from crs.signaling.event import MultiSession
from crs.signaling.exchange import GRACE
from crs.signaling.message import ChangeEnd, EndReason, ErrorCode, RelayKind
from crs.signaling.testing import Phone, World


class Talk:
    """Two clients that talk over one stream."""

    def __init__(self, relays: int = 1000) -> None:
        self.world = World(relays=relays)
        self.one = self.world.connect("+1").attach()
        self.two = self.world.connect("+2").attach()
        self.one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
        self.two.ask(message.Answer, session="s", caller="+1")
        self.clear()

    def clear(self) -> None:
        self.one.inbox.clear()
        self.two.inbox.clear()

    def change(self, phone: Phone, change: str = "c", **fields: Any) -> None:
        phone.ask(message.Change, session="s", caller="+1", change=change, **fields)

    def accept(self, phone: Phone, change: str = "c") -> None:
        phone.ask(message.AcceptChange, session="s", caller="+1", change=change, payload=b"yes")

    def refuse(self, phone: Phone, change: str = "c") -> None:
        phone.ask(message.RefuseChange, session="s", caller="+1", change=change, payload=b"no")

    @property
    def streams(self) -> list[int]:
        return list(self.world.machine.exchange.table.live[0].streams)

    def offered(self, **fields: Any) -> Talk:
        """The first client has offered a change, and everybody has read so."""
        self.change(self.one, **fields)
        self.clear()
        return self


def error(phone: Phone) -> ErrorCode:
    return phone.take(message.Error).code


def test_the_callee_adds_two_streams() -> None:
    talk = Talk()
    talk.change(talk.two, add=[RelayKind.rtp, RelayKind.opaque], payload=b"video?")
    changing, offered = talk.two.take(message.Changing), talk.one.take(message.ChangeOffered)
    assert [(leg.stream, leg.kind) for leg in offered.relays] == [(1, "rtp"), (2, "opaque")]
    assert [leg.identifier for leg in offered.relays] == [leg.peer for leg in changing.relays]
    assert (offered.caller, offered.payload, offered.remove) == ("+1", b"video?", [])
    assert talk.streams == [0] and len(talk.world.relay.groups) == 3
    talk.accept(talk.one)
    assert talk.one.take(message.Ok) and talk.two.take(message.ChangeAccepted).payload == b"yes"
    assert talk.streams == [0, 1, 2]
    talk.one.ask(message.Hangup, session="s", caller="+1")
    assert not talk.world.relay.groups


def test_a_stream_is_replaced() -> None:
    """What was removed is released once that is accepted, and its number is never used again."""
    talk = Talk().offered(add=[RelayKind.opaque], remove=[0])
    assert len(talk.world.relay.groups) == 2
    talk.accept(talk.two)
    assert talk.streams == [1] and len(talk.world.relay.groups) == 1
    talk.offered(change="d", add=[RelayKind.rtp])
    talk.accept(talk.two, "d")
    assert talk.streams == [1, 2]


def test_a_call_becomes_one_of_several_streams_once() -> None:
    """For the statistics: by whom it was offered and by whom accepted, however often streams come and go."""
    talk = Talk()
    talk.change(talk.two, add=[RelayKind.rtp])
    assert not talk.world.told(MultiSession), "nothing is decided yet"
    talk.accept(talk.one)
    assert talk.world.told(MultiSession) == [MultiSession(Identity("+2", "a"), Identity("+1", "a"))]
    talk.change(talk.one, "d", remove=[1])
    talk.accept(talk.two, "d")
    talk.change(talk.one, "e", add=[RelayKind.rtp])
    talk.accept(talk.two, "e")
    assert talk.streams == [0, 2] and not talk.world.told(MultiSession)


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_change_that_is_not_made_leaves_the_call_as_it_was(withdrawn: bool) -> None:
    talk = Talk().offered(add=[RelayKind.rtp], remove=[0])
    ends, told = (talk.one, talk.two) if withdrawn else (talk.two, talk.one)
    talk.refuse(ends)
    refused = told.take(message.ChangeRefused)
    assert refused.reason is (ChangeEnd.withdrawn if withdrawn else ChangeEnd.refused)
    assert refused.payload == b"no" and ends.take(message.Ok) and ends.silent()
    assert talk.streams == [0] and len(talk.world.relay.groups) == 1
    talk.accept(talk.two)
    assert error(talk.two) is ErrorCode.wrong_state
    talk.refuse(ends)
    assert ends.take(message.Ok) and talk.one.silent()


def test_nobody_decides() -> None:
    talk = Talk().offered(add=[RelayKind.rtp])
    talk.world.advance(DECISION_TIME + 1)
    for phone in talk.one, talk.two:
        assert phone.take(message.ChangeRefused).reason is ChangeEnd.timeout
    assert talk.streams == [0] and len(talk.world.relay.groups) == 1


def test_glare_the_first_wins() -> None:
    talk = Talk()
    talk.change(talk.one, add=[RelayKind.rtp])
    talk.change(talk.two, change="d", add=[RelayKind.rtp])
    talk.two.take(message.ChangeOffered)
    assert error(talk.two) is ErrorCode.wrong_state
    talk.accept(talk.two)
    talk.clear()
    talk.change(talk.two, change="d", add=[RelayKind.rtp])
    assert talk.two.take(message.Changing) and talk.one.take(message.ChangeOffered)


@pytest.mark.parametrize(
    ("fields", "entry"),
    [
        ({"remove": [0]}, "add"),
        ({"remove": [1]}, "remove"),
        ({"remove": [0, 0], "add": ["rtp"]}, "remove"),
        ({}, "add"),
        ({"add": ["rtp"] * 8}, "add"),
        ({"add": ["opaque-multicast"]}, "add"),
        ({"add": ["video"]}, "add"),
        ({"remove": [-1]}, "remove"),
    ],
)
def test_impossible_changes(fields: dict[str, Any], entry: str) -> None:
    talk = Talk()
    talk.change(talk.one, **fields)
    refused = talk.one.take(message.Error)
    assert refused.code is ErrorCode.bad_message and entry in refused.reason
    assert talk.two.silent() and len(talk.world.relay.groups) == 1


def test_only_a_talk_is_changed_and_only_the_other_party_accepts() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    one.take(message.Inviting), two.take(message.Invited)
    one.ask(message.Change, session="s", caller="+1", change="c", add=[RelayKind.rtp])
    assert error(one) is ErrorCode.wrong_state and two.silent()
    talk = Talk().offered(add=[RelayKind.rtp])
    talk.accept(talk.one)
    assert error(talk.one) is ErrorCode.wrong_state
    talk.accept(talk.two, "other")
    assert error(talk.two) is ErrorCode.wrong_state
    talk.refuse(talk.two, "other")
    assert error(talk.two) is ErrorCode.wrong_state


def test_there_is_no_relay_left() -> None:
    talk = Talk(relays=2)
    talk.change(talk.one, add=[RelayKind.rtp] * 2)
    assert error(talk.one) is ErrorCode.limit and talk.two.silent()
    talk.change(talk.one, add=[RelayKind.rtp])
    assert talk.one.take(message.Changing)


def test_a_lost_reply_is_repeated_and_accepting_twice_is_no_error() -> None:
    talk = Talk()
    talk.change(talk.one, add=[RelayKind.rtp])
    first = talk.one.take(message.Changing)
    talk.change(talk.one, add=[RelayKind.rtp])
    assert talk.one.take(message.Changing).relays == first.relays
    talk.change(talk.one, add=[RelayKind.opaque])
    assert error(talk.one) is ErrorCode.conflict
    talk.clear()
    talk.accept(talk.two)
    talk.accept(talk.two)
    assert talk.two.take(message.Ok) and talk.two.take(message.Ok)
    assert talk.one.take(message.ChangeAccepted) and talk.one.silent()
    talk.refuse(talk.two)
    assert error(talk.two) is ErrorCode.wrong_state


def test_the_offer_waits_for_a_party_that_is_away() -> None:
    talk = Talk()
    talk.two.hang_up_line()
    talk.change(talk.one, add=[RelayKind.rtp])
    talk.world.advance(GRACE - 1)
    again = talk.world.connect("+2").attach()
    offered = again.take(message.ChangeOffered)
    talk.accept(again)
    assert talk.one.take(message.Changing) and talk.one.take(message.ChangeAccepted)
    assert len(offered.relays) == 1


@pytest.mark.parametrize("accepted", [True, False])
def test_the_decision_waits_for_a_party_that_is_away(accepted: bool) -> None:
    talk = Talk().offered(add=[RelayKind.rtp])
    talk.one.hang_up_line()
    (talk.accept if accepted else talk.refuse)(talk.two)
    again = talk.world.connect("+1").attach()
    again.take(message.Answered)
    again.take(message.ChangeAccepted if accepted else message.ChangeRefused)


def test_the_call_ends_in_the_middle() -> None:
    talk = Talk()
    talk.world.manual = True
    talk.change(talk.one, add=[RelayKind.rtp])
    talk.two.ask(message.Hangup, session="s", caller="+1")
    assert error(talk.one) is ErrorCode.wrong_state
    assert talk.one.take(message.Ended).reason is EndReason.hangup
    talk.world.complete_all()
    assert not talk.world.relay.groups
    talk = Talk().offered(add=[RelayKind.rtp])
    talk.two.ask(message.Hangup, session="s", caller="+1")
    assert not talk.world.relay.groups
    assert talk.one.take(message.Ended) and talk.one.silent()


def test_a_call_ends_when_all_its_streams_are_silent() -> None:
    talk = Talk().offered(add=[RelayKind.rtp])
    talk.accept(talk.two)
    talk.clear()
    machine = talk.world.machine
    first, second = (stream.group for stream in machine.exchange.table.live[0].streams.values())
    assert machine.relay_idle(first, talk.world.now)
    talk.world.advance(60)
    assert machine.relay_idle(second, talk.world.now)
    talk.world.flush()
    assert talk.one.silent()
    assert machine.relay_idle(first, talk.world.now)
    talk.world.flush()
    assert talk.one.take(message.Ended).reason is EndReason.timeout
    assert not machine.relay_idle(first, talk.world.now) and not talk.world.relay.groups
