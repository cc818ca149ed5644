"""Messages from post to receipt."""

from __future__ import annotations

from crs.identity import Identity
from crs.limits import Limits, LimitTable
from crs.signaling import message
from crs.signaling.event import AppendItem, MessageEvent
from crs.signaling.mailbox import WINDOW, WINDOW_BYTES, item_id
from crs.signaling.message import MAX_PAYLOAD, ErrorCode, Kind
from crs.signaling.testing import START, WALL, Phone, World


def post(phone: Phone, label: str, to: str = "+2", payload: bytes = b"text") -> None:
    phone.ask(message.Post, message=label, to=to, payload=payload)


def ack(phone: Phone, item: message.Deliver) -> None:
    phone.ask(message.Ack, kind=item.kind, message=item.message, sender=item.sender, account=item.account)


def test_to_somebody_offline_and_back() -> None:
    world = World()
    world.connect("+2").attach().hang_up_line()
    one = world.connect("+1").attach()
    post(one, "m")
    assert one.take(message.Posted).message == "m"
    two = world.connect("+2").attach()
    item = two.take(message.Deliver)
    assert (item.kind, item.sender, item.account, item.payload) == (Kind.content, "+1", "a", b"text")
    ack(two, item)
    two.take(message.Ok)
    receipt = one.take(message.Deliver)
    assert (receipt.kind, receipt.sender, receipt.message) == (Kind.ack, "+2", "m")
    ack(one, receipt)
    one.take(message.Ok)
    states = [event.state for event in world.told(MessageEvent)]
    assert states == ["posted content", "delivered", "posted ack"]
    counters = {client.uri: (record.posted, record.delivered) for client, record in world.machine.directory}
    assert counters == {"+1": (1, 1), "+2": (0, 0)}


def test_a_repeated_post_arrives_once() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    for _ in range(2):
        post(one, "m")
        one.take(message.Posted)
    ack(two, two.take(message.Deliver))
    two.take(message.Ok)
    post(one, "m")
    assert two.silent()


def test_what_is_not_confirmed_comes_again() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    post(one, "m")
    first = two.take(message.Deliver)
    two.hang_up_line()
    assert world.connect("+2").attach().take(message.Deliver) == first


def test_an_ack_that_the_store_refused_can_be_repeated() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    post(one, "m")
    item = two.take(message.Deliver)
    world.manual = True
    ack(two, item)
    world.complete(fail=True)
    assert two.take(message.Error).code is ErrorCode.unavailable
    world.manual = False
    ack(two, item)
    two.take(message.Ok)


def test_an_ack_of_what_was_not_delivered_is_refused() -> None:
    """Or clients could fill the mailboxes of others with receipts."""
    world = World()
    world.connect("+1").attach()
    two = world.connect("+2").attach()
    two.ask(message.Ack, kind=Kind.content, message="m", sender="+1", account="a", payload=b"spam")
    assert two.take(message.Error).code is ErrorCode.not_found
    assert not any(world.storage.mailboxes.values())


def test_the_window_of_unconfirmed_items() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    for number in range(WINDOW + 3):
        post(one, f"m{number}")
    assert [item.message for item in two.inbox] == [f"m{number}" for number in range(WINDOW)]
    while two.inbox:
        received = two.inbox.pop(0)
        if isinstance(received, message.Deliver):
            ack(two, received)
    assert not world.storage.mailboxes[two.client]


def test_large_items_wait_for_room() -> None:
    """The window is bounded in bytes as well, and a full one does not spin."""
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    for number in range(8):
        post(one, f"m{number}", payload=bytes(MAX_PAYLOAD))
    assert len(two.inbox) == WINDOW_BYTES // (MAX_PAYLOAD + 1)
    order = []
    while two.inbox:
        received = two.inbox.pop(0)
        if isinstance(received, message.Deliver):
            order.append(received.message)
            ack(two, received)
    assert order == [f"m{number}" for number in range(8)]


def test_a_mailbox_that_cannot_be_read_is_tried_again() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    world.manual = True
    post(one, "m")
    world.complete()
    world.complete(fail=True)
    assert two.silent()
    world.manual = False
    world.advance(6)
    assert two.take(message.Deliver).message == "m"


def test_what_was_written_although_the_store_could_not_say_so_is_delivered_when_repeated() -> None:
    """A store that is lost while it writes leaves both sides in doubt; they repeat."""
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    world.manual = True
    post(one, "m")
    world.storage.do(world.waiting[0])
    world.complete(fail=True)
    assert one.take(message.Error).code is ErrorCode.unavailable and two.silent()
    post(one, "m")
    world.complete_all()
    one.take(message.Posted)
    item = two.take(message.Deliver)
    ack(two, item)
    world.storage.do(world.waiting[0])
    world.complete(fail=True)
    assert two.take(message.Error).code is ErrorCode.unavailable and one.silent()
    ack(two, item)
    world.complete_all()
    two.take(message.Ok)
    assert one.take(message.Deliver).kind is Kind.ack


def test_a_full_mailbox() -> None:
    world = World()
    world.connect("+2").attach().hang_up_line()
    one = world.connect("+1").attach()
    for number in range(Limits().mailbox_items):
        post(one, f"m{number}")
        world.advance(0.05)
    one.inbox.clear()
    post(one, "more")
    assert one.take(message.Error).code is ErrorCode.quota


