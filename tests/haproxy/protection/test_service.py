"""The log, and the clock."""

from __future__ import annotations

from typing import cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from haproxy.protection.accesslist import AccessList, Lists
from haproxy.protection.guard import Guard, Policy
from haproxy.protection.service import LINES, Protection
from rtlib.address import pack
from rtlib.offence import OffenceLog

SCAN = b"OPTIONS sip:192.0.2.1 SIP/2.0\r\nUser-Agent: friendly-scanner\r\n\r\n"


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        lists = Lists(AccessList(), AccessList(), AccessList())
        guard = Guard(lists, Policy(), pardon=lambda address: False, inside=lambda address: False)
        self.offences = OffenceLog()
        self.protection = Protection(self.clock, guard, self.offences, self.clock.seconds)
        self.lines: list[str] = []
        observer = cast(ILogObserver, self.note)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.protection.startService()
        self.addCleanup(self.protection.stopService)

    def note(self, event: LogEvent) -> None:
        if str(event.get("log_namespace", "")).startswith("haproxy.protection"):
            self.lines.append(str(event["log_format"]).format(**event))

    def scan(self, host: str) -> None:
        self.protection.admit([(SCAN, pack(host, 5060))])

    def test_the_life_of_a_block(self) -> None:
        self.scan("192.0.2.9")
        assert self.protection.shuts(pack("192.0.2.9", 1))
        self.clock.pump([1.0] * 310)
        assert not self.protection.shuts(pack("192.0.2.9", 1))
        assert self.lines == [
            "scanner from 192.0.2.9: calls itself friendly-scanner; is blocked for 300 s",
            "192.0.2.9 is not blocked any more: it has become quiet; 1 messages",
        ]
        assert self.offences.totals["scanner"] == 1

    def test_the_dry_run(self) -> None:
        self.protection.guard.apply(Policy(dry_run=True))
        self.scan("192.0.2.9")
        self.clock.advance(1.0)
        assert "would be blocked" in self.lines[0]

    def test_many_forged_senders_do_not_fill_the_disk(self) -> None:
        for number in range(500):
            self.scan(f"10.0.{number >> 8}.{number & 255}")
        self.clock.advance(1.0)
        assert len(self.lines) == LINES + 1
        assert self.lines[-1] == f"{500 - LINES} more addresses were blocked or freed"

    def test_the_same_source_is_told_once_in_a_while(self) -> None:
        for _ in range(5):
            self.scan("192.0.2.9")
            self.clock.advance(1.0)
            self.protection.guard.unblock(None)
            self.clock.advance(1.0)
        assert len([line for line in self.lines if line.startswith("scanner")]) == 1

    def test_failures_count(self) -> None:
        for _ in range(100):
            self.protection.offend(pack("192.0.2.9", 5060))
            self.clock.advance(0.1)
        assert self.protection.shuts(pack("192.0.2.9", 1))
