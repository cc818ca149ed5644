"""Group calls and conference rooms, as sequence charts."""

from __future__ import annotations

from typing import Any

import pytest

from crs.signaling import message
from crs.signaling.event import SessionEvent
from crs.signaling.group import Room
from crs.signaling.membership import ANSWER_TIME, GRACE, LISTED
from crs.signaling.message import EndReason, ErrorCode, Invitee, MemberState, RelayKind, Who
from crs.signaling.message.group import MAX_INVITEES, MAX_PARTIES
from crs.signaling.testing import Phone, World

ROOM = Room("123456", "a", "+1")


class Party:
    """A group call: +1 has invited +2 and +3."""

    def __init__(self, *, join: str = "23", **world: Any) -> None:
        self.world = World(**world)
        self.one, self.two, self.three = (self.world.connect(f"+{number}").attach() for number in (1, 2, 3))
        self.open("+2", "+3")
        for name, phone in (("2", self.two), ("3", self.three)):
            if name in join:
                self.join(phone)
        if join:
            self.clear()

    def clear(self) -> None:
        for phone in self.world.phones.values():
            phone.inbox.clear()

    def open(self, *to: str) -> None:
        invitees = [Invitee(uri=uri) for uri in to]
        self.one.ask(message.OpenGroup, session="g", to=invitees, payload=b"party")

    def join(self, phone: Phone) -> None:
        phone.ask(message.Join, session="g", caller="+1")

    def leave(self, phone: Phone, reason: EndReason = EndReason.hangup) -> None:
        phone.ask(message.Leave, session="g", caller="+1", reason=reason)

    @property
    def nodes(self) -> int:
        return sum(len(nodes) for nodes in self.world.relay.nodes.values())

    def over(self) -> bool:
        return not self.world.relay.groups and not self.world.machine.calls.live_count


def error(phone: Phone) -> ErrorCode:
    return phone.take(message.Error).code


def members(listed: list[message.Member]) -> dict[str, str]:
    return {member.uri: member.state.value for member in listed}


def end(phone: Phone) -> tuple[EndReason, Who]:
    ended = phone.take(message.Ended)
    return ended.reason, ended.who


def moved(phone: Phone) -> tuple[str, str]:
    member = phone.take(message.GroupMember).member
    return member.uri, member.state.value


def traced(world: World) -> list[tuple[str, str, str]]:
    return [(event.caller.uri, event.callee.uri, event.state) for event in world.told(SessionEvent)]


def test_a_group_call_from_its_beginning_to_its_end() -> None:
    group = Party(join="")
    opened = group.one.take(message.GroupOpened)
    assert members(opened.members) == {"+1": "joined", "+2": "invited", "+3": "invited"}
    assert opened.refused == [] and (opened.relay.kind, opened.relay.peer) == ("opaque-multicast", 0)
    invited = group.two.take(message.GroupInvited)
    assert (invited.session, invited.caller, invited.account, invited.payload) == ("g", "+1", "a", b"party")
    group.two.ask(message.Ringing, session="g", caller="+1")
    assert group.two.take(message.Ok) and moved(group.one) == ("+2", "ringing")
    group.join(group.two)
    joined = group.two.take(message.Joined)
    told = group.one.take(message.GroupMember).member
    assert told.identifier == joined.relay.identifier != opened.relay.identifier
    assert {member.uri: member.identifier for member in joined.members} == {
        "+1": opened.relay.identifier,
        "+2": joined.relay.identifier,
        "+3": 0,
    }
    group.three.take(message.GroupInvited)
    group.leave(group.three, EndReason.busy)
    assert group.three.take(message.Ok) and group.three.silent()
    for phone in (group.one, group.two):
        left = phone.take(message.GroupMember).member
        assert (left.state, left.reason) == (MemberState.left, EndReason.busy)
    assert group.nodes == 2
    group.leave(group.two)
    assert group.two.take(message.Ok) and group.two.silent()
    assert moved(group.one) == ("+2", "left") and end(group.one) == (EndReason.empty, Who.server)
    assert group.over()
    assert traced(group.world) == [
        ("+1", "+2", "invite"),
        ("+1", "+3", "invite"),
        ("+1", "+2", "ringing"),
        ("+1", "+2", "talk"),
        ("+1", "+3", "hangup(busy; callee)"),
        ("+1", "+2", "hangup(hangup; callee)"),
    ]


def test_it_goes_on_without_who_began_it() -> None:
    group = Party()
    group.leave(group.one)
    assert moved(group.two) == moved(group.three) == ("+1", "left")
    assert group.nodes == 2
    group.join(group.one)
    assert group.one.take(message.Ok) and group.one.take(message.Joined)
    assert moved(group.two) == ("+1", "joined")


