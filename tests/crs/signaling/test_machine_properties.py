"""Whatever clients, time, store and relay do, in any order, the machine keeps its promises.

A story is a sequence of steps. A seeded dice makes long ones, where a failing seed is its own reproduction;
Hypothesis makes shorter ones, with messages among them that no client would send, and finds the shortest
that fails.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.event import SessionEvent
from crs.signaling.exchange import ANSWER_TIME, GRACE
from crs.signaling.group import Group, Party, PartyState, Room
from crs.signaling.message import Kind, RelayKind
from crs.signaling.session import Key, Session, State
from crs.signaling.testing import Phone, World

CLIENTS = [Identity("+1", "a"), Identity("+2", "a"), Identity("+3", "a"), Identity("+1", "b")]
LABELS = ["s1", "s2", "s3", "s4"]
STEPS = 350
STEPS_OF_A_CALL: list[type[message.Request]] = [message.Ringing, message.Answer, message.Hangup]

STEPS_OF_A_GROUP: list[type[message.Request]] = [
    message.Ringing,
    message.Join,
    message.Leave,
    message.CloseGroup,
]


class Belief:
    """What one client believes, from what it was told: the rules of docs/crs-protocol.md."""

    def __init__(self) -> None:
        self.calls: set[tuple[str, str]] = set()
        """Calls and groups that it is in, or invited to."""
        self.away_since: float | None = None
        self.delivered: Counter[tuple[Kind, str, str, str]] = Counter()


class Story:
    """Random clients and a random world around them."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.world = World(relays=8)
        self.world.rooms = [Room("123456", "a", "+1")]
        self.beliefs = {client: Belief() for client in CLIENTS}
        self.requests: dict[tuple[int, int], tuple[str, dict[str, Any]]] = {}
        self.replies: Counter[tuple[int, int]] = Counter()
        self.reached: Counter[str] = Counter()
        for client in CLIENTS[:3]:
            self._ask(self.world.connect(*client), message.Attach, version="first")

    def run(self) -> None:
        """All steps, what must hold after each, and what must hold in the end."""
        steps = {
            self.connect: 4,
            self.disconnect: 3,
            self.attach: 8,
            self.detach: 1,
            self.invite: 14,
            self.progress: 3,
            self.step: 14,
            self.change: 16,
            self.decide: 12,
            self.open_group: 5,
            self.dial: 4,
            self.take_part: 14,
            self.post: 10,
            self.post_group: 4,
            self.ack: 10,
            self.garbage: 1,
            self.wait: 6,
            self.be_slow: 2,
            self.complete: 12,
            self.relay_idle: 1,
        }
        for step in self.dice.choices(list(steps), list(steps.values()), k=STEPS):
            step()
            self.read()
            self.check()
        self.finish()

    # Clients

    def connect(self) -> None:
        if len(self.world.phones) < 8:
            self.world.connect(*self.dice.choice(CLIENTS))

    def disconnect(self) -> None:
        phone = self._phone()
        if phone is not None:
            attached = self._attached(phone.client) is phone
            self.world.disconnect(phone)
            if attached:
                self.beliefs[phone.client].away_since = self.world.now

    def attach(self) -> None:
        self._ask(self._phone(), message.Attach, version="v")

    def detach(self) -> None:
        self._ask(self._phone(), message.Detach)

    def invite(self) -> None:
        to, label = self.dice.choice(CLIENTS), self.dice.choice(LABELS)
        kinds = [RelayKind.rtp] * self.dice.randint(1, 2)
        self._ask(self._phone(), message.Invite, session=label, to=to.uri, account=to.account, streams=kinds)

    def progress(self) -> None:
        """About a call that there may be or not."""
        kind = self.dice.choice(STEPS_OF_A_CALL)
        caller, label = self.dice.choice(["+1", "+2", "+3", "+4"]), self.dice.choice(LABELS)
        self._ask(self._phone(), kind, session=label, caller=caller)

    def step(self) -> None:
        """A party of a real call does something about it."""
        live = self.world.machine.exchange.table.live
        if live:
            session = self.dice.choice(live)
            client = self.dice.choice([session.callee, session.callee, session.caller])
            kind = self.dice.choice(STEPS_OF_A_CALL)
            phone = self._attached(client)
            self._ask(phone, kind, session=session.label, caller=session.caller.uri)

    def talk(self) -> None:
        """Two clients call and answer, if they can."""
        caller, callee = self.dice.sample(CLIENTS[:3], 2)
        label, to = self.dice.choice(LABELS), callee.uri
        self._ask(self._attached(caller), message.Invite, session=label, to=to, streams=[RelayKind.rtp])
        self._ask(self._attached(callee), message.Answer, session=label, caller=caller.uri)

    def change(self) -> None:
        """A party of a real call offers to change its streams, in a way that may be possible or not."""
        live = self.world.machine.exchange.table.live
        talks = [session for session in live if session.state is State.talk] or live
        if talks:
            session = self.dice.choice(talks)
            numbers = list(session.streams) + [7]
            self._ask(
                self._attached(self.dice.choice([session.callee, session.caller])),
                message.Change,
                session=session.label,
                caller=session.caller.uri,
                change=self.dice.choice(LABELS),
                add=[RelayKind.rtp] * self.dice.randint(0, 2),
                remove=self.dice.sample(numbers, self.dice.choice([0, 0, 1])),
            )

    def decide(self) -> None:
        """A party decides on a change that there may be or not."""
        changing = [session for session in self.world.machine.exchange.table.live if session.change]
        changing.sort(key=lambda session: session.change is not None and session.change.pending)
        changing = changing[self.dice.choice([0, -1, -1]) :]
        if changing:
            session = self.dice.choice(changing)
            assert session.change is not None
            own = session.client(session.change.by)
            other = session.callee if own == session.caller else session.caller
            self._ask(
                self._attached(self.dice.choice([own, other, other, other])),
                self.dice.choice([message.AcceptChange, message.RefuseChange]),
                session=session.label,
                caller=session.caller.uri,
                change=session.change.label,
            )

    def open_group(self) -> None:
        invitees = [
            message.Invitee(uri=client.uri, account=client.account)
            for client in self.dice.sample(CLIENTS, self.dice.randint(1, 3))
        ]
        kinds: list[type[message.Request]] = [message.OpenGroup, message.OpenGroup, message.InviteMore]
        kind = self.dice.choice(kinds)
        self._ask(self._phone(), kind, session=self.dice.choice(LABELS), to=invitees)

    def dial(self) -> None:
        """A conference room that one may reach, or not."""
        kinds = [RelayKind.opaque_multicast]
        label = self.dice.choice(LABELS)
        self._ask(self._phone(), message.Invite, session=label, to="123456", account="a", streams=kinds)

    def take_part(self) -> None:
        """A party of a real group does something about it."""
        groups = self.world.machine.bridge.table.live
        if groups:
            party = self.dice.choice(list(self.dice.choice(groups).parties.values()))
            kind = self.dice.choices(STEPS_OF_A_GROUP, [2, 8, 4, 1])[0]
            phone = self._attached(party.client)
            self._ask(phone, kind, session=party.key.session, caller=party.key.caller)

    def post(self) -> None:
        to, label = self.dice.choice(CLIENTS), self.dice.choice(LABELS)
        self._ask(self._phone(), message.Post, message=label, to=to.uri, account=to.account, payload=b"x")

    def post_group(self) -> None:
        to = [
            message.Recipient(uri=client.uri, account=client.account)
            for client in self.dice.choices(CLIENTS, k=self.dice.randint(1, 4))
        ]
        label, system = self.dice.choice(LABELS), self.dice.random() < 0.5
        self._ask(self._phone(), message.PostGroup, message=label, to=to, payload=b"x", system=system)

    def ack(self) -> None:
        phone = self._phone()
        delivered = sorted(self.beliefs[phone.client].delivered) if phone is not None else []
        if delivered:
            kind, sender, account, label = self.dice.choice(delivered)
            self._ask(phone, message.Ack, kind=kind, message=label, sender=sender, account=account)

    def garbage(self) -> None:
        self.send_bytes(self.dice.randbytes(self.dice.randint(0, 64)))

    def send_bytes(self, data: bytes) -> None:
        phone = self._phone()
        if phone is not None:
            phone.send(data)

    def send(self, entries: dict[str, Any]) -> None:
        """A client sends a map, which may be a message or not."""
        phone = self._phone()
        if phone is None:
            return
        number = phone.skip()
        data = msgspec.msgpack.encode({"id": number} | entries)
        try:
            request = message.decode_client_message(data)
        except msgspec.MsgspecError:
            self.requests[phone.number, number] = ("", {})
        else:
            self.requests[phone.number, request.id] = (
                type(request).__name__,
                msgspec.structs.asdict(request),
            )
            self.replies.pop((phone.number, request.id), None)
        phone.send(data)

    def repeat(self) -> None:
        """A client sends a request again that it has its reply to."""
        phone = self._phone()
        if phone is None:
            return
        answered = [key for key in self.requests if key[0] == phone.number and self.replies[key]]
        if answered:
            key = self.dice.choice(answered)
            name, fields = self.requests[key]
            if name:
                del self.replies[key]
                kind: Any = getattr(message, name)
                phone.send(message.encode(kind(**({"id": key[1]} | fields))))

    # The world around

    def wait(self) -> None:
        self.world.advance(self.dice.choice([0.0, 1.0, 1.0, 1.0, 5.0, GRACE / 2, GRACE, ANSWER_TIME]))

    def be_slow(self) -> None:
        """From now on the store and the relay take their time, or not."""
        self.world.manual = self.dice.random() < 0.5

    def complete(self) -> None:
        if self.world.waiting:
            index = self.dice.randrange(len(self.world.waiting))
            self.world.complete(index, fail=self.dice.random() < 0.2)

    def relay_idle(self) -> None:
        groups = sorted(self.world.relay.groups) or [-1]
        self.world.machine.relay_idle(self.dice.choice(groups), self.world.now)
        self.world.flush()

    # What must hold

    def check(self) -> None:
        table = self.world.machine.exchange.table
        for client, belief in self.beliefs.items():
            calls = table.of(client)
            if self._attached(client) is not None:
                told = {tuple(session.key) for session in calls if _told(session)}
                groups = self.world.machine.bridge.table.of(client)
                told |= {tuple(party.key) for group, party in groups if _is_in(group, party)}
                assert belief.calls == told
            assert table.calls(client) == sum(session.state is not State.ended for session in calls)
        streams = {stream.group for session in table.live for stream in session.streams.values()}
        changes = [session.change for session in table.live if session.change is not None]
        offered = {stream.group for change in changes if change.pending for stream in change.streams}
        open_groups = [group for group in self.world.machine.bridge.table.live if group.opened]
        assert self.world.relay.groups == streams | offered | {group.number for group in open_groups}
        for group in open_groups:
            legs = {party.relay.identifier for party in group.joined if party.relay is not None}
            assert self.world.relay.nodes[group.number] == legs
            assert not group.deserted
        assert all(count == 1 for count in self.replies.values())
        timer = self.world.machine.get_timer()
        assert timer is None or timer > self.world.now - 0.2

    def finish(self) -> None:
        """Once all that was asked is done, every request has its reply and every message arrived once."""
        self.world.manual = False
        self._settle()
        for number, request in self.requests:
            if number in self.world.phones and self.world.phones[number].closed is None:
                assert self.replies[number, request] == 1
        self._empty_mailboxes()
        self._check_messages()
        self.world.machine.shutdown(self.world.now)
        self.world.flush()
        assert not self.world.relay.groups
        assert all(count == 1 for count in self.world.relay.released.values())
        assert not self.world.machine.calls.live_count
        assert not self.world.machine.pending
        self.reached.update(event.state for event in self.world.told(SessionEvent))

    def _check_messages(self) -> None:
        for client, record in self.world.machine.directory:
            own = f"content/{client.account}/{client.uri}/"
            stored = {item for item in self.world.storage.seen if item[1].startswith(own)}
            posted = record.posted + record.system_posted
            assert posted == record.delivered + record.system_delivered == len(stored)
            for recipient, item in stored:
                label = item.removeprefix(own)
                assert (client, f"ack/{recipient.account}/{recipient.uri}/{label}") in self.world.storage.seen
        assert not any(self.world.storage.mailboxes.values())

    # How

    def _phone(self) -> Phone | None:
        phones = [phone for phone in self.world.phones.values() if phone.closed is None]
        return self.dice.choice(phones) if phones else None

    def _ask(self, phone: Phone | None, kind: type[message.Request], /, **fields: Any) -> None:
        if phone is not None and phone.closed is None:
            self.requests[phone.number, len(phone.asked) + 1] = (kind.__name__, fields)
            phone.ask(kind, **fields)
            self.read()

    def _attached(self, client: Identity) -> Phone | None:
        connection = self.world.machine.attachments.find(client)
        return None if connection is None else self.world.phones[connection.number]

    def _settle(self) -> None:
        self.world.complete_all()
        self.read()

    def read(self) -> None:
        """Every client takes in what it was told."""
        for phone in list(self.world.phones.values()):
            inbox, phone.inbox = phone.inbox, []
            for received in inbox:
                self._take(phone, self.beliefs[phone.client], received)

    def _take(self, phone: Phone, belief: Belief, received: Any) -> None:
        request: dict[str, Any] = {}
        kind = ""
        if isinstance(received, message.Reply | message.Error):
            if received.id is None:
                return
            self.replies[phone.number, received.id] += 1
            kind, request = self.requests[phone.number, received.id]
        match received:
            case message.Attached():
                if belief.away_since is not None and self.world.now - belief.away_since >= GRACE:
                    belief.calls.clear()
                belief.away_since = None
            case message.Ok() if kind == "Detach":
                if self._attached(phone.client) is None and belief.away_since is None:
                    belief.away_since = self.world.now
            case message.Ok() if kind in ("Hangup", "Leave", "CloseGroup"):
                belief.calls.discard((request["caller"], request["session"]))
            case message.Ok() if kind == "Ack":
                self._confirm(phone.client, request)
            case message.GroupOpened():
                belief.calls.add((phone.client.uri, received.session))
            case message.Joined():
                self.reached["joined"] += 1
                belief.calls.add((request.get("caller", phone.client.uri), received.session))
            case message.InGroup() | message.GroupInvited():
                self.reached[type(received).__name__] += 1
                belief.calls.add((received.caller, received.session))
            case message.Inviting():
                belief.calls.add((phone.client.uri, received.session))
            case message.Invited():
                belief.calls.add((received.caller, received.session))
            case message.Ended():
                belief.calls.discard((received.caller, received.session))
                self._check_end(phone, received)
            case message.ChangeAccepted():
                self.reached["change accepted"] += 1
            case message.ChangeRefused():
                self.reached[f"change {received.reason}"] += 1
            case message.Deliver():
                belief.delivered[received.kind, received.sender, received.account, received.message] += 1

    def _check_end(self, phone: Phone, ended: message.Ended) -> None:
        """Both parties hear of the same end: that which the server has noted, by whoever it was."""
        key = Key(ended.caller, ended.session)
        session = self.world.machine.exchange.table.find(phone.client, key)
        if session is not None and session.state is State.ended:
            assert (ended.reason, ended.who) == (session.reason, session.who)
            self.reached["both agree"] += 1

    def _confirm(self, client: Identity, request: dict[str, Any]) -> None:
        sender = Identity(request["sender"], request["account"])
        key = (request["kind"], sender.uri, sender.account, request["message"])
        self.beliefs[client].delivered.pop(key, None)

    def _empty_mailboxes(self) -> None:
        """Attach everybody, on new connections, and confirm until nothing is left."""
        self.world.advance(60)
        for belief in self.beliefs.values():
            belief.delivered.clear()
        phones = [self.world.connect(*client) for client in CLIENTS]
        for phone in phones:
            self._ask(phone, message.Attach, version="last")
        while any(self.beliefs[phone.client].delivered for phone in phones):
            for phone in phones:
                self._confirm_one(phone)

    def _confirm_one(self, phone: Phone) -> None:
        for kind, sender, account, label in sorted(self.beliefs[phone.client].delivered)[:1]:
            self.world.advance(1)
            before = self.replies.total()
            self._ask(phone, message.Ack, kind=kind, message=label, sender=sender, account=account)
            assert self.replies.total() == before + 1
            assert (kind, sender, account, label) not in self.beliefs[phone.client].delivered


