"""Every key of the guide's 7.1.16 to 7.1.23 has its effect.

| key | test |
|---|---|
| 7.1.16 `enableAstFailover` | `test_without_queries_only_calls_notice_a_death`; on: `sip_failover::test_probes_notice_a_death_without_any_call` |
| 7.1.17 `astPersistentFailover` | `sip_failover::test_a_primary_that_comes_back`, both values; on: `test_systems::test_one_that_dies_and_comes_back` |
| 7.1.18 `astPingMethod` | `test_who_is_asked_how_and_how_often` |
| 7.1.19 `astPingInterval` | `test_who_is_asked_how_and_how_often` |
| 7.1.20 `dispatchPriUser` | `test_prefixes_of_both_sets_and_their_limits` |
| 7.1.21 `dispatchSecUser` | `test_prefixes_of_both_sets_and_their_limits` |
| 7.1.22 `dispatchLimit` | `test_prefixes_of_both_sets_and_their_limits` |
| 7.1.23 `dispatchSize` | `test_both_sets_together_have_a_limit` |
| 7.1.24 to 7.1.29 `dispatchListenSock`, `dispatchAuth...` | `test_http_control` |
"""  # noqa: E501  a table

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from haproxy.testing.call import Refused
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


def states(stage: Stage) -> list[str]:
    """The state of each system, the secondary set first."""
    return [row["status"] for row in json.loads(stage.proxy.cli("--json", "dispatcher", "show"))]


def test_without_queries_only_calls_notice_a_death(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        first, second, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        first.stop()
        call, answered = await stage.connect(phone, stage.uri("100"), second)
        await stage.hang_up(call, answered)
        assert states(stage) == ["Active", "Inactive"]
        assert first.probes == second.probes == 0
        # It is tried again after the hold-down.
        await stage.until(lambda: "tried again in" in stage.proxy.cli("dispatcher", "explain"))

    keys: dict[str, Value] = {"enableAstFailover": False, "astPingInterval": 1}
    tell(tmp_path, story, "genesis_a", "genesis_b", **keys)


def test_who_is_asked_how_and_how_often(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        first, phone = await stage.registered("genesis_a", "5000")
        await stage.until(lambda: first.probes >= 3)  # in 30 s, the default, it would be one
        assert phone.probes == 0
        evidence = json.loads(stage.proxy.cli("--json", "dispatcher", "explain", "genesis_a"))["evidence"]
        assert {row["kind"] for row in evidence} == {"REGISTER", "INFO"}

    keys: dict[str, Value] = {"astPingMethod": "INFO", "astPingInterval": 1}
    tell(tmp_path, story, "genesis_a", **keys)


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
        assert states(stage) == ["Active", "Active"]

    users = "alpha", "alpha-2", "alpha_b1", "genesis_a"
    keys: dict[str, Value] = {"dispatchPriUser": "alpha", "dispatchSecUser": "alpha_b", "dispatchLimit": 1}
    log = tell(tmp_path, story, *users, **keys)
    assert "set 1 has dispatchLimit = 1 systems already" in log


def test_both_sets_together_have_a_limit(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.registered("genesis_a", "genesis_b")
        with pytest.raises(Refused, match="503"):
            await stage.within(stage.phone("genesis_a-2").register())

    log = tell(tmp_path, story, "genesis_a", "genesis_a-2", "genesis_b", dispatchSize=1)
    assert "the sets have 2^dispatchSize = 2 systems already" in log