def test_who_began_it_ends_it_for_all() -> None:
    group = Party()
    group.two.ask(message.CloseGroup, session="g", caller="+1")
    assert error(group.two) is ErrorCode.denied
    group.one.ask(message.CloseGroup, session="g", caller="+1")
    assert group.one.take(message.Ok) and group.one.silent()
    assert end(group.two) == end(group.three) == (EndReason.hangup, Who.caller)
    assert group.over()
    group.one.ask(message.CloseGroup, session="g", caller="+1")
    assert group.one.take(message.Ok)
    group.join(group.two)
    assert error(group.two) is ErrorCode.wrong_state


def test_nobody_joins() -> None:
    group = Party(join="")
    group.clear()
    group.world.advance(ANSWER_TIME + 1)
    assert end(group.two) == end(group.three) == (EndReason.timeout, Who.server)
    assert moved(group.one) == ("+2", "left") and moved(group.one) == ("+3", "left")
    assert end(group.one) == (EndReason.timeout, Who.server)
    assert group.over()


def test_one_who_left_comes_back_or_is_invited_again() -> None:
    group = Party()
    group.leave(group.two)
    group.join(group.two)
    assert group.two.take(message.Ok) and group.two.take(message.Joined)
    group.leave(group.two)
    group.clear()
    group.world.advance(LISTED + 1)
    group.join(group.two)
    assert error(group.two) is ErrorCode.unknown_session
    invitees = [Invitee(uri="+2"), Invitee(uri="+3")]
    group.one.ask(message.InviteMore, session="g", to=invitees, payload=b"again")
    assert moved(group.one) == ("+2", "invited")
    assert group.one.take(message.MoreInvited).refused == []
    assert group.two.take(message.GroupInvited).payload == b"again"
    assert moved(group.three) == ("+2", "invited") and group.three.silent()


def test_some_cannot_be_invited() -> None:
    group = Party()
    group.world.connect("+4").attach().hang_up_line()
    invitees = [Invitee(uri="+4"), Invitee(uri="+5"), Invitee(uri="+1", account="b")]
    group.one.ask(message.InviteMore, session="g", to=invitees)
    refused = group.one.take(message.MoreInvited).refused
    assert [(each.uri, each.account, each.code) for each in refused] == [
        ("+4", "a", ErrorCode.not_connected),
        ("+5", "a", ErrorCode.not_found),
        ("+1", "b", ErrorCode.not_found),
    ]
    group.two.ask(message.InviteMore, session="g", to=invitees)
    assert error(group.two) is ErrorCode.unknown_session


def test_nobody_can_be_invited() -> None:
    world = World()
    one = world.connect("+1").attach()
    one.ask(message.OpenGroup, session="g", to=[Invitee(uri="+2")])
    assert error(one) is ErrorCode.not_found
    assert not world.relay.groups and not world.machine.calls.live_count
    one.ask(message.OpenGroup, session="g", to=[Invitee(uri="+1")])
    assert error(one) is ErrorCode.bad_message
    assert not world.relay.groups


def test_there_is_no_relay() -> None:
    group = Party(join="", relays=0)
    assert error(group.one) is ErrorCode.limit and group.two.silent()
    assert not group.world.machine.calls.live_count


def test_a_lost_party_comes_back_in_time() -> None:
    group = Party()
    group.two.hang_up_line()
    group.world.advance(GRACE - 1)
    again = group.world.connect("+2").attach()
    told = again.take(message.InGroup)
    assert (told.session, told.caller) == ("g", "+1")
    assert members(told.members) == {"+1": "joined", "+2": "joined", "+3": "joined"}
    group.world.advance(GRACE * 2)
    assert group.one.silent() and group.nodes == 3


def test_a_lost_party_stays_away() -> None:
    group = Party()
    group.two.hang_up_line()
    group.world.advance(GRACE + 1)
    left = group.one.take(message.GroupMember).member
    assert (left.uri, left.reason) == ("+2", EndReason.lost) and group.nodes == 2
    assert end(group.world.connect("+2").attach()) == (EndReason.lost, Who.server)


def test_one_who_is_invited_and_comes_back_is_invited_again() -> None:
    group = Party(join="")
    first = group.two.take(message.GroupInvited)
    group.two.hang_up_line()
    again = group.world.connect("+2").attach().take(message.GroupInvited)
    assert (again.session, again.payload) == (first.session, first.payload)


