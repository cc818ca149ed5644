"""Phones against each other, over real sockets, without any server in between."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haproxy.testing.call import IncomingCall, Refused
from haproxy.testing.phone import MAX_WAITING, Phone
from rtlib.address import join, pack
from rtlib.testing import loop

Story = Callable[[Phone, Phone], Awaitable[None]]


def tell(story: Story, *, transport: str = "udp", answering: bool = True) -> None:
    """Run a story with Alice (440 Hz) and Bob (880 Hz), who is her outbound proxy as well."""

    async def run() -> None:
        reactor = loop.installed_reactor()
        bob = Phone(
            reactor,
            "bob",
            ("127.0.0.1", 9),
            transport=transport,
            tone=880,
            answering=answering,
            host="127.0.0.1",
        )
        alice = Phone(reactor, "alice", bob.address, transport=transport, domain="127.0.0.1")
        try:
            await story(alice, bob)
        finally:
            alice.stop()
            bob.stop()

    loop.run(run)


async def pause(seconds: float) -> None:
    await deferLater(loop.installed_reactor(), seconds)


def uri_of(phone: Phone) -> str:
    return f"sip:bob@{join(*phone.address)}"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_they_call_talk_and_hang_up(transport: str) -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        call = await alice.call(uri_of(bob))
        answered: IncomingCall = await bob.calls.get()
        await answered.answered.wait()
        await pause(0.5)
        assert call.audio.share(880) > 0.9
        assert answered.audio.share(440) > 0.9
        assert call.audio.came_from() == {answered.audio.address}
        await call.hang_up()
        assert await answered.ended.wait() == "there"
        assert call.audio.reception.lost == answered.audio.reception.lost == 0
        assert answered.audio.malformed == 0

    tell(story, transport=transport)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_callee_hangs_up(transport: str) -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        call = await alice.call(uri_of(bob))
        answered: IncomingCall = await bob.calls.get()
        await answered.answered.wait()
        await answered.hang_up()
        assert await call.ended.wait() == "there"

    tell(story, transport=transport)


def test_a_call_rings_until_it_is_declined() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        call = alice.dial(uri_of(bob))
        incoming: IncomingCall = await bob.calls.get()
        assert await call.rang.wait() == 180
        incoming.decline(486)
        with pytest.raises(Refused, match="486 Busy Here"):
            await call.answered.wait()
        assert await call.ended.wait() == "there"

    tell(story, answering=False)


def test_a_caller_who_gives_up_cancels() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        call = alice.dial(uri_of(bob))
        incoming: IncomingCall = await bob.calls.get()
        await call.rang.wait()
        call.cancel()
        with pytest.raises(Refused, match="487"):
            await call.answered.wait()
        assert await incoming.ended.wait() == "there"

    tell(story, answering=False)


def test_a_phone_answers_what_it_can_do() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        response = await alice.options()
        assert response.status == 200
        assert b"INVITE" in (response.first(b"allow") or b"")
        assert bob.probes == 1

    tell(story)


def test_registering_at_a_phone_is_refused() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        with pytest.raises(Refused, match="405"):
            await alice.register()

    tell(story)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_phone_that_is_gone_is_noticed_at_once(transport: str) -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        uri = uri_of(bob)
        bob.stop()
        with pytest.raises(Refused, match="503"):
            await alice.call(uri)

    tell(story, transport=transport)


def test_an_answer_is_repeated_until_it_is_acknowledged() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        sent: list[bytes] = []
        send = alice._link.send

        def without_first_ack(batch: Any) -> None:
            sent.extend(data for data, _ in batch)
            if sum(data.startswith(b"ACK") for data in sent) != 1 or not sent[-1].startswith(b"ACK"):
                send(batch)

        alice._link.send = without_first_ack  # type: ignore[method-assign]  # one lost datagram
        await alice.call(uri_of(bob))
        answered: IncomingCall = await bob.calls.get()
        assert not answered.answered.decided
        await answered.answered.wait()
        assert sum(data.startswith(b"ACK") for data in sent) == 2

    tell(story)


def test_a_foreign_bye_ends_nothing() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        call = await alice.call(uri_of(bob))
        assert call.dialog is not None
        call.dialog.remote = call.dialog.remote.partition(b";")[0] + b";tag=forged"
        with pytest.raises(Refused, match="481"):
            await call.hang_up()
        answered: IncomingCall = await bob.calls.get()
        assert not answered.ended.decided

    tell(story)


def test_audio_goes_where_the_description_says() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        call = await alice.call(uri_of(bob))
        answered: IncomingCall = await bob.calls.get()
        await pause(0.1)
        call.audio.start(pack("127.0.0.1", 9))
        await pause(0.06)
        before = answered.audio.reception.received
        await pause(0.1)
        assert answered.audio.reception.received == before

    tell(story)


def test_calls_that_nobody_looks_at_are_limited() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        ringing = [alice.dial(uri_of(bob)) for _ in range(MAX_WAITING)]
        for call in ringing:
            await call.rang.wait()
        with pytest.raises(Refused, match="486"):
            await alice.call(uri_of(bob))

    tell(story, answering=False)


def test_an_answer_without_ack_ends_in_a_bye() -> None:
    async def story(alice: Phone, bob: Phone) -> None:
        send, sent = alice._link.send, []

        def without_acks(batch: Any) -> None:
            sent.extend(batch)
            send([(data, flow) for data, flow in batch if not data.startswith(b"ACK")])

        alice._link.send = without_acks  # type: ignore[method-assign]  # its ACKs are lost
        call = await alice.call(uri_of(bob))
        assert await call.ended.wait() == "there"
        assert sum(data.startswith(b"ACK") for data, _ in sent) >= 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("haproxy.testing.call.LIMIT", 1.0)
        tell(story)
