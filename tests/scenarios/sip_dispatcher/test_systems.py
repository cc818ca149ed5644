"""SIPp as Genesis systems that die, hang, answer 503 or garbage, and come back; calls go on meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genesis import Behaviour, Genesis
from haproxy.testing.genproxy import Genproxy, Settings
from haproxy.testing.stage import SUBSCRIBERS, Stage, play

pytestmark = pytest.mark.peer("sipp")

QUICK: Settings = {
    "proxy": {
        "astPingInterval": 1,
        "astPingTimeout": 1,
        "astPingRetry": 1,
        "enableAntiFlood": False,
    }
}


class Scene:
    """A proxy with one SIPp in each set."""

    def __init__(self, folder: Path, behaviour: Behaviour = "well") -> None:
        self.proxy = Genproxy(folder / "proxy", settings=QUICK, subscribers=SUBSCRIBERS)
        place = self.proxy.host, self.proxy.port
        self.primary = Genesis(folder, place, "genesis_a", behaviour)
        self.secondary = Genesis(folder, place, "genesis_b")

    def explain(self, system: Genesis) -> dict[str, Any]:
        """What `dispatcher explain` says of a system, its evidence included."""
        reply = self.proxy.reply("dispatcher explain", system=system.uri)
        (row,) = reply["destinations"]
        return {**row, "evidence": reply["evidence"]}

    def is_(self, system: Genesis, status: str) -> Callable[[], bool]:
        return lambda: self.explain(system)["status"] == status


async def call(stage: Stage) -> None:
    """A call from outside that Genesis answers, whichever system that is."""
    phone = stage.phone("5000")
    made = await stage.within(phone.call(stage.uri("100")))
    await stage.within(made.hang_up())


def test_one_that_dies_and_comes_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def story(stage: Stage) -> None:
        await call(stage)
        scene.primary.die()
        await call(stage)
        dead = scene.explain(scene.primary)
        assert dead["status"] == "Inactive"
        assert "connection refused" in dead["why"]
        assert scene.explain(scene.secondary)["calls"] == 1
        scene.primary.start()
        await stage.until(scene.is_(scene.primary, "Active"))
        await call(stage)
        assert scene.explain(scene.secondary)["calls"] == 2  # the failover has swapped the sets

    with scene.proxy as running, scene.primary, scene.secondary:
        play(running, story)
        assert running.metric("set_failovers_total") == 1
        assert "Traceback" not in running.daemon.text


def test_one_that_hangs_and_comes_back_by_itself(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    async def story(stage: Stage) -> None:
        scene.primary.hang()
        await call(stage)
        await stage.until(scene.is_(scene.primary, "Inactive"))
        assert "not answer" in json.dumps(scene.explain(scene.primary))
        scene.primary.go_on()
        await stage.until(scene.is_(scene.primary, "Active"))
        probes = [seen for seen in scene.explain(scene.primary)["evidence"] if seen["code"] == 200]
        assert len(probes) >= 2
        assert all(seen["rtt"] >= 0 for seen in probes)

    with scene.proxy as running, scene.primary, scene.secondary:
        play(running, story)


def test_one_that_asks_for_no_calls(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "busy")

    async def story(stage: Stage) -> None:
        for _ in range(3):
            await call(stage)
        asked = scene.explain(scene.primary)
        assert asked["calls"] == 1
        assert asked["status"] == "Active"
        assert "(Retry-After)" in asked["why"]
        assert scene.explain(scene.secondary)["calls"] == 3

    with scene.proxy as running, scene.primary, scene.secondary:
        play(running, story)
        assert running.metric("destination_rests_total") == 1
        assert running.metric("set_failovers_total") == 0


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [("unavailable", "answered 503 to a probe"), ("garbage", "answered a probe with what is no SIP")],
)
def test_one_that_answers_503_or_garbage(tmp_path: Path, behaviour: Behaviour, why: str) -> None:
    scene = Scene(tmp_path, behaviour)

    async def story(stage: Stage) -> None:
        await call(stage)
        assert scene.explain(scene.secondary)["calls"] == 1
        await stage.until(scene.is_(scene.primary, "Inactive"))
        await stage.until(lambda: why in json.dumps(scene.explain(scene.primary)))

    with scene.proxy as running, scene.primary, scene.secondary:
        play(running, story)
        assert "Traceback" not in running.daemon.text