def _is_in(group: Group, party: Party) -> bool:
    """Whether the client knows that it is in a group, or invited."""
    if party.state is PartyState.joining:
        invited = group.opened and group.room is None
        return invited and party.before is not PartyState.left
    return party.waiting or party.state is PartyState.joined


def _told(session: Session) -> bool:
    return session.state not in (State.ended, State.allocating)


@pytest.mark.parametrize("chunk", range(4))
def test_promises_hold(chunk: int) -> None:
    """And the stories were not boring: every state that a call can reach was reached."""
    reached: Counter[str] = Counter()
    for seed in range(chunk * 30, chunk * 30 + 30):
        story = Story(random.Random(seed))
        story.run()
        reached.update(story.reached)
    ends = ("hangup; caller", "hangup; callee", "cancel; caller", "decline; callee")
    assert {"change accepted", "change refused"} <= set(reached)
    assert {"joined", "InGroup", "GroupInvited", "hangup(empty; server)"} <= set(reached)
    expected = {"invite", "ringing", "talk", "responder not connected", "hangup(lost; server)"}
    assert expected | {f"hangup({end})" for end in ends} <= set(reached)


REQUESTS: list[type[message.Request]] = list(get_args(message.ClientMessage))
TYPES = [str(kind.__struct_config__.tag) for kind in REQUESTS]
NAMES = sorted({name for kind in REQUESTS for name in kind.__struct_fields__} - {"id"})
VALUES = st.one_of(
    st.sampled_from(["+1", "+2", "a", "b", "s1", "s2", "123456", "hangup", "content", "2026-11", ""]),
    st.sampled_from([["rtp"], ["opaque-multicast"], [{"uri": "+2"}], [{"uri": "+3"}] * 2, [0], []]),
    st.sampled_from([b"", b"x", None, True, 0, 1, -1, 2**53, 1.5]),
    st.sampled_from([300, 40_000]).map(bytes) | st.just(300).map("x".__mul__),
)
MAPS = st.builds(
    lambda kind, entries, wrong: {"type": kind} | entries | wrong,
    st.sampled_from(TYPES),
    st.fixed_dictionaries(
        {"session": st.sampled_from(LABELS[:2]), "caller": st.sampled_from(["+1", "+2"])},
        optional={"to": st.sampled_from(["+1", "+2"]), "streams": st.just(["rtp"]), "change": st.just("s1")},
    ),
    st.dictionaries(st.sampled_from([*NAMES, "unknown"]), VALUES, max_size=3),
)
"""What looks like a request, and is one now and then."""


