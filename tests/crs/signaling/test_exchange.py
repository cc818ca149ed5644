"""Calls as sequence charts."""

from __future__ import annotations

import pytest

from crs.limits import Limits
from crs.signaling import message
from crs.signaling.event import SessionEvent
from crs.signaling.exchange import ANSWER_TIME, GRACE
from crs.signaling.message import EndReason, ErrorCode, RelayKind, Who
from crs.signaling.session import State
from crs.signaling.testing import Phone, World


class Pair:
    """Two attached clients; `one` calls `two`."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.one = self.world.connect("+1").attach()
        self.two = self.world.connect("+2").attach()

    def invite(self, session: str = "s") -> Pair:
        self.one.ask(message.Invite, session=session, to="+2", streams=[RelayKind.rtp], payload=b"offer")
        return self

    def talking(self) -> Pair:
        self.invite()
        self.two.ask(message.Answer, session="s", caller="+1", payload=b"answer")
        self.one.inbox.clear()
        self.two.inbox.clear()
        return self


def error(phone: Phone) -> ErrorCode:
    return phone.take(message.Error).code


def test_a_call_from_invite_to_hangup() -> None:
    pair = Pair().invite()
    inviting, invited = pair.one.take(message.Inviting), pair.two.take(message.Invited)
    assert invited.payload == b"offer" and (invited.caller, invited.account) == ("+1", "a")
    assert [leg.identifier for leg in inviting.relays] == [leg.peer for leg in invited.relays]
    pair.two.ask(message.Ringing, session="s", caller="+1", payload=b"ring")
    assert pair.one.take(message.Rang).payload == b"ring"
    pair.two.ask(message.Answer, session="s", caller="+1", payload=b"answer")
    assert pair.one.take(message.Answered).payload == b"answer"
    pair.one.ask(message.Hangup, session="s", caller="+1")
    assert pair.one.take(message.Ok)
    pair.two.take(message.Ok), pair.two.take(message.Ok)
    ended = pair.two.take(message.Ended)
    assert (ended.reason, ended.who) == (EndReason.hangup, Who.caller)
    states = [event.state for event in pair.world.told(SessionEvent)]
    assert states == ["invite", "ringing", "talk", "hangup(hangup; caller)"]
    assert not pair.world.relay.groups


def test_both_hang_up_at_once() -> None:
    pair = Pair().talking()
    pair.one.ask(message.Hangup, session="s", caller="+1")
    pair.two.ask(message.Hangup, session="s", caller="+1")
    assert pair.one.take(message.Ok) and pair.one.silent()
    assert pair.two.take(message.Ended).who is Who.caller
    assert pair.two.take(message.Ok)


def test_unknown_and_absent_callees() -> None:
    world = World()
    one = world.connect("+1").attach()
    world.connect("+2").attach().hang_up_line()
    for callee, code, state in (
        ("+9", ErrorCode.not_found, "responder not found"),
        ("+2", ErrorCode.not_connected, "responder not connected"),
    ):
        one.ask(message.Invite, session="s", to=callee, streams=[RelayKind.rtp])
        assert error(one) is code
        assert [event.state for event in world.told(SessionEvent)] == [state]
    assert len(world.machine.calls.admission.history.recent(world.now)) == 2
    assert not world.machine.calls.admission.history.recent(world.now + 61)


def test_nobody_answers() -> None:
    pair = Pair().invite()
    pair.world.advance(ANSWER_TIME + 1)
    pair.one.take(message.Inviting), pair.two.take(message.Invited)
    for phone in (pair.one, pair.two):
        ended = phone.take(message.Ended)
        assert (ended.reason, ended.who) == (EndReason.timeout, Who.server)


def test_a_lost_party_comes_back_in_time() -> None:
    """It is told where its calls are, and they go on."""
    pair = Pair().invite()
    pair.one.hang_up_line()
    pair.world.advance(GRACE - 1)
    pair.two.ask(message.Answer, session="s", caller="+1", payload=b"answer")
    again = pair.world.connect("+1").attach()
    assert again.take(message.Answered).payload == b"answer"
    pair.world.advance(GRACE * 2)
    assert pair.world.machine.exchange.table.live[0].state is State.talk


def test_a_callee_that_comes_back_is_invited_again() -> None:
    pair = Pair().invite()
    first = pair.two.take(message.Invited)
    pair.two.hang_up_line()
    assert pair.world.connect("+2").attach().take(message.Invited) == first


def test_a_lost_party_stays_away() -> None:
    pair = Pair().talking()
    pair.one.hang_up_line()
    pair.world.advance(GRACE + 1)
    assert pair.two.take(message.Ended).reason is EndReason.lost
    assert pair.world.connect("+1").attach().take(message.Ended).reason is EndReason.lost


def test_both_parties_are_lost_at_the_same_moment() -> None:
    """Two timers that are due together end one call once."""
    pair = Pair().talking()
    pair.one.hang_up_line()
    pair.two.hang_up_line()
    pair.world.advance(GRACE + 1)
    assert [event.state for event in pair.world.told(SessionEvent)][-1] == "hangup(lost; server)"
    assert not pair.world.relay.groups


def test_an_invite_repeated_after_a_lost_reply() -> None:
    pair = Pair().invite()
    first = pair.one.take(message.Inviting)
    pair.invite()
    assert pair.one.take(message.Inviting).relays == first.relays
    assert len(pair.world.machine.exchange.table.live) == 1
    pair.one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.opaque])
    assert error(pair.one) is ErrorCode.conflict


def test_cancelled_before_the_relays_are_there() -> None:
    pair = Pair()
    pair.world.manual = True
    pair.invite()
    pair.one.ask(message.Hangup, session="s", caller="+1")
    assert error(pair.one) is ErrorCode.wrong_state
    assert pair.one.take(message.Ok)
    pair.world.complete_all()
    assert not pair.world.relay.groups
    assert pair.two.silent()


def test_a_relay_that_never_answers() -> None:
    pair = Pair()
    pair.world.manual = True
    pair.invite()
    pair.world.advance(11)
    assert error(pair.one) is ErrorCode.unavailable
    pair.world.complete_all()
    assert not pair.world.relay.groups


def test_no_relay_left() -> None:
    pair = Pair(World(relays=0)).invite()
    assert error(pair.one) is ErrorCode.limit
    assert pair.two.silent()
    assert pair.world.machine.exchange.table.calls(pair.one.client) == 0


def test_calls_of_one_client_are_limited() -> None:
    pair = Pair()
    for number in range(Limits().sessions_per_client):
        pair.invite(f"s{number}").one.take(message.Inviting)
    assert error(pair.invite("more").one) is ErrorCode.limit
    pair.one.ask(message.Hangup, session="s0", caller="+1")
    pair.one.take(message.Ok)
    pair.invite("more").one.take(message.Inviting)


def test_only_the_callee_answers_and_only_parties_know() -> None:
    pair = Pair().invite()
    pair.one.take(message.Inviting)
    pair.one.ask(message.Answer, session="s", caller="+1")
    assert error(pair.one) is ErrorCode.wrong_state
    other = pair.world.connect("+3").attach()
    other.ask(message.Hangup, session="s", caller="+1")
    assert error(other) is ErrorCode.unknown_session


@pytest.mark.parametrize("reason", list(EndReason))
def test_a_client_cannot_claim_to_be_the_server(reason: EndReason) -> None:
    pair = Pair().invite()
    pair.one.take(message.Inviting)
    pair.two.ask(message.Hangup, session="s", caller="+1", reason=reason)
    allowed = (EndReason.decline, EndReason.busy)
    assert pair.one.take(message.Ended).reason is (reason if reason in allowed else EndReason.decline)


def test_shutdown_tells_both_and_releases() -> None:
    pair = Pair().talking()
    pair.world.machine.shutdown(pair.world.now)
    pair.world.flush()
    for phone in (pair.one, pair.two):
        assert phone.take(message.Ended).reason is EndReason.shutdown
        assert phone.closed == (4001, "shutdown")
    assert not pair.world.relay.groups


def test_shutdown_keeps_those_who_talk_if_their_media_goes_on() -> None:
    pair = Pair().talking()
    other = Pair().invite()
    for each in (pair, other):
        each.world.machine.shutdown(each.world.now, keep_talks=True)
        each.world.flush()
    for phone in (pair.one, pair.two):
        assert phone.closed == (4001, "shutdown")
        assert not any(isinstance(told, message.Ended) for told in phone.inbox)
    assert pair.world.relay.groups
    other.two.take(message.Invited)
    assert other.two.take(message.Ended).reason is EndReason.shutdown
    assert not other.world.relay.groups


def test_an_account_that_is_deleted() -> None:
    pair = Pair().talking()
    forgotten = pair.world.machine.remove_account("a", pair.world.now)
    pair.world.flush()
    assert sorted(forgotten) == [pair.one.client, pair.two.client]
    assert pair.one.take(message.Ended).who is Who.server
    assert pair.one.take(message.Detached).reason == "removed"
    assert pair.one.closed == (4003, "removed")
