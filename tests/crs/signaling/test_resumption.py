"""A client that loses its connection goes on where it was: nothing is lost, nothing comes twice."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crs.client.journal import Journal
from crs.signaling import message
from crs.signaling.event import AttachEvent, Offence
from crs.signaling.exchange import GRACE
from crs.signaling.message import EndReason, ErrorCode, Kind, RelayKind, Who
from crs.signaling.replay import MAX_MESSAGES
from crs.signaling.testing import Phone, World


def attach(phone: Phone, resume: message.Resume | None = None) -> message.Attached:
    phone.ask(message.Attach, version="v", resumable=True, resume=resume)
    return phone.take(message.Attached)


def resume(attached: message.Attached, received: int) -> message.Resume:
    assert attached.token is not None
    return message.Resume(token=attached.token, received=received)


def call(caller: Phone, callee: Phone, label: str = "s1") -> None:
    """A call that is answered."""
    caller.ask(message.Invite, session=label, to=callee.client.uri, streams=[RelayKind.rtp])
    caller.take(message.Inviting)
    callee.take(message.Invited)
    callee.ask(message.Answer, session=label, caller=caller.client.uri)
    callee.take(message.Ok)
    caller.take(message.Answered)


def test_what_was_missed_comes_and_nothing_else() -> None:
    world = World()
    alice, bob = world.connect("+1"), world.connect("+2").attach()
    first = attach(alice)
    assert (first.resumed, first.received) == (False, 0)
    call(alice, bob)
    alice.hang_up_line()
    bob.ask(message.Hangup, session="s1", caller="+1")
    bob.take(message.Ok)
    bob.ask(message.Post, message="m1", to="+1", payload=b"while you were away")
    bob.take(message.Posted)
    world.advance(GRACE - 1)
    back = world.connect("+1")
    second = attach(back, resume(first, 2))
    assert (second.resumed, second.received) == (True, 1)
    ended = back.take(message.Ended)
    assert (ended.reason, ended.who) == (EndReason.hangup, Who.callee)
    assert back.take(message.Deliver).message == "m1"
    assert back.silent()
    assert world.machine.registrar.resumed == 1


def test_replies_are_missed_as_well() -> None:
    world = World(manual=True)
    alice = world.connect("+1")
    alice.ask(message.Attach, version="v", resumable=True)
    world.complete_all()
    first = alice.take(message.Attached)
    alice.ask(message.Post, message="m1", to="+1", payload=b"to myself")
    alice.hang_up_line()
    world.complete_all()
    back = world.connect("+1")
    second = attach(back, resume(first, 0))
    assert second.received == 1
    assert back.take(message.Posted).message == "m1"
    world.complete_all()
    assert back.take(message.Deliver).message == "m1"


def test_a_call_goes_on() -> None:
    world = World()
    alice, bob = world.connect("+1"), world.connect("+2").attach()
    first = attach(alice)
    call(alice, bob)
    for _ in range(3):
        alice.hang_up_line()
        world.advance(GRACE - 1)
        alice = world.connect("+1")
        assert attach(alice, resume(first, 2)).resumed
        assert alice.silent()
    world.advance(GRACE + 1)
    assert bob.silent() and world.relay.groups


def test_the_server_need_not_have_noticed() -> None:
    world = World()
    older, newer = world.connect("+1"), world.connect("+1")
    first = attach(older)
    assert attach(newer, resume(first, 0)).resumed
    assert older.closed == (4000, "superseded")
    assert older.silent(), "a connection that is no more is told nothing"
    older.ask(message.Detach)
    world.disconnect(older)
    newer.ask(message.Post, message="m1", to="+1", payload=b"")
    newer.take(message.Posted)
    newer.take(message.Deliver)


def test_who_stays_away_too_long_begins_anew() -> None:
    world = World()
    alice, bob = world.connect("+1"), world.connect("+2").attach()
    first = attach(alice)
    call(alice, bob)
    alice.hang_up_line()
    assert world.machine.attachments.suspended_count == 1
    world.advance(GRACE + 1)
    assert world.machine.attachments.suspended_count == 0
    assert len(list(world.machine.attachments)) == 1
    back = world.connect("+1")
    assert not attach(back, resume(first, 2)).resumed
    assert back.take(message.Ended).reason is EndReason.lost


@pytest.mark.parametrize("received", [0, MAX_MESSAGES + 9])
def test_who_missed_too_much_is_told_to_begin_anew(received: int) -> None:
    """More than what was kept, or than there ever was."""
    world = World()
    alice = world.connect("+1")
    first = attach(alice)
    for _ in range(MAX_MESSAGES + 1):
        alice.ask(message.Hangup, session="s", caller="+9")
        world.advance(0.1)
    alice.hang_up_line()
    back = world.connect("+1")
    second = attach(back, resume(first, received))
    assert (second.resumed, second.received) == (False, 0)
    assert world.machine.attachments.suspended_count == 0


def test_a_client_that_confirms_can_always_resume() -> None:
    world = World()
    alice = world.connect("+1")
    first = attach(alice)
    for number in range(2 * MAX_MESSAGES):
        alice.ask(message.Hangup, session="s", caller="+9")
        if number % 16 == 0:
            alice.ask(message.Seen, count=len(alice.inbox))
        world.advance(0.1)
    alice.hang_up_line()
    back = world.connect("+1")
    assert attach(back, resume(first, len(alice.inbox))).resumed
    assert back.silent()


def test_seen_says_what_is_wrong() -> None:
    world = World()
    plain, alice = world.connect("+2").attach(), world.connect("+1")
    plain.ask(message.Seen, count=0)
    assert plain.take(message.Error).code is ErrorCode.wrong_state
    attach(alice)
    alice.ask(message.Seen, count=1)
    assert alice.take(message.Error).code is ErrorCode.bad_message
    alice.ask(message.Seen, count=1)
    alice.take(message.Ok)


def test_another_clients_token_is_an_offence() -> None:
    world = World()
    alice, mallory = world.connect("+1"), world.connect("+2")
    stolen = attach(alice)
    assert not attach(mallory, resume(stolen, 0)).resumed
    forged = message.Resume(token=b"forged", received=0)
    assert not attach(world.connect("+3"), forged).resumed
    assert [offence.kind for offence in world.told(Offence)] == ["bad resume token"] * 2
    assert alice.closed is None


def test_only_the_latest_attachment_is_resumed() -> None:
    world = World()
    alice = world.connect("+1")
    first = attach(alice)
    second = attach(alice)
    alice.hang_up_line()
    assert not attach(world.connect("+1"), resume(first, 0)).resumed
    assert not attach(world.connect("+1"), resume(second, 0)).resumed


@pytest.mark.parametrize("ending", ["detach", "deny", "remove", "other"])
def test_an_attachment_that_has_ended_is_not_resumed(ending: str) -> None:
    world = World()
    alice = world.connect("+1")
    first = attach(alice)
    if ending == "detach":
        alice.ask(message.Detach)
    alice.hang_up_line()
    if ending == "deny":
        world.machine.deny(alice.client, world.now)
    elif ending == "remove":
        world.machine.remove_account("a", world.now)
    elif ending == "other":
        world.connect("+1").attach()
    world.flush()
    assert world.machine.attachments.suspended_count == 0
    assert not attach(world.connect("+1"), resume(first, 0)).resumed


def test_a_suspended_client_is_not_attached() -> None:
    world = World()
    alice, bob = world.connect("+1"), world.connect("+2").attach()
    attach(alice)
    alice.hang_up_line()
    assert world.machine.attachments.attached_count == 1
    bob.ask(message.Invite, session="s", to="+1", streams=[RelayKind.rtp])
    assert bob.take(message.Error).code is ErrorCode.not_connected
    assert [event.state for event in world.told(AttachEvent) if event.client == alice.client] == [
        "registered",
        "unregistered",
    ]
    world.machine.shutdown(world.now)
    world.flush()
    assert world.machine.attachments.suspended_count == 0


class Lossy:
    """A client behind a bad network: what it sends and is sent waits, and is lost when the line is cut."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal = Journal()
        self.phone: Phone | None = None
        self.outgoing: list[bytes] = []
        self.held: list[tuple[int, bytes]] = []
        self.attaching = False
        self.ids = count(1)
        self.resumed: list[bool] = []
        self.requests: set[int] = set()
        self.replies: Counter[int] = Counter()
        self.events: Counter[tuple[str, str]] = Counter()

    def ask(self, kind: Any, /, **fields: Any) -> None:
        number = next(self.ids)
        self.requests.add(number)
        self.held.append((number, message.encode(kind(id=number, **fields))))
        self.release()

    def release(self) -> None:
        if self.phone is not None and not self.attaching:
            held, self.held = self.held, []
            for number, data in held:
                self.journal.ask(number, data)
                self.outgoing.append(data)

    def connect(self) -> None:
        if self.phone is None:
            self.phone = self.world.connect("+1")
            self.attaching = True
            request = message.Attach(
                id=next(self.ids), version="v", resumable=True, resume=self.journal.resume
            )
            self.outgoing.append(message.encode(request))

    def cut(self, noticed: bool) -> None:
        """The connection breaks; the server may notice it only when the client is back."""
        if self.phone is not None and noticed:
            self.world.disconnect(self.phone)
        self.phone = None
        self.outgoing.clear()

    def send(self, most: int) -> None:
        """Some of what the client has sent reaches the server."""
        while self.phone is not None and self.phone.closed is None and self.outgoing and most:
            most -= 1
            self.phone.send(self.outgoing.pop(0))

    def read(self, most: int) -> None:
        """Some of what the server has sent reaches the client."""
        while self.phone is not None and self.phone.inbox and most:
            most -= 1
            self.take(self.phone.inbox.pop(0))

    def take(self, received: Any) -> None:
        if isinstance(received, message.Attached):
            self.resumed.append(received.resumed)
            self.outgoing += self.journal.begin(received)
            self.attaching = False
            self.release()
            return
        if self.journal.arrived(100):
            self.ask(message.Seen, count=self.journal.received)
        if isinstance(received, message.Reply | message.Error):
            assert received.id is not None
            self.replies[received.id] += 1
            self.journal.answered(received.id)
        elif isinstance(received, message.Deliver):
            self.events["deliver", received.message] += 1
            fields = {"sender": received.sender, "account": received.account}
            self.ask(message.Ack, kind=received.kind, message=received.message, **fields)
        else:
            self.events[type(received).__name__, received.session] += 1