SEEDS = st.integers(0, 2**16)


class AnySequence(RuleBasedStateMachine):
    """Any steps in any order, and any messages; each step has its own dice, so one can be left out."""

    @initialize()
    def begin(self) -> None:
        self.story = Story(random.Random(0))

    @rule(seed=SEEDS, name=st.sampled_from(["connect", "disconnect", "attach", "attach", "detach"]))
    def about_connections(self, seed: int, name: str) -> None:
        self.step(seed, name)

    @rule(seed=SEEDS, name=st.sampled_from(["invite", "step", "step", "step", "progress"]))
    def about_calls(self, seed: int, name: str) -> None:
        self.step(seed, name)

    @rule(seed=SEEDS, name=st.sampled_from(["talk", "change", "decide", "decide"]))
    def about_changes(self, seed: int, name: str) -> None:
        self.step(seed, name)

    @rule(seed=SEEDS, name=st.sampled_from(["open_group", "dial", "take_part", "take_part", "repeat"]))
    def about_groups(self, seed: int, name: str) -> None:
        self.step(seed, name)

    @rule(seed=SEEDS, name=st.sampled_from(["post", "post_group", "ack"]))
    def about_mail(self, seed: int, name: str) -> None:
        self.step(seed, name)

    @rule(seed=SEEDS, name=st.sampled_from(["wait", "be_slow", "complete", "complete", "relay_idle"]))
    def around(self, seed: int, name: str) -> None:
        self.step(seed, name)

    @rule(seed=SEEDS, entries=MAPS)
    def any_message(self, seed: int, entries: dict[str, Any]) -> None:
        self.step(seed, "send", entries)

    @rule(seed=SEEDS, data=st.binary(max_size=64))
    def any_bytes(self, seed: int, data: bytes) -> None:
        self.step(seed, "send_bytes", data)

    def step(self, seed: int, name: str, *arguments: Any) -> None:
        self.story.dice.seed(seed)
        getattr(self.story, name)(*arguments)

    @invariant()
    def promises_hold(self) -> None:
        if hasattr(self, "story"):
            self.story.read()
            self.story.check()

    def teardown(self) -> None:
        if hasattr(self, "story"):
            self.story.finish()


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=2 * settings().max_examples, stateful_step_count=80)
