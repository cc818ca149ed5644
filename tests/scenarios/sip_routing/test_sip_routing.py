"""Who reaches whom, by the four rules of the guide."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from haproxy.testing.call import Refused
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from haproxy.testing.phone import Phone
from haproxy.testing.stage import PATIENCE, SUBSCRIBERS, Stage, play
from rtlib.address import join

Story = Callable[[Stage], Awaitable[None]]


def tell(folder: Path, story: Story, proxy: dict[str, str | int | bool | list[str]] | None = None) -> None:
    settings: Settings = {"proxy": {"enableRegAuth": True, **(proxy or {})}}
    with Genproxy(folder / "proxy", settings=settings, subscribers=SUBSCRIBERS) as running:
        play(running, story)
        assert "Traceback" not in running.daemon.text


def elsewhere(phone: Phone) -> str:
    """A URI of another domain: the phone's own address."""
    return f"sip:someone@{join(*phone.address)}"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_genesis_reaches_a_registered_user(tmp_path: Path, transport: str) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        (phone,) = await stage.registered("5000", transport=transport)
        call, answered = await stage.connect(genesis, stage.uri("5000"), phone)
        await stage.hang_up(call, answered)
        call, answered = await stage.connect(genesis, stage.uri("5000"), phone)
        await stage.hang_up(answered, call)

    tell(tmp_path, story)


def test_all_phones_of_a_user_ring_and_the_first_answer_wins(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        first, second = await stage.registered("5000", "5000")
        first.answering = second.answering = False
        call = genesis.dial(stage.uri("5000"))
        ringing = [await phone.calls.get().addTimeout(PATIENCE, stage.reactor) for phone in (first, second)]
        ringing[1].answer()
        await call.answered.wait().addTimeout(PATIENCE, stage.reactor)
        assert await ringing[0].ended.wait().addTimeout(PATIENCE, stage.reactor) == "there"
        await stage.hang_up(call, ringing[1])

    tell(tmp_path, story)


def test_phones_ring_in_the_order_that_their_user_wants(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        desk, mobile, voicemail = (stage.phone("5000") for _ in range(3))
        for phone, q in ((voicemail, "0.1"), (desk, "1.0"), (mobile, "0.5")):
            await stage.within(phone.register(q=q))
        desk.answering = mobile.answering = False
        call = genesis.dial(stage.uri("5000"))
        first = await desk.calls.get().addTimeout(PATIENCE, stage.reactor)
        assert not mobile.calls.pending
        first.decline(486)
        second = await mobile.calls.get().addTimeout(PATIENCE, stage.reactor)
        assert not voicemail.calls.pending
        second.decline(480)
        third = await voicemail.calls.get().addTimeout(PATIENCE, stage.reactor)
        await call.answered.wait().addTimeout(PATIENCE, stage.reactor)
        await stage.hang_up(call, third)

    tell(tmp_path, story)


def test_genesis_calls_a_user_who_is_not_there(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        with pytest.raises(Refused, match="480"):
            await stage.within(genesis.call(stage.uri("5001")))
        with pytest.raises(Refused, match="404"):
            await stage.within(genesis.call(stage.uri("nobody")))

    tell(tmp_path, story)


def test_a_caller_who_gives_up_stops_the_ringing(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        genesis, phone = await stage.registered("genesis_a", "5000")
        phone.answering = False
        call = genesis.dial(stage.uri("5000"))
        incoming = await phone.calls.get().addTimeout(PATIENCE, stage.reactor)
        assert await call.rang.wait().addTimeout(PATIENCE, stage.reactor) == 180
        call.cancel()
        with pytest.raises(Refused, match="487"):
            await call.answered.wait().addTimeout(PATIENCE, stage.reactor)
        assert await incoming.ended.wait().addTimeout(PATIENCE, stage.reactor) == "there"

    tell(tmp_path, story)


def test_genesis_reaches_another_domain(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        provider = stage.phone("provider")
        call, answered = await stage.connect(genesis, elsewhere(provider), provider)
        assert answered.invite is not None
        assert answered.invite.uri == elsewhere(provider).encode()
        assert len(answered.invite.values(b"via")) == 2
        assert answered.invite.max_forwards == 69
        await stage.hang_up(answered, call)

    tell(tmp_path, story)


@pytest.mark.parametrize("registered", [True, False])
def test_others_reach_genesis(tmp_path: Path, registered: bool) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        phone = (await stage.registered("5000"))[0] if registered else stage.phone("provider")
        call, answered = await stage.connect(phone, stage.uri("100"), genesis)
        assert answered.invite is not None
        assert answered.invite.target.username == b"100"
        await stage.hang_up(call, answered)
        call, answered = await stage.connect(phone, stage.uri("100"), genesis)
        await stage.hang_up(answered, call)

    tell(tmp_path, story)


def test_with_registration_checks_only_registered_users_reach_genesis(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        genesis, phone = await stage.registered("genesis_a", "5000")
        await stage.hang_up(*await stage.connect(phone, stage.uri("100"), genesis))
        stranger = stage.phone("5001").dial(stage.uri("100"))
        # The guide: such a call is ignored. The phone repeats its INVITE and hears nothing.
        await stage.until(lambda: stranger.invite is not None)
        await stage.hang_up(*await stage.connect(phone, stage.uri("100"), genesis))
        assert not stranger.rang.decided
        assert not stranger.answered.decided
        assert not genesis.calls.pending

    tell(tmp_path, story, {"enableRegCheck": True})


def test_without_any_genesis_a_call_is_refused(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        (phone,) = await stage.registered("5000")
        with pytest.raises(Refused, match="503"):
            await stage.within(phone.call(stage.uri("100")))

    tell(tmp_path, story)


def test_others_do_not_reach_another_domain(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        (phone,) = await stage.registered("5000")
        provider = stage.phone("provider")
        with pytest.raises(Refused, match="403"):
            await stage.within(phone.call(elsewhere(provider)))
        assert not provider.calls.pending

    tell(tmp_path, story)


def test_listed_ones_reach_another_domain(tmp_path: Path) -> None:
    host = own_host()

    async def story(stage: Stage) -> None:
        phone, provider = stage.phone("5000", host=host), stage.phone("provider")
        call, answered = await stage.connect(phone, elsewhere(provider), provider)
        await stage.hang_up(call, answered)

    tell(tmp_path, story, {"proxyList": [host]})
