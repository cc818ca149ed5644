"""Genesis systems die; calls go on."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from haproxy.testing.genproxy import Genproxy, Settings
from haproxy.testing.phone import Phone
from haproxy.testing.stage import SUBSCRIBERS, Stage, play

Story = Callable[[Stage], Awaitable[None]]


def tell(folder: Path, story: Story, proxy: dict[str, str | int | bool | list[str]] | None = None) -> None:
    settings: Settings = {"proxy": {"enableRegAuth": True, **(proxy or {})}}
    with Genproxy(folder / "proxy", settings=settings, subscribers=SUBSCRIBERS) as running:
        play(running, story)
        assert "Traceback" not in running.daemon.text


async def reached(stage: Stage, caller: Phone, *systems: Phone) -> Phone:
    """Which of the systems a call to Genesis has reached; the call is over then."""
    call = await stage.within(caller.call(stage.uri("100")))
    (system,) = [system for system in systems if system.calls.pending]
    answered = await system.calls.get()
    await answered.answered.wait()
    await stage.hang_up(call, answered)
    return system


def test_the_next_call_after_the_primary_died_reaches_the_secondary(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        primary, secondary, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        assert await reached(stage, phone, primary, secondary) is primary
        primary.stop()
        begin = time.monotonic()
        assert await reached(stage, phone, primary, secondary) is secondary
        # The kernel says at once that nobody listens: no waiting for the 4 s of a silent system.
        assert time.monotonic() - begin < 3.5
        assert await reached(stage, phone, primary, secondary) is secondary

    tell(tmp_path, story)


def test_a_system_that_hangs_is_left_after_four_seconds(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        primary, secondary, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        primary._link.send = lambda batch: None  # type: ignore[method-assign]  # it hears, and says nothing
        begin = time.monotonic()
        call = await stage.within(phone.call(stage.uri("100")))
        assert 3.5 < time.monotonic() - begin < 8.0
        assert secondary.calls.pending
        await stage.hang_up(call, await secondary.calls.get())

    tell(tmp_path, story, {"enableAstFailover": False})


def test_the_primary_set_shares_the_calls(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        first, second, secondary, phone = await stage.registered(
            "genesis_a", "genesis_a-2", "genesis_b", "5000"
        )
        seen = [await reached(stage, phone, first, second, secondary) for _ in range(4)]
        assert seen.count(first) == seen.count(second) == 2
        first.stop()
        assert {await reached(stage, phone, first, second, secondary) for _ in range(3)} == {second}

    tell(tmp_path, story)


def test_probes_notice_a_death_without_any_call(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        primary, _ = await stage.registered("genesis_a", "genesis_b")
        await stage.until(lambda: primary.probes >= 2)
        primary.stop()
        await stage.until(lambda: "Inactive" in stage.proxy.statuses())

    tell(tmp_path, story, {"astPingInterval": 1})


@pytest.mark.parametrize("persistent", [True, False])
def test_a_primary_that_comes_back(tmp_path: Path, persistent: bool) -> None:
    async def story(stage: Stage) -> None:
        primary, secondary, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        host, port = primary.address
        primary.stop()
        assert await reached(stage, phone, primary, secondary) is secondary
        back = Phone(
            stage.reactor,
            "genesis_a",
            (stage.proxy.host, stage.proxy.port),
            password=SUBSCRIBERS["genesis_a"],
            host=host,
            port=port,
            answering=True,
        )
        try:
            await stage.within(back.register())
            await stage.until(lambda: "Inactive" not in stage.proxy.statuses())
            expected = secondary if persistent else back
            assert await reached(stage, phone, back, secondary) is expected
        finally:
            back.stop()

    tell(tmp_path, story, {"astPersistentFailover": persistent, "astPingInterval": 1, "astPingRetry": 1})