def test_the_recipients_account_says_how_long_messages_are_kept() -> None:
    limits = LimitTable([("message-lifetime", 60, "a")])
    world = World(limits=limits)
    world.connect("+2").attach().hang_up_line()
    one = world.connect("+1", "b").attach()
    world.manual = True
    one.ask(message.Post, message="m", to="+2", account="a", payload=b"", ttl=61)
    refused = one.take(message.Error)
    assert (refused.code, refused.reason) == (
        ErrorCode.limit,
        "ttl: messages for +2@a are kept for at most 60 seconds",
    )
    assert not world.waiting and limits.reached == {"message-lifetime": 1}
    for ttl, kept in ((None, 60), (60, 60), (30, 30)):
        one.ask(message.Post, message="m", to="+2", account="a", payload=b"", ttl=ttl)
        [ask] = world.waiting
        assert isinstance(ask, AppendItem) and ask.item.expires == WALL + world.now - START + kept
        world.complete()


def test_unknown_recipient_and_too_large() -> None:
    world = World()
    one = world.connect("+1").attach()
    post(one, "m", to="+9")
    assert one.take(message.Error).code is ErrorCode.not_found
    assert [event.state for event in world.told(MessageEvent)] == ["not-found"]
    post(one, "m", payload=bytes(MAX_PAYLOAD + 1))
    refused = one.take(message.Error)
    assert (refused.code, refused.id) == (ErrorCode.too_large, 2 + 1)


def test_ids_of_different_senders_differ() -> None:
    """A slash in a URI and one in a label must not meet."""
    assert item_id(Kind.content, Identity("x/y", "a"), "z") != item_id(
        Kind.content, Identity("x", "a"), "y/z"
    )


def test_counters_are_saved_and_loaded() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    post(one, "m")
    world.advance(10)
    again = World()
    for client, value in world.storage.saved.items():
        again.machine.directory.load(client, value)
    records = dict(again.machine.directory)
    assert records[one.client].posted == 1
    assert records[two.client].read > 0


def group(phone: Phone, label: str, *to: str) -> None:
    recipients = [message.Recipient(uri=uri) for uri in to]
    phone.ask(message.PostGroup, message=label, to=recipients, payload=b"all")


def test_a_group_gets_a_message_and_the_sender_one_reply() -> None:
    world = World()
    one, two, three = (world.connect(uri).attach() for uri in ("+1", "+2", "+3"))
    for _ in range(2):
        group(one, "m", "+2", "+9", "+3")
        posted = one.take(message.PostedGroup)
        assert (posted.message, [result.code for result in posted.results]) == (
            "m",
            [None, ErrorCode.not_found, None],
        )
        assert posted.results[1].reason == "no client +9@a is known" and posted.results[0].reason == ""
    for phone in (two, three):
        item = phone.take(message.Deliver)
        assert (item.message, item.sender, item.payload, item.system) == ("m", "+1", b"all", False)
        assert phone.silent(), "repeated, and delivered once"
        ack(phone, item)
        phone.take(message.Ok)
    assert {one.take(message.Deliver).sender, one.take(message.Deliver).sender} == {"+2", "+3"}
    record = dict(world.machine.directory)[Identity("+1", "a")]
    assert (record.posted, record.delivered) == (2, 2)


def test_each_recipient_of_a_group_has_a_result_of_its_own() -> None:
    world = World()
    one = world.connect("+1").attach()
    for uri in ("+2", "+3", "+4"):
        world.connect(uri).attach().hang_up_line()
    world.manual = True
    group(one, "m", "+2", "+3", "+4")
    assert len(world.waiting) == 3
    world.complete(2)
    world.complete(0, fail=True)
    assert one.silent(), "the reply waits for all"
    world.complete()
    results = one.take(message.PostedGroup).results
    assert [result.code for result in results] == [ErrorCode.unavailable, None, None]
    world.manual = False
    group(one, "m", "+2", "+3", "+4")
    assert [result.code for result in one.take(message.PostedGroup).results] == [None] * 3
    for uri in ("+2", "+3", "+4"):
        phone = world.connect(uri).attach()
        assert phone.take(message.Deliver).message == "m" and phone.silent()


def test_a_group_counts_as_many_requests() -> None:
    limits = LimitTable([("requests-per-second", 10, None)])
    world = World(limits=limits)
    one = world.connect("+1").attach()
    group(one, "m", *["+9"] * 128)
    assert len(one.take(message.PostedGroup).results) == 128
    group(one, "n", "+9")
    assert one.take(message.Error).code is ErrorCode.limit
    world.advance(10)
    group(one, "n", "+9")
    one.take(message.PostedGroup)
    for count in (0, 129):
        group(one, "m", *["+9"] * count)
        assert one.take(message.Error).code is ErrorCode.bad_message


def test_system_messages_are_counted_apart() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    one.ask(message.Post, message="m", to="+2", payload=b"you are invited", system=True)
    one.take(message.Posted)
    item = two.take(message.Deliver)
    assert item.system
    ack(two, item)
    two.take(message.Ok)
    receipt = one.take(message.Deliver)
    assert (receipt.kind, receipt.system) == (Kind.ack, True)
    record = dict(world.machine.directory)[Identity("+1", "a")]
    assert (record.posted, record.delivered, record.system_posted, record.system_delivered) == (0, 0, 1, 1)
    assert all(event.system for event in world.told(MessageEvent))
    # The same id names the same message, of whatever kind.
    post(one, "m")
    one.take(message.Posted)
    assert two.silent()