def test_lost_replies_are_repeated() -> None:
    group = Party(join="2")
    group.open("+2", "+3")
    assert group.one.take(message.GroupOpened) and group.one.silent()
    group.join(group.two)
    assert group.two.take(message.Joined) and group.two.silent()
    assert group.nodes == 2
    group.leave(group.two)
    group.leave(group.two)
    assert group.two.take(message.Ok) and group.two.take(message.Ok)


def test_a_label_is_used_once() -> None:
    group = Party()
    group.one.ask(message.Invite, session="g", to="+2", streams=[RelayKind.rtp])
    assert error(group.one) is ErrorCode.conflict
    group.one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    group.one.take(message.Inviting)
    group.one.ask(message.OpenGroup, session="s", to=[Invitee(uri="+3")])
    assert error(group.one) is ErrorCode.conflict


def test_left_while_joining() -> None:
    group = Party(join="3")
    group.world.manual = True
    group.join(group.two)
    group.join(group.two)
    assert error(group.two) is ErrorCode.wrong_state
    group.leave(group.two)
    assert group.two.take(message.Ok)
    group.world.complete_all()
    assert error(group.two) is ErrorCode.wrong_state and group.nodes == 2


def test_ended_while_it_is_opened() -> None:
    world = World(manual=True)
    phones = []
    for uri in ("+1", "+2"):
        phone = world.connect(uri)
        phone.ask(message.Attach, version="v")
        world.complete_all()
        phone.inbox.clear()
        phones.append(phone)
    phones[0].ask(message.OpenGroup, session="g", to=[Invitee(uri="+2")])
    phones[0].ask(message.Leave, session="g", caller="+1")
    world.complete_all()
    assert not world.relay.groups and not world.machine.calls.live_count and phones[1].silent()


def test_limits() -> None:
    world = World()
    one = world.connect("+1").attach()
    for number in range(2, MAX_PARTIES + 3):
        world.connect(f"+{number}").attach()
    refused: list[message.Refusal] = []
    invitees = [Invitee(uri=f"+{number}") for number in range(2, MAX_PARTIES + 3)]
    kind: Any = message.OpenGroup
    while invitees:
        one.ask(kind, session="g", to=invitees[:MAX_INVITEES])
        kind, invitees = message.InviteMore, invitees[MAX_INVITEES:]
        while not one.silent():
            received = one.inbox.pop(0)
            refused += getattr(received, "refused", [])
        world.advance(4)
    assert [(each.uri, each.code) for each in refused] == [
        (f"+{MAX_PARTIES + 1}", ErrorCode.limit),
        (f"+{MAX_PARTIES + 2}", ErrorCode.limit),
    ]
    one.ask(message.InviteMore, session="g", to=[Invitee(uri="+2")] * (MAX_INVITEES + 1))
    assert error(one) is ErrorCode.bad_message


def test_no_new_calls() -> None:
    group = Party()
    group.world.rooms = [ROOM]
    group.world.machine.refuse_calls("stopping")
    group.one.ask(message.OpenGroup, session="h", to=[Invitee(uri="+2")])
    group.one.ask(message.Invite, session="i", to="+2", streams=[RelayKind.rtp])
    group.one.ask(message.Invite, session="i", to="123456", streams=[RelayKind.opaque_multicast])
    for _ in range(3):
        assert error(group.one) is ErrorCode.unavailable
    group.leave(group.two)
    group.join(group.two)
    assert group.two.take(message.Ok) and group.two.take(message.Joined)


def test_silence_and_removed_accounts_and_a_stop_end_it() -> None:
    group = Party()
    (number,) = group.world.relay.groups
    assert group.world.machine.relay_idle(number, group.world.now)
    group.world.flush()
    assert end(group.one) == end(group.two) == (EndReason.timeout, Who.server)
    assert group.over()
    group = Party()
    group.world.machine.remove_account("a", group.world.now)
    group.world.flush()
    assert group.over() and end(group.two) == (EndReason.hangup, Who.server)
    group = Party()
    group.world.machine.shutdown(group.world.now)
    group.world.flush()
    assert group.over() and end(group.two) == (EndReason.shutdown, Who.server)


# Rooms


class Hall:
    """Three clients and a room."""

    def __init__(self, *rooms: Room) -> None:
        self.world = World()
        self.world.rooms = list(rooms or [ROOM])
        self.one, self.two, self.other = (
            self.world.connect(*client).attach() for client in (("+1", "a"), ("+2", "a"), ("+1", "b"))
        )

    def dial(self, phone: Phone, session: str = "s", **fields: Any) -> None:
        kinds = fields.pop("streams", [RelayKind.opaque_multicast])
        phone.ask(message.Invite, session=session, to="123456", streams=kinds, **fields)


