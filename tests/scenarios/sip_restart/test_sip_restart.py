"""Stops and starts of genproxy with phones around it."""

from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import deferLater

from haproxy.testing.genproxy import Genproxy
from haproxy.testing.stage import SUBSCRIBERS, Stage, play

WRITE_BEHIND = 1.0
"""Seconds of bindings that a crash may lose."""


def tell_restart(folder: Path, stop: Callable[[Genproxy], object], before: float = 0.0) -> None:
    settings = {"proxy": {"enableRegAuth": True, "enableNAT": True}}
    with Genproxy(folder / "proxy", settings=settings, subscribers=SUBSCRIBERS) as proxy:

        async def story(stage: Stage) -> None:
            genesis, phone = await stage.registered("genesis_a", "5000")
            await stage.connect(phone, stage.uri("100"), genesis)
            await deferLater(stage.reactor, before)
            stop(proxy)
            proxy.daemon.start()
            bindings = proxy.cli("show", "bindings")
            assert str(phone.address[1]) in bindings
            assert str(genesis.address[1]) in bindings
            # As Genesis from its address, and to the phone's binding: both are known without a REGISTER.
            call, answered = await stage.connect(genesis, stage.uri("5000"), phone)
            await stage.hang_up(call, answered)
            call, answered = await stage.connect(phone, stage.uri("100"), genesis)
            await stage.hang_up(answered, call)

        play(proxy, story)
        assert "Traceback" not in proxy.daemon.text


def test_sigterm_during_a_call_and_a_new_start(tmp_path: Path) -> None:
    tell_restart(tmp_path, lambda proxy: proxy.daemon.stop(within=2.0))


def test_kill_during_a_call_and_a_new_start(tmp_path: Path) -> None:
    tell_restart(tmp_path, lambda proxy: proxy.daemon.kill(), before=WRITE_BEHIND + 0.3)


def test_a_binding_that_was_removed_stays_removed(tmp_path: Path) -> None:
    with Genproxy(tmp_path / "proxy", subscribers=SUBSCRIBERS) as proxy:

        async def story(stage: Stage) -> None:
            gone, stays = await stage.registered("5000", "5001")
            assert await stage.within(gone.register(0)) == 0
            proxy.daemon.stop()
            proxy.daemon.start()
            bindings = proxy.cli("show", "bindings")
            assert gone.address[0] not in bindings
            assert stays.address[0] in bindings

        play(proxy, story)
