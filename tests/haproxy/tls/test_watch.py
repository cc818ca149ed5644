"""Who is told of certificates that end and of files that are no good."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haproxy.testing.authority import Authority
from haproxy.tls.section import TlsSection
from haproxy.tls.store import TlsStore
from haproxy.tls.watch import REMINDER, TlsWatch
from rtlib.testing import loop

DAY = 86400.0


class Now(Clock):
    """A clock whose threads are the caller's."""

    def getThreadPool(self) -> Now:
        return self

    def callInThreadWithCallback(self, done: Any, function: Any, *arguments: Any) -> None:
        done(True, function(*arguments))

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        function(*arguments)


def watching(folder: Path, days: float) -> tuple[Now, TlsWatch, list[tuple[str, str]]]:
    """A watch over one pair, `days` before its end; and what it tells."""
    authority = Authority(folder)
    authority.issue("own", ["own.example"], days=days)
    pair = folder / "own.pem"
    store = TlsStore(
        [TlsSection("default", "client", pair, pair), TlsSection("default", "server", pair, pair)]
    )
    told: list[tuple[str, str]] = []
    clock, begin = Now(), time.time()
    watch = TlsWatch(clock, store, lambda: begin + clock.seconds(), lambda *what: told.append(what))
    return clock, watch, told


def test_an_end_is_told_once_a_day(tmp_path: Path) -> None:
    clock, watch, told = watching(tmp_path, 10.5)
    watch.startService()
    assert sorted(section for section, _ in told) == ["default client", "default server"]
    assert all(text.startswith("the certificate CN=own expires in 10 days") for _, text in told)
    clock.pump([600.0] * 100)
    assert len(told) == 2
    clock.advance(REMINDER)
    assert len(told) == 4
    clock.advance(12 * DAY)
    assert "has expired" in told[-1][1]
    watch.stopService()
    assert clock.getDelayedCalls() == []


def test_a_changed_file_that_is_no_good_is_told_once(tmp_path: Path) -> None:
    clock, watch, told = watching(tmp_path, 60)
    watch.startService()
    assert told == []
    (tmp_path / "own.pem").write_text("half a fi")
    clock.pump([6.0] * 10)
    assert [section for section, _ in told] == ["default client", "default server"]
    assert told[0][1].endswith(
        "own.pem holds no readable private key in PEM form; the one before stays in use"
    )
    watch.stopService()


def test_files_are_read_in_a_thread(tmp_path: Path) -> None:
    _, watch, told = watching(tmp_path, 60)

    async def run() -> None:
        watch._reactor = loop.installed_reactor()
        (tmp_path / "own.pem").write_text("half a fi")
        await Deferred.fromCoroutine(watch.look())

    loop.run(run)
    assert len(told) == 2
