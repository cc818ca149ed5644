"""RTP through a real genproxy with enableNAT, between two networks."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from twisted.internet.task import deferLater

from haproxy.testing.audio import Audio
from haproxy.testing.description import audio_address
from haproxy.testing.genproxy import PORT, Genproxy, Settings, own_host
from haproxy.testing.stage import PASSWORD, Stage, play
from rtlib.audio.rtp import Packetizer

Story = Callable[[Stage, str], Awaitable[None]]


def tell(folder: Path, story: Story, *, nat: bool = True) -> None:
    """Run a story with a proxy between two networks; the story gets its public address."""
    private, public = own_host(), own_host()
    settings: Settings = {
        "system": {"publicIP": public, "privateSubnet": "16"},
        "proxy": {"enableRegAuth": True, "enableNAT": nat},
    }
    subscribers = {f"genesis_a@{private}": PASSWORD, f"5000@{public}": PASSWORD}
    with Genproxy(folder / "proxy", host=private, settings=settings, subscribers=subscribers) as proxy:
        play(proxy, lambda stage: story(stage, public))
        assert "Traceback" not in proxy.daemon.output


async def both(stage: Stage, public: str) -> tuple[Audio, Audio, Callable[[], Awaitable[None]]]:
    """A call from the public side to Genesis on the private one: both audios, and how to end it."""
    private_net = stage.proxy.host.rsplit(".", 2)[0]
    genesis = stage.phone("genesis_a", host=f"{private_net}.77.7")
    phone = stage.phone("5000", server=(public, PORT))
    await stage.within(genesis.register())
    await stage.within(phone.register())
    call, answered = await stage.connect(phone, f"sip:100@{public}", genesis)
    await stage.until(lambda: call.audio.seconds() > 0.5 and answered.audio.seconds() > 0.5)
    return call.audio, answered.audio, lambda: stage.hang_up(call, answered)


def test_each_side_hears_the_other_from_the_relay_only(tmp_path: Path) -> None:
    async def story(stage: Stage, public: str) -> None:
        phone, genesis, hang_up = await both(stage, public)
        assert {host for host, _ in phone.came_from()} == {public}
        assert {host for host, _ in genesis.came_from()} == {stage.proxy.host}
        assert phone.share(440) > 0.9
        assert genesis.share(880) > 0.9
        assert all(port % 2 == 0 for _, port in phone.came_from() | genesis.came_from())
        assert stage.proxy.metric("calls") == 1
        await hang_up()
        await stage.until(lambda: stage.proxy.metric("media_ports") == 0)
        assert phone.reception.lost == genesis.reception.lost == 0
        assert stage.proxy.metric("calls") == 0

    tell(tmp_path, story)


def test_a_stranger_cannot_inject(tmp_path: Path) -> None:
    async def story(stage: Stage, public: str) -> None:
        phone, genesis, hang_up = await both(stage, public)
        (relay,) = phone.came_from()
        intruder = Packetizer(ssrc=0x0BAD0BAD, sequence=1, timestamp=0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((own_host(), 0))
            for _ in range(100):
                sock.sendto(intruder.packet(bytes(160)), relay)
        before = genesis.reception.received
        await stage.until(lambda: genesis.reception.received > before + 10)
        assert genesis.heard_ssrcs == {phone.ssrc}
        assert phone.heard_ssrcs == {genesis.ssrc}
        assert stage.proxy.metric("media_wrong_source_total") >= 100
        await hang_up()

    tell(tmp_path, story)


def test_a_call_that_is_declined_or_given_up_leaves_no_ports(tmp_path: Path) -> None:
    async def story(stage: Stage, public: str) -> None:
        genesis, phone = stage.phone("genesis_a"), stage.phone("5000", server=(public, PORT))
        genesis.answering = False
        await stage.within(genesis.register())
        await stage.within(phone.register())
        for ending in ("declined", "given up"):
            call = phone.dial(f"sip:100@{public}")
            incoming = await genesis.calls.get()
            await call.rang.wait()
            assert stage.proxy.metric("media_ports") > 0
            if ending == "declined":
                incoming.decline(486)
            else:
                call.cancel()
            await call.ended.wait()
            await stage.until(lambda: stage.proxy.metric("media_ports") == 0)

    tell(tmp_path, story)


@pytest.mark.parametrize("nat", [True, False])
def test_with_enable_nat_the_descriptions_name_the_relay(tmp_path: Path, nat: bool) -> None:
    async def story(stage: Stage, public: str) -> None:
        genesis, phone = stage.phone("genesis_a"), stage.phone("5000", server=(public, PORT))
        await stage.within(genesis.register())
        await stage.within(phone.register())
        call, answered = await stage.connect(phone, f"sip:100@{public}", genesis)
        assert answered.invite is not None
        offered = audio_address(answered.invite.body)
        assert (offered[0] == stage.proxy.host) is nat
        assert (offered == call.audio.address) is not nat
        assert (stage.proxy.metric("media_ports") > 0) is nat
        await deferLater(stage.reactor, 0.1)
        assert call.audio.reception.received > 0
        await stage.hang_up(answered, call)

    tell(tmp_path, story, nat=nat)
