"""An operator at work: watches calls, empties a proxy before an upgrade, throws registrations away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest
from twisted.internet.task import deferLater

from haproxy.testing.call import Refused
from haproxy.testing.genproxy import Genproxy, Settings
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from rtlib.testing.daemon import ROOT, wait_until


@contextmanager
def trace(proxy: Genproxy, *words: str) -> Iterator[IO[bytes]]:
    """`genproxy-cli trace` in the background, ended by ctrl-c; the file that it writes to."""
    command = [sys.executable, "-m", "haproxy.cli", "--socket", str(proxy.socket), *words]
    before = proxy.metric("traces")
    with (
        TemporaryFile() as output,
        subprocess.Popen(command, stdout=output, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process,
    ):
        try:
            wait_until(lambda: proxy.metric("traces") > before)
            yield output
            process.send_signal(signal.SIGINT)
            process.wait(10)
        finally:
            process.kill()


def printed(output: IO[bytes]) -> str:
    return os.pread(output.fileno(), 1 << 20, 0).decode()


async def one_call(stage: Stage, user: str = "5000") -> None:
    (genesis,) = await stage.registered("genesis_a")
    (phone,) = await stage.registered(user)
    call, answered = await stage.connect(phone, stage.uri("100"), genesis)
    await stage.hang_up(call, answered)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Genproxy]:
    settings: Settings = {"proxy": {"enableRegAuth": True}}
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers=SUBSCRIBERS) as running:
        yield running


def test_a_ladder_of_both_legs(proxy: Genproxy) -> None:
    with trace(proxy, "trace", "--method", "INVITE") as output, trace(proxy, "--json", "trace") as all_of_it:
        play(proxy, one_call)
        wait_until(lambda: "200 OK" in printed(output))
        wait_until(lambda: '"method":"BYE"' in printed(all_of_it))
        lines = printed(output).splitlines()
        rows = [json.loads(line) for line in printed(all_of_it).splitlines()]
    assert "is Call-ID" in lines[0]
    rungs = [line for line in lines if "|" in line]
    left = [line for line in rungs if line.endswith("|")]
    assert "INVITE sip:100@" in left[0]
    assert any(" 200 OK (application/sdp) " in line for line in left)
    assert any("| -" in line for line in rungs)
    invites = [row for row in rows if row["message"].startswith("INVITE sip:100@")]
    assert [(row["lane"], row["received"]) for row in invites] == [(0, True), (1, False)]
    assert len({row["call_id"] for row in invites}) == 1
    assert {row["method"] for row in rows} >= {"REGISTER", "INVITE", "ACK", "BYE"}
    wait_until(lambda: proxy.metric("traces") == 0)


def test_drain(proxy: Genproxy) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        (phone,) = await stage.registered("5000")
        call, answered = await stage.connect(phone, stage.uri("100"), genesis)
        assert "have ended: 1" in proxy.cli("drain")
        with pytest.raises(Refused, match="503"):
            await stage.within(phone.call(stage.uri("100")))
        await stage.within(phone.register())
        assert proxy.daemon.returncode is None
        await stage.hang_up(answered, call)
        while proxy.daemon.returncode is None:
            await deferLater(stage.reactor, 0.05)

    play(proxy, story)
    assert proxy.daemon.returncode == 0
    assert "no new calls; the server stops when those that run have ended: 1" in proxy.daemon.text


def test_drain_can_be_cancelled(proxy: Genproxy) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        (phone,) = await stage.registered("5000")
        call, answered = await stage.connect(phone, stage.uri("100"), genesis)
        proxy.cli("drain")
        assert proxy.metric("draining") == 1
        assert "accepted again" in proxy.cli("drain", "--cancel")
        other, answer = await stage.connect(phone, stage.uri("100"), genesis)
        for one, two in ((call, answered), (other, answer)):
            await stage.hang_up(one, two)

    play(proxy, story)
    assert proxy.daemon.returncode is None


def test_flush(proxy: Genproxy) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        await stage.registered("5000", "5001")
        assert proxy.cli("flush", "bindings", "5001").startswith("1 ")
        with pytest.raises(Refused, match="480"):
            await stage.within(genesis.call(stage.uri("5001")))
        genesis.answering = False
        phone = stage.phone("5000")
        call = phone.dial(stage.uri("100"))
        ringing = await genesis.calls.get()
        ringing.ring()
        await call.rang.wait()
        assert int(proxy.cli("flush", "transactions").split()[0]) >= 2
        with pytest.raises(Refused, match="503"):
            await call.answered.wait()
        assert proxy.cli("flush", "bindings").startswith("2 ")
        assert proxy.metric("bindings") == 0
        await ringing.ended.wait()
        assert "server" not in proxy.cli("show", "transactions")

    play(proxy, story)
    assert "Traceback" not in proxy.daemon.text
