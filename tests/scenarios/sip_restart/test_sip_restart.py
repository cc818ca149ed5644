"""Stops and starts of genproxy with phones around it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import deferLater

from haproxy.testing.genproxy import Genproxy
from haproxy.testing.stage import PASSWORD, SUBSCRIBERS, Stage, play

WRITE_BEHIND = 1.0
"""Seconds of bindings that a crash may lose."""

LIFE = 300
"""Seconds that the phones' registrations last."""


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


def rows(proxy: Genproxy) -> dict[str, tuple[str, str]]:
    """What the table has: when each user's binding expires, and when it was modified."""
    with sqlite3.connect(proxy.state / "genproxy.db") as connection:
        found = connection.execute("SELECT username, expires, last_modified FROM location")
        return {user: (expires, modified) for user, expires, modified in found}


def let_pass(proxy: Genproxy, seconds: int) -> None:
    """Let all bindings be so much older, while the proxy is down."""
    with sqlite3.connect(proxy.state / "genproxy.db") as connection:
        for column in ("expires", "last_modified"):
            older = f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{seconds} seconds')"
            connection.execute(f"UPDATE location SET {column} = {older}")


def test_a_kill_between_refreshes_loses_no_binding(tmp_path: Path) -> None:
    users = [f"60{number:02}" for number in range(12)]
    settings = {"proxy": {"enableRegAuth": True}}
    subscribers = dict.fromkeys(users, PASSWORD)
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers=subscribers) as proxy:

        def shown() -> set[str]:
            bindings = proxy.cli("show", "bindings")
            return {user for user in users if user in bindings}

        async def story(stage: Stage) -> None:
            phones = await stage.registered(*users)
            await stage.until(lambda: len(rows(proxy)) == len(users))
            written = rows(proxy)
            for phone in phones:
                assert await stage.within(phone.register()) == LIFE
            proxy.daemon.kill()
            assert rows(proxy) == written
            # As if that had been refreshed until a moment ago, but for half of a life.
            let_pass(proxy, LIFE * 4 // 3)
            proxy.daemon.start()
            assert shown() == set(users)
            for phone in phones:
                assert await stage.within(phone.register()) == LIFE
            # Now they are exact, in the end: a life after that all are gone.
            proxy.daemon.stop()
            assert all(
                now > before for now, before in zip(rows(proxy).values(), written.values(), strict=True)
            )
            let_pass(proxy, LIFE * 2 // 3)
            proxy.daemon.start()
            assert shown() == set(users)
            proxy.daemon.stop()
            let_pass(proxy, LIFE // 3 + 1)
            proxy.daemon.start()
            assert shown() == set()

        play(proxy, story)
        assert "Traceback" not in proxy.daemon.text


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