STEPS = st.one_of(
    st.tuples(st.just("post"), st.just(0)),
    st.tuples(st.just("invite"), st.just(0)),
    st.tuples(st.just("peer posts"), st.just(0)),
    st.tuples(st.just("peer calls"), st.just(0)),
    st.tuples(st.just("send"), st.integers(1, 20)),
    st.tuples(st.just("read"), st.integers(1, 40)),
    st.tuples(st.just("cut"), st.integers(0, 1)),
    st.tuples(st.just("connect"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 3)),
)


class Tale:
    """A lossy client, and a peer with a good line."""

    def __init__(self) -> None:
        self.world = World()
        self.peer = self.world.connect("+2").attach()
        self.client = Lossy(self.world)
        self.client.connect()
        self.settle()
        self.posted = self.called = self.invited = 0

    def settle(self) -> None:
        """The line is good for long enough."""
        for _ in range(100):
            self.client.connect()
            self.client.send(100)
            self.client.read(100)
            self.world.advance(0.1)

    def step(self, what: str, number: int) -> None:
        world, client = self.world, self.client
        if what == "post":
            client.ask(message.Post, message=f"own{next(client.ids)}", to="+2", payload=b"x")
        elif what == "invite" and self.invited < 15:
            self.invited += 1
            client.ask(message.Invite, session=f"i{self.invited}", to="+2", streams=[RelayKind.rtp])
        elif what == "peer posts":
            self.posted += 1
            self.peer.ask(message.Post, message=f"p{self.posted}", to="+1", payload=b"x")
        elif what == "peer calls" and world.machine.attachments.find(self.peer.client):
            self.called += 1
            self.peer.ask(message.Invite, session=f"c{self.called}", to="+1", streams=[RelayKind.rtp])
            self.peer.ask(message.Hangup, session=f"c{self.called}", caller="+2")
        elif what == "send":
            client.send(number)
        elif what == "read":
            client.read(number)
        elif what == "cut":
            client.cut(noticed=bool(number))
        elif what == "connect":
            client.connect()
        elif what == "wait":
            world.advance(number * 0.5)
        self.hang_up()

    def hang_up(self) -> None:
        """The peer declines every call at once."""
        for received in [each for each in self.peer.inbox if isinstance(each, message.Invited)]:
            self.peer.inbox.remove(received)
            self.peer.ask(message.Hangup, session=received.session, caller="+1")


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_exactly_once_whatever_is_lost(steps: list[tuple[str, int]]) -> None:
    """Every request gets one reply, and every event arrives once, in whatever places the line is cut."""
    tale = Tale()
    for step in steps:
        tale.step(*step)
    tale.settle()
    tale.hang_up()
    tale.settle()
    client = tale.client
    assert client.resumed[0] is False and all(client.resumed[1:])
    assert client.replies == Counter(dict.fromkeys(client.requests, 1))
    assert set(client.events.values()) <= {1}
    delivered = {label for kind, label in client.events if kind == "deliver"}
    assert {f"p{number}" for number in range(1, tale.posted + 1)} <= delivered
    invited = {label for kind, label in client.events if kind == "Invited"}
    ended = {label for kind, label in client.events if kind == "Ended"}
    assert invited <= ended
    assert {f"i{number}" for number in range(1, tale.invited + 1)} <= ended
    assert not tale.world.storage.mailboxes[client.phone.client if client.phone else tale.peer.client]
    assert not tale.world.relay.groups


def test_receipts_are_events_like_others() -> None:
    """What is delivered and not confirmed stays so over a resumption: it is not delivered again."""
    world = World()
    alice, bob = world.connect("+1"), world.connect("+2").attach()
    first = attach(alice)
    bob.ask(message.Post, message="m1", to="+1", payload=b"")
    alice.take(message.Deliver)
    alice.hang_up_line()
    back = world.connect("+1")
    assert attach(back, resume(first, 1)).resumed
    assert back.silent()
    back.ask(message.Ack, kind=Kind.content, message="m1", sender="+2", account="a")
    back.take(message.Ok)
    assert not world.storage.mailboxes[back.client]