def test_a_room_is_dialled() -> None:
    hall = Hall()
    hall.dial(hall.one)
    first = hall.one.take(message.Joined)
    assert members(first.members) == {"+1": "joined"} and first.session == "s"
    hall.dial(hall.two, "other")
    second = hall.two.take(message.Joined)
    assert members(second.members) == {"+1": "joined", "+2": "joined"}
    told = hall.one.take(message.GroupMember)
    assert (told.session, told.caller) == ("s", "+1")
    assert told.member.identifier == second.relay.identifier
    hall.one.ask(message.Leave, session="s", caller="+1")
    left = hall.two.take(message.GroupMember)
    assert (left.session, left.caller, left.member.state) == ("other", "+2", MemberState.left)
    assert len(hall.world.relay.groups) == 1 and hall.two.silent()
    hall.two.ask(message.Leave, session="other", caller="+2")
    assert not hall.world.relay.groups
    assert traced(hall.world) == [
        ("+1", "123456", "talk"),
        ("+2", "123456", "talk"),
        ("+1", "123456", "hangup(hangup; callee)"),
        ("+2", "123456", "hangup(hangup; callee)"),
    ]


def test_dialling_again_repeats_the_reply_or_takes_the_place() -> None:
    hall = Hall()
    hall.dial(hall.one)
    hall.dial(hall.one)
    assert hall.one.take(message.Joined).relay == hall.one.take(message.Joined).relay
    hall.dial(hall.one, "new")
    assert end(hall.one) == (EndReason.hangup, Who.callee)
    assert hall.one.take(message.Joined).session == "new"
    assert sum(len(nodes) for nodes in hall.world.relay.nodes.values()) == 1


def test_the_owner_ends_it_for_all() -> None:
    hall = Hall()
    hall.dial(hall.one)
    hall.dial(hall.two)
    hall.two.ask(message.CloseGroup, session="s", caller="+2")
    hall.one.ask(message.CloseGroup, session="s", caller="+1")
    hall.two.take(message.Joined)
    assert error(hall.two) is ErrorCode.denied
    assert end(hall.two) == (EndReason.hangup, Who.caller)
    assert not hall.world.relay.groups


def test_rooms_of_other_accounts() -> None:
    hall = Hall(ROOM, Room("123456", "b", "+1"))
    hall.dial(hall.two)
    refused = hall.two.take(message.Error)
    assert refused.code is ErrorCode.ambiguous and "a, b" in refused.reason
    hall.dial(hall.two, account="b")
    assert hall.two.take(message.Joined)
    hall.dial(hall.two, "t", account="a")
    assert hall.two.take(message.Joined)
    hall.world.apart.append({"a", "b"})
    hall.dial(hall.other)
    assert members(hall.other.take(message.Joined).members) == {"+2": "joined", "+1": "joined"}
    hall.dial(hall.other, "t", account="a")
    assert error(hall.other) is ErrorCode.not_found


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ([RelayKind.rtp], ErrorCode.not_found),
        ([RelayKind.opaque_multicast, RelayKind.rtp], ErrorCode.bad_message),
    ],
)
def test_a_room_has_one_stream(streams: list[RelayKind], code: ErrorCode) -> None:
    hall = Hall()
    hall.dial(hall.one, streams=streams)
    assert error(hall.one) is code


def test_no_such_room_and_no_relay_for_it() -> None:
    hall = Hall()
    hall.world.relay.limit = 0
    hall.dial(hall.one)
    assert error(hall.one) is ErrorCode.limit and not hall.world.machine.calls.live_count
    hall.world.rooms.clear()
    hall.dial(hall.one)
    assert error(hall.one) is ErrorCode.not_found


def test_unconnected_domains_do_not_know_each_other() -> None:
    hall = Hall()
    hall.world.apart.append({"a", "b"})
    hall.one.ask(message.Invite, session="s", to="+1", account="b", streams=[RelayKind.rtp])
    unconnected = hall.one.take(message.Error)
    hall.one.ask(message.Invite, session="s", to="+9", account="b", streams=[RelayKind.rtp])
    unknown = hall.one.take(message.Error)
    assert (unconnected.code, unconnected.reason.replace("+1@b", "+9@b")) == (unknown.code, unknown.reason)
    hall.one.ask(message.Post, message="m", to="+1", account="b", payload=b"")
    assert error(hall.one) is ErrorCode.not_found
    assert hall.other.silent()
