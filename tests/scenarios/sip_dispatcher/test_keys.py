"""The keys of the guide's 7.1.16 to 7.1.23, and those of our own beside them, have their effects."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.call import Refused
from haproxy.testing.genesis import SLOW, Genesis
from haproxy.testing.genproxy import Genproxy, Value
from haproxy.testing.stage import PASSWORD, Stage, play


def tell(folder: Path, story: Callable[[Stage], Awaitable[None]], *users: str, **keys: Value) -> str:
    """Play a story with a proxy that has these keys and users; its log."""
    settings = {"proxy": {"enableAntiFlood": False, **keys}}
    subscribers = dict.fromkeys((*users, "5000"), PASSWORD)
    with Genproxy(folder / "proxy", settings=settings, subscribers=subscribers) as running:
        play(running, story)
        assert "Traceback" not in running.daemon.text
        return running.log.read_text()


def test_without_queries_only_calls_notice_a_death(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        first, second, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        first.stop()
        call, answered = await stage.connect(phone, stage.uri("100"), second)
        await stage.hang_up(call, answered)
        assert stage.proxy.statuses() == ["Active", "Inactive"]
        assert first.probes == second.probes == 0
        # It is tried again after the hold-down.
        await stage.until(lambda: "tried again in" in str(stage.proxy.reply("dispatcher explain")))

    keys: dict[str, Value] = {"enableAstFailover": False, "astPingInterval": 1}
    tell(tmp_path, story, "genesis_a", "genesis_b", **keys)


@pytest.mark.parametrize("interval", [1, 3600])
def test_how_often_it_is_asked(tmp_path: Path, interval: int) -> None:
    async def story(stage: Stage) -> None:
        (first,) = await stage.registered("genesis_a")
        if interval == 1:
            await stage.until(lambda: first.probes >= 3)
        else:
            reply = stage.proxy.reply("dispatcher explain", system="genesis_a")
            assert 1700 < reply["destinations"][0]["next_probe"] <= 1800  # half of it for the first time
            assert first.probes == 0

    tell(tmp_path, story, "genesis_a", astPingInterval=interval)


@pytest.mark.parametrize("method", ["OPTIONS", "INFO"])
def test_who_is_asked_and_how(tmp_path: Path, method: str) -> None:
    async def story(stage: Stage) -> None:
        first, phone = await stage.registered("genesis_a", "5000")
        await stage.until(lambda: first.probes >= 1)
        assert phone.probes == 0
        evidence = stage.proxy.reply("dispatcher explain", system="genesis_a")["evidence"]
        assert {row["kind"] for row in evidence} == {"REGISTER", method}

    keys: dict[str, Value] = {"astPingMethod": method} if method != "OPTIONS" else {}
    tell(tmp_path, story, "genesis_a", astPingInterval=1, **keys)


def test_prefixes_of_both_sets_and_their_limits(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        # The guide's own example: one prefix begins with the other.
        first, backup, phone = await stage.registered("alpha", "alpha_b1", "5000")
        with pytest.raises(Refused, match="503"):
            await stage.within(stage.phone("alpha-2").register())  # dispatchLimit of the primary set
        call, answered = await stage.connect(phone, stage.uri("100"), first)
        await stage.hang_up(call, answered)
        stage.proxy.cli("dispatcher", "set", "0")
        call, answered = await stage.connect(phone, stage.uri("100"), backup)
        await stage.hang_up(call, answered)
        # Who is in a set already may refresh its registration, and whoever is in none may register.
        await stage.within(first.register())
        await stage.within(stage.phone("genesis_a").register())
        assert stage.proxy.statuses() == ["Active", "Active"]

    users = "alpha", "alpha-2", "alpha_b1", "genesis_a"
    keys: dict[str, Value] = {"dispatchPriUser": "alpha", "dispatchSecUser": "alpha_b", "dispatchLimit": 1}
    log = tell(tmp_path, story, *users, **keys)
    assert "set 1 has dispatchLimit = 1 systems already" in log


def test_both_sets_together_have_a_limit(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.registered("genesis_a", "genesis_b")
        with pytest.raises(Refused, match="503"):
            await stage.within(stage.phone("genesis_a-2").register())
        told = "the sets have 2^dispatchSize = 2 systems already"
        await stage.until(lambda: told in stage.proxy.log.read_text())  # it is answered first, then told

    tell(tmp_path, story, "genesis_a", "genesis_a-2", "genesis_b", dispatchSize=1)


QUICK: dict[str, Value] = {"astPingInterval": 1, "astPingTimeout": 1, "astPingRetry": 1}


def evidence(stage: Stage, system: Genesis) -> list[dict[str, Any]]:
    """What was seen of a system, the oldest first, without its registration."""
    reply = stage.proxy.reply("dispatcher explain", system=system.uri)
    return [row for row in reply["evidence"] if row["kind"] == "OPTIONS"]


@pytest.mark.peer("sipp")
@pytest.mark.parametrize("patience", [1, 8])
def test_how_long_an_answer_is_waited_for(tmp_path: Path, patience: int) -> None:
    async def story(stage: Stage) -> None:
        place = stage.proxy.host, stage.proxy.port
        with Genesis(tmp_path, place, "genesis_a", "slow") as system:
            await stage.until(lambda: evidence(stage, system))
            first = evidence(stage, system)[0]
            if patience == 1:
                assert (first["code"], first["status"]) == (None, "Probing")
                assert first["outcome"] == "did not answer a probe"
            else:
                assert (first["code"], first["status"]) == (200, "Active")
                assert first["rtt"] >= SLOW

    keys: dict[str, Value] = {"astPingInterval": 1, "astPingRetry": 1, "astPingTimeout": patience}
    tell(tmp_path, story, "genesis_a", **keys)


@pytest.mark.peer("sipp")
@pytest.mark.parametrize("seconds", [1, 5])
def test_how_soon_it_is_asked_again(tmp_path: Path, seconds: int) -> None:
    async def story(stage: Stage) -> None:
        place = stage.proxy.host, stage.proxy.port
        with Genesis(tmp_path, place, "genesis_a", "unavailable") as system:
            await stage.until(lambda: len(evidence(stage, system)) >= 2)
            first, second = evidence(stage, system)[:2]
            assert (first["ago"] - second["ago"] > 4.5) is (seconds == 5)

    tell(tmp_path, story, "genesis_a", astPingInterval=5, astPingRetry=seconds)


@pytest.mark.peer("sipp")
@pytest.mark.parametrize("failures", [1, 3])
def test_how_many_failures_make_a_system_inactive(tmp_path: Path, failures: int) -> None:
    async def story(stage: Stage) -> None:
        place = stage.proxy.host, stage.proxy.port
        with Genesis(tmp_path, place, "genesis_a", "unavailable") as system:
            await stage.until(lambda: stage.proxy.statuses() == ["Inactive"])
            seen = evidence(stage, system)[:failures]
            assert [row["code"] for row in seen] == [503] * failures
            assert [row["status"] for row in seen] == ["Probing"] * (failures - 1) + ["Inactive"]

    tell(tmp_path, story, "genesis_a", astDownThreshold=failures, **QUICK)


@pytest.mark.peer("sipp")
@pytest.mark.parametrize("answers", [1, 4])
def test_how_many_answers_make_it_active_again(tmp_path: Path, answers: int) -> None:
    async def story(stage: Stage) -> None:
        place = stage.proxy.host, stage.proxy.port
        with Genesis(tmp_path, place, "genesis_a") as system, Genesis(tmp_path, place, "genesis_b"):
            system.hang()
            await stage.until(lambda: stage.proxy.statuses() == ["Active", "Inactive"])
            system.go_on()
            await stage.until(lambda: stage.proxy.statuses() == ["Active", "Active"])
            seen = evidence(stage, system)
            last = max(number for number, row in enumerate(seen) if not row["code"])
            assert [row["status"] for row in seen[last + 1 :]][:answers] == ["Inactive"] * (answers - 1) + [
                "Active"
            ]

    tell(tmp_path, story, "genesis_a", "genesis_b", astUpThreshold=answers, **QUICK)


@pytest.mark.peer("sipp")
@pytest.mark.parametrize("hold_down", [1, 3600])
def test_a_system_that_falls_again_is_held_down(tmp_path: Path, hold_down: int) -> None:
    """The first recovery is not delayed; the second one is, by this time."""

    async def story(stage: Stage) -> None:
        place = stage.proxy.host, stage.proxy.port
        with Genesis(tmp_path, place, "genesis_a") as system, Genesis(tmp_path, place, "genesis_b"):
            for _ in range(2):
                await stage.until(lambda: stage.proxy.statuses() == ["Active", "Active"])
                system.hang()
                await stage.until(lambda: stage.proxy.statuses() == ["Active", "Inactive"])
                before = len(evidence(stage, system))
                system.go_on()
            if hold_down == 1:
                await stage.until(lambda: stage.proxy.statuses() == ["Active", "Active"])
                return
            # It answers as often as it has to, and is not used.
            await stage.until(lambda: len(evidence(stage, system)) >= before + 4)
            assert stage.proxy.statuses() == ["Active", "Inactive"]
            assert "held" in stage.proxy.cli("dispatcher", "explain", system.uri)

    tell(tmp_path, story, "genesis_a", "genesis_b", astHoldDown=hold_down, **QUICK)


TRIED = "tried again after the hold-down"


@pytest.mark.parametrize("hold_down", [1, 3600])
def test_without_queries_it_is_tried_again_after_the_hold_down(tmp_path: Path, hold_down: int) -> None:
    async def story(stage: Stage) -> None:
        first, second, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        first.stop()
        await stage.hang_up(*await stage.connect(phone, stage.uri("100"), second))
        if hold_down == 1:
            while TRIED not in str(stage.proxy.reply("dispatcher explain", system="genesis_a")):
                await stage.hang_up(*await stage.connect(phone, stage.uri("100"), second))
        else:
            await stage.hang_up(*await stage.connect(phone, stage.uri("100"), second))
            said = stage.proxy.cli("dispatcher", "explain", "genesis_a")
            (left,) = re.findall(r"tried again in (\d+) s", said)
            assert 3500 < int(left) <= hold_down

    tell(tmp_path, story, "genesis_a", "genesis_b", enableAstFailover=False, astHoldDown=hold_down)
