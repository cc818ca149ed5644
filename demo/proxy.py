"""Chapter two: `twistd genproxy` in front of two Genesis systems, and what happens when one dies."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from demo.report import NotHeld, Report, Skipped, Traffic
from demo.servers import Program, Threads
from haproxy.testing.audio import Audio
from haproxy.testing.call import IncomingCall, OutgoingCall
from haproxy.testing.genproxy import PORT, Genproxy, own_host
from haproxy.testing.phone import Phone

TALK: Final = 2.0
"""Seconds of audio in the calls that are listened to."""

PATIENCE: Final = 10.0
"""Seconds to wait for anything that should come at once."""

_PASSWORDS: Final = {"genesis_a": "first", "genesis_b": "second", "5000": "third"}
_TONES: Final = {"genesis_a": 440, "genesis_b": 660, "5000": 880}


class Network:
    """A network of loopback addresses that only this run uses: private, public, and a phone far away."""

    def __init__(self) -> None:
        net = own_host().rsplit(".", 2)[0]
        self.private = f"{net}.1.1"
        self.public = f"{net}.2.1"
        self.hosts = {"genesis_a": f"{net}.1.11", "genesis_b": f"{net}.1.12", "5000": f"{net}.9.50"}


class Proxy:
    """The chapter's steps, in order; `close` ends what is left."""

    def __init__(self, reactor: Any, report: Report, folder: Path) -> None:
        self._reactor = reactor
        self._report = report
        self._threads = Threads(reactor)
        self._network = net = Network()
        self._proxy = Genproxy(
            folder / "genproxy",
            host=net.private,
            settings={
                "system": {"privateSubnet": "24", "publicIP": net.public},
                "proxy": {"enableRegAuth": True, "enableNAT": True, "astPingInterval": 2},
            },
            subscribers={
                f"{user}@{net.public if user == '5000' else net.private}": password
                for user, password in _PASSWORDS.items()
            },
        )
        self._cli = Program("genproxy-cli", "haproxy.cli", "--socket", self._proxy.socket)
        self._phones: dict[str, Phone] = {}

    async def tell(self) -> None:
        """Everything; stops at the first step that does not hold."""
        self._report.chapter(
            "genproxy, the SIP high-availability proxy",
            "It stands between the internet and two Genesis telephone systems (Asterisk): phones know only "
            "the proxy, which carries their calls and their audio to the system that is alive.",
        )
        with suppress(Skipped):
            await self._start()
            await self._register()
            await self._call_genesis()
            await self._call_from_genesis()
            await self._fail_over()
            await self._stop_during_a_call()

    async def close(self) -> None:
        """End whatever still runs."""
        for phone in self._phones.values():
            phone.stop()
        self._proxy.close()

    async def _start(self) -> None:
        net = self._network
        with self._report.step("twistd genproxy starts between two networks") as step:
            await self._threads.run(self._proxy.daemon.start)
            step.note(f"private side {net.private}:{PORT}, public side {net.public}:{PORT}, both UDP and TCP")

    async def _register(self) -> None:
        text = "Genesis A, Genesis B and phone 5000 register, with digest authentication"
        with self._report.step(text) as step:
            for user in _PASSWORDS:
                await self._phone(user).register()
            await self._shown(step, "show", "dispatcher")
            await self._shown(step, "show", "bindings")

    async def _call_genesis(self) -> None:
        with self._report.step(
            "Phone 5000 calls 100: the proxy takes the call to the primary, Genesis A"
        ) as step:
            call, answered = await self._dial("5000", self._genesis_uri, "genesis_a", step, "call to Genesis")
        text = f"They talk for {TALK:.0f} seconds, RTP both ways through the proxy; 5000 hangs up"
        with self._report.step(text) as step:
            await self._talk(call, answered, ("5000", "genesis_a"), step)

    async def _call_from_genesis(self) -> None:
        with self._report.step("Genesis A calls phone 5000, wherever that has registered from") as step:
            uri = f"sip:5000@{self._network.private}"
            call, answered = await self._dial("genesis_a", uri, "5000", step, "call from Genesis")
            await answered.hang_up()
            await call.ended.wait().addTimeout(PATIENCE, self._reactor)

    async def _fail_over(self) -> None:
        self._phones["genesis_a"].stop()
        with self._report.step(
            "Genesis A dies without a word. The next call reaches Genesis B; the sets change roles"
        ) as step:
            call, answered = await self._dial(
                "5000", self._genesis_uri, "genesis_b", step, "first call after the primary died"
            )
            if not re.search(r"\(Primary\) .*genesis_b", await self._shown(step, "show", "dispatcher")):
                raise NotHeld("the secondary set has not become the primary one")
        with self._report.step(f"They talk for {TALK:.0f} seconds; Genesis B hangs up") as step:
            await self._talk(call, answered, ("5000", "genesis_b"), step)

    async def _stop_during_a_call(self) -> None:
        with self._report.step("twistd genproxy gets SIGTERM during a call, and stops") as step:
            await self._dial("5000", self._genesis_uri, "genesis_b", step, "call to the new primary")
            seconds = await self._threads.run(self._proxy.daemon.stop)
            step.note(
                f"stopped after {self._report.time('genproxy: SIGTERM during a call to the end', seconds)}"
            )

    async def _dial(
        self, caller: str, uri: str, callee: str, step: Any, what: str
    ) -> tuple[OutgoingCall, IncomingCall]:
        """A call that has to reach `callee`, answered; `what` names its time in the summary."""
        begin = time.monotonic()
        call = await self._within(self._phones[caller].call(uri))
        reached = self._phones[callee].calls
        if not reached.pending:
            raise NotHeld(f"the call was answered, but not by {callee}")
        answered = await reached.get()
        await answered.answered.wait().addTimeout(PATIENCE, self._reactor)
        took = self._report.time(f"genproxy: {what}", time.monotonic() - begin)
        step.note(f"talking {took} after {caller} dialled")
        return call, answered

    @property
    def _genesis_uri(self) -> str:
        """What phones dial; which Genesis system gets it is the proxy's business."""
        return f"sip:100@{self._network.public}"

    async def _talk(
        self, call: OutgoingCall, answered: IncomingCall, names: tuple[str, str], step: Any
    ) -> None:
        await deferLater(self._reactor, TALK)
        await self._shown(step, "show", "calls")
        for end in (call, answered):
            end.audio.mute()
        await deferLater(self._reactor, 0.1)  # for the last packets on their way
        first, second = names
        self._count(call.audio, answered.audio, first, second, self._network.private)
        self._count(answered.audio, call.audio, second, first, self._network.public)
        ending, other = (call, answered) if second == "genesis_a" else (answered, call)
        await self._within(ending.hang_up())
        await other.ended.wait().addTimeout(PATIENCE, self._reactor)

    def _count(self, sender: Audio, receiver: Audio, name: str, listener: str, relay: str) -> None:
        received = receiver.reception.received
        row = Traffic(
            "genproxy",
            f"RTP {name} to {listener}",
            sender.sent,
            received,
            receiver.share(_TONES[name]),
        )
        self._report.traffic(row)
        if not row.held:
            raise NotHeld(f"{name} to {listener}: {row}")
        if {host for host, _ in receiver.came_from()} != {relay}:
            raise NotHeld(f"{listener} heard from {receiver.came_from()}, not from the proxy's {relay}")

    def _phone(self, user: str) -> Phone:
        net = self._network
        server = (net.public if user == "5000" else net.private, PORT)
        host, password = net.hosts[user], _PASSWORDS[user]
        phone = self._phones[user] = Phone(
            self._reactor, user, server, password=password, host=host, tone=_TONES[user], answering=True
        )
        return phone

    async def _within(self, work: Any) -> Any:
        return await Deferred.fromCoroutine(work).addTimeout(PATIENCE, self._reactor)

    async def _shown(self, step: Any, *words: str) -> str:
        """Run a command of the operator, and show it with its output."""
        output = await self._threads.run(self._cli, *words)
        step.note(self._cli.line(*words))
        step.note(output)
        return output
