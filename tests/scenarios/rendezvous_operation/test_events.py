"""Every system event is told to scripts/notify.sh, which may take its time (manual 7.1)."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer
from crs.update import content
from crs.update.content import Head
from crs.update.month import Month
from rtlib.notify import DEFAULT_SCRIPT
from rtlib.testing.daemon import ROOT, DaemonError, wait_until
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.redis import RedisServer


class Events:
    """A notification script that writes down what it is told."""

    def __init__(self, server: CrsServer, more: str = "") -> None:
        self._file = server.home.with_suffix(".events")
        script = server.home / "scripts" / "notify.sh"
        script.parent.mkdir()
        # What the server may not write any more, its script may.
        lines = ("#!/bin/sh", "ulimit -S -f unlimited", f'echo "$#|$1|$2" >> {self._file}', more, "")
        script.write_text("\n".join(lines))
        script.chmod(0o755)

    def __call__(self) -> list[str]:
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        assert all(line.startswith("2|") for line in lines), "each has a unit and an event"
        return [line.removeprefix("2|") for line in lines]

    def wait_for(self, pattern: str) -> None:
        wait_until(lambda: any(re.fullmatch(pattern, line) for line in self()), 20, f"{pattern}: {self()}")


@pytest.fixture
def server(tmp_path: Path) -> CrsServer:
    return CrsServer(tmp_path / "crs")


@pytest.fixture
def events(server: CrsServer) -> Events:
    return Events(server)


def documented() -> Iterator[tuple[str, str]]:
    """The unit and the beginning of each event in the operator's document."""
    text = (ROOT / "docs" / "running-crs.md").read_text()
    [section] = re.findall(r"^## System events\n(.*?)^## ", text, re.M | re.S)
    for units, told in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`[^`]+`(?:, )?)+) \|", section, re.M):
        for unit in re.findall(r"`([^`]+)`", units):
            for event in re.findall(r"`([^`]+)`", told):
                yield unit, event.partition(":")[0]


def test_these_are_the_documented_ones() -> None:
    tested = set(re.findall(r'wait_for(?:\(|, )rf?"(\w+)\\\|([a-z ]+)', Path(__file__).read_text()))
    assert tested == set(documented())


def test_a_life(server: CrsServer, events: Events) -> None:
    last = Month.of(datetime.now(UTC))
    past = f"{last.year - 1}-{last.number:02}"
    head = Head(account=ACCOUNT, month=past, created=0)
    (server.home / "accounts" / ACCOUNT / f"{past}.applied").write_bytes(content.build(head, {}))
    configuration = server.home / "crs.conf"
    right = configuration.read_text()
    with server:
        events.wait_for(r"crs\|started")
        events.wait_for(rf"crs\|update expired: {ACCOUNT}")
        assert server.metrics()["crs_accounts_expired"] == 1
        server.daemon.process.send_signal(signal.SIGHUP)
        events.wait_for(r"crs\|reloaded")
        configuration.write_text(right + "colour red\n")
        server.daemon.process.send_signal(signal.SIGHUP)
        events.wait_for(rf"crs\|reload failed: {configuration}:\d+: colour: .*")
        configuration.write_text(right)
        run(lambda: drained_and_not(server), timeout=60)
        events.wait_for(r"crs\|draining")
        events.wait_for(r"crs\|draining cancelled")
        server.daemon.stop()
        events.wait_for(r"crs\|stopping")


async def drained_and_not(server: CrsServer) -> None:
    """While a call runs."""
    reactor: Any = installed_reactor()
    alice, _ = await server.attached(reactor, "+1")
    bob, told = await server.attached(reactor, "+2")
    await alice.call("+2")
    await told.calls.get()
    await deferToThread(server.ok, "drain")
    await deferToThread(server.ok, "drain", "--cancel")
    await alice.close()
    await bob.close()


def test_a_full_disk(server: CrsServer, events: Events) -> None:
    reactor: Any = installed_reactor()

    async def attach(uri: str) -> None:
        client, _ = server.client(reactor, uri)
        await client.connect()
        with suppress(Refused):  # who cannot be kept
            await client.attach()
        await client.close()

    async def story() -> None:
        size = resource.prlimit(server.daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.daemon.pid, resource.RLIMIT_FSIZE, (0, size[1]))
        await attach("+1")
        await deferToThread(events.wait_for, r"crs\|store failed: .*disk.*")
        assert (await deferToThread(server.metrics))["crs_store_failed"] == 1
        resource.prlimit(server.daemon.pid, resource.RLIMIT_FSIZE, size)
        await attach("+2")
        await deferToThread(events.wait_for, r"crs\|store works again")

    with server:
        run(story, timeout=60)


def test_a_server_that_cannot_run(server: CrsServer, events: Events) -> None:
    with server:
        server.daemon.stop()
        path = server.home / "data" / "crs.db"
        data = path.read_bytes()
        path.write_bytes(data[:4096] + bytes(len(data) - 4096))
        with pytest.raises(DaemonError, match="before readiness"):
            server.daemon.start()
        assert server.daemon.returncode == 1
        events.wait_for(r"crs\|failed: .*database.*")
        path.write_bytes(b"no database")
        with pytest.raises(DaemonError, match=f"crs: {path}: is not a database\n"):
            server.daemon.start()
        assert server.daemon.returncode == 1


def test_a_relay_of_its_own(tmp_path: Path) -> None:
    server = CrsServer(tmp_path / "crs", ["relay-service separate"])
    events = Events(server)
    with server.relay() as relay, server:
        events.wait_for(r"crs_relay\|started")
        relay.stop()
        events.wait_for(r"crs_relay\|stopping")
        events.wait_for(r"crs_relay\|inactive")
        relay.start()
        events.wait_for(r"crs_relay\|active")
    assert events().count("crs_relay|inactive") == 1


@pytest.mark.peer("redis-server")
def test_redis(tmp_path: Path) -> None:
    with RedisServer() as high, RedisServer(appendonly="no") as low:
        lines = ("store redis", f"redis-high unix:{high.socket}", f"redis-low unix:{low.socket}")
        server = CrsServer(tmp_path / "crs", lines)
        events = Events(server)
        with server:
            high.kill()
            low.kill()
            events.wait_for(r"redis_high\|inactive")
            events.wait_for(r"redis_low\|inactive")
            high.start()
            low.start()
            events.wait_for(r"redis_high\|active")
            events.wait_for(r"redis_low\|active")


def test_a_script_that_hangs_holds_nobody_up(server: CrsServer) -> None:
    events = Events(server, more="exec tail -f /dev/null")
    with server:
        events.wait_for(r"crs\|started")
        assert ACCOUNT in server.ok("show", "account")
        server.daemon.process.send_signal(signal.SIGHUP)
        events.wait_for(r"crs\|reloaded")
        server.daemon.stop(within=10)
        assert "took too long and was killed" in server.daemon.text


def test_the_default_is_syslog(server: CrsServer, tmp_path: Path) -> None:
    """What the server puts there tells `logger`, whose place a program takes that shows its arguments."""
    with server:
        script = server.home / "scripts" / "notify.sh"
        assert script.read_text() == DEFAULT_SCRIPT and script.stat().st_mode & 0o777 == 0o755
    (tmp_path / "logger").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (tmp_path / "logger").chmod(0o755)
    done = subprocess.run(
        [str(script), "crs", "update expired: x"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "-t|crs|--|update expired: x|"
