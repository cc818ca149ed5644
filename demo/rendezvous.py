"""Chapter one: `twistd crs`, two phones that call each other, and a message to a third that is away."""

from __future__ import annotations

import time
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.task import deferLater

from crs.client.call import Call, IncomingCall, OutgoingCall
from crs.client.client import Client
from crs.client.credentials import Credentials, Server
from crs.client.error import CallEnded, ClientError
from crs.client.listener import Listener
from crs.client.media import MediaStream
from crs.signaling.message import Deliver, EndReason, Who
from demo.report import NotHeld, Report, Skipped, Traffic
from demo.servers import Crs, Threads
from rtlib.audio import tone
from rtlib.audio.playback import frames

ACCOUNT: Final = "DEMO"
TALK: Final = 3.0
"""Seconds of audio."""

PATIENCE: Final = 10.0
"""Seconds to wait for anything that should come at once."""

_ALICE_HZ: Final = 440
_BOB_HZ: Final = 880
_MESSAGE: Final = b"Are you coming tonight?"


class Phone(Listener):
    """A person with the reference client: calls and messages that come in wait in queues."""

    def __init__(self, reactor: Any, server: Server, name: str, secret: bytes) -> None:
        self._reactor = reactor
        self.uri = f"{name}@demo.test"
        self.calls: DeferredQueue[IncomingCall] = DeferredQueue(size=4)
        self.messages: DeferredQueue[Deliver] = DeferredQueue(size=16)
        self.receipts: DeferredQueue[Deliver] = DeferredQueue(size=16)
        self.client = Client(reactor, server, Credentials.derived(self.uri, ACCOUNT, secret), self)

    def incoming(self, call: IncomingCall) -> None:
        """Keep the call until somebody picks up."""
        self.calls.put(call)

    def message(self, item: Deliver) -> bool:
        """Keep the message, and confirm it."""
        self.messages.put(item)
        return True

    def receipt(self, item: Deliver) -> bool:
        """Keep the confirmation."""
        self.receipts.put(item)
        return True

    async def attach(self) -> None:
        """Connect and register."""
        await self.client.connect()
        await self.client.attach()

    async def next(self, queue: DeferredQueue[Any], what: str) -> Any:
        """The next item. Raises NotHeld when none comes."""
        with suppress(TimeoutError):
            return await queue.get().addTimeout(PATIENCE, self._reactor)
        raise NotHeld(f"no {what} has reached {self.uri} within {PATIENCE:.0f} s")


class Rendezvous:
    """The chapter's steps, in order; `close` ends what is left."""

    def __init__(self, reactor: Any, report: Report, folder: Path) -> None:
        self._reactor = reactor
        self._report = report
        self._threads = Threads(reactor)
        self._crs = Crs(folder / "crs")
        self._phones: dict[str, Phone] = {}

    async def tell(self) -> None:
        """Everything; stops at the first step that does not hold."""
        self._report.chapter(
            "crs, the rendezvous server",
            "Phones keep one encrypted connection to it. It finds people, sets up their calls, relays their "
            "encrypted audio, and keeps messages for those who are away. It never sees what they say.",
        )
        with suppress(Skipped):
            await self._start()
            await self._account()
            await self._attach()
            call, answered = await self._call()
            await self._talk(call, answered)
            await self._hang_up(call, answered)
            await self._leave_message()
            await self._deliver_message()
            await self._stop_during_a_call()

    async def close(self) -> None:
        """End whatever still runs."""
        for phone in self._phones.values():
            with suppress(ClientError):
                await phone.client.close()
        self._crs.daemon.close()

    async def _start(self) -> None:
        crs = self._crs
        with self._report.step("twistd crs starts") as step:
            await self._threads.run(crs.daemon.start)
            step.note(f"phones connect to {crs.host}:{crs.client_port} (TLS), media to {crs.relay_port}/udp")

    async def _account(self) -> None:
        with self._report.step(
            "The operator creates an account; each phone gets a key made from its secret"
        ) as step:
            await self._shown(step, "create", "account", ACCOUNT)

    async def _attach(self) -> None:
        with self._report.step(
            "Alice and Bob connect (TLS with pre-shared keys, no certificates) and attach"
        ) as step:
            for name in ("alice", "bob"):
                await self._phone(name).attach()
            await self._shown(step, "show", "attach")

    async def _call(self) -> tuple[OutgoingCall, IncomingCall]:
        with self._report.step("Alice calls Bob: his phone rings, he answers, they agree on keys") as step:
            begin = time.monotonic()
            call, answered = await self._ring_and_answer()
            took = self._report.time("crs: from dialling to talking", time.monotonic() - begin)
            step.note(f"talking {took} after Alice dialled")
            await self._shown(step, "show", "session")
        return call, answered

    async def _ring_and_answer(self) -> tuple[OutgoingCall, IncomingCall]:
        alice, bob = self._phones["alice"], self._phones["bob"]
        call = await alice.client.call(bob.uri)
        incoming: IncomingCall = await bob.next(bob.calls, "call")
        await incoming.ring()
        await call.rang.wait().addTimeout(PATIENCE, self._reactor)
        await incoming.answer()
        await call.answered.wait().addTimeout(PATIENCE, self._reactor)
        return call, incoming

    async def _talk(self, call: OutgoingCall, answered: IncomingCall) -> None:
        text = f"They talk for {TALK:.0f} seconds: SRTP both ways through the relay on one UDP port"
        with self._report.step(text) as step:
            ours, theirs = call.streams[0], answered.streams[0]
            ours.play(frames(tone.sine(_ALICE_HZ)))
            theirs.play(frames(tone.sine(_BOB_HZ)))
            await deferLater(self._reactor, TALK)
            await self._shown(step, "show", "relays")
            for stream in (ours, theirs):
                stream.stop_playing()
            await deferLater(self._reactor, 0.1)  # for the last packets on their way
            self._count(ours, theirs, "Alice to Bob", _ALICE_HZ)
            self._count(theirs, ours, "Bob to Alice", _BOB_HZ)

    def _count(self, sender: MediaStream, receiver: MediaStream, direction: str, frequency: int) -> None:
        heard = tone.share(receiver.recording.samples[-8000:], frequency)
        row = Traffic("crs", f"SRTP {direction}", sender.counters.sent, receiver.reception.received, heard)
        self._report.traffic(row)
        if not row.held or receiver.counters.refused:
            raise NotHeld(f"{direction}: {row}, {receiver.counters.refused} packets refused")

    async def _hang_up(self, call: OutgoingCall, answered: IncomingCall) -> None:
        with self._report.step("Alice hangs up; Bob's phone notices"):
            await call.hangup()
            end = await answered.ended.wait().addTimeout(PATIENCE, self._reactor)
            _expect(end, EndReason.hangup, Who.caller)

    async def _leave_message(self) -> None:
        with self._report.step("Carol was here once and is away now. Alice leaves her a message") as step:
            carol = self._phone("carol")
            await carol.attach()
            await carol.client.close()
            begin = time.monotonic()
            await self._phones["alice"].client.post(carol.uri, _MESSAGE)
            took = self._report.time("crs: message on disk and acknowledged", time.monotonic() - begin)
            step.note(f"on disk, and acknowledged, after {took}")
            await self._shown(step, "show", "message")

    async def _deliver_message(self) -> None:
        with self._report.step(
            "The server is killed (kill -9) and started again; then Carol comes back"
        ) as step:
            await self._threads.run(self._crs.daemon.kill)
            await self._threads.run(self._crs.daemon.start)
            for name in ("carol", "alice", "bob"):
                await self._phone(name).attach()
            carol, alice = self._phones["carol"], self._phones["alice"]
            item: Deliver = await carol.next(carol.messages, "message")
            if (item.payload, item.sender) != (_MESSAGE, alice.uri):
                raise NotHeld(f"Carol got {item.payload!r} from {item.sender}")
            step.note(f"Carol reads, from {item.sender}: {item.payload.decode()}")
            receipt: Deliver = await alice.next(alice.receipts, "receipt")
            step.note(f"Alice has the receipt of {receipt.sender}")

    async def _stop_during_a_call(self) -> None:
        with self._report.step("twistd crs gets SIGTERM during a call: it tells both and stops") as step:
            calls: tuple[Call, ...] = await self._ring_and_answer()
            stopping = Deferred.fromCoroutine(self._threads.run(self._crs.daemon.stop))
            for call in calls:
                end = await call.ended.wait().addTimeout(PATIENCE, self._reactor)
                _expect(end, EndReason.shutdown, Who.server)
            took = self._report.time("crs: SIGTERM during a call to the end", await stopping)
            step.note(f"stopped after {took}; for both ends the reason is: shutdown")

    def _phone(self, name: str) -> Phone:
        """A new client of that name: a connection is never used twice."""
        secret = b64decode(self._crs.account_secret(ACCOUNT))
        server = Server(self._crs.host, self._crs.client_port)
        phone = self._phones[name] = Phone(self._reactor, server, name, secret)
        return phone

    async def _shown(self, step: Any, *words: str) -> str:
        """Run a command of the operator, and show it with its output."""
        output = await self._threads.run(self._crs.cli, *words)
        step.note(self._crs.cli.line(*words))
        step.note(output)
        return output


def _expect(end: CallEnded, reason: EndReason, who: Who) -> None:
    if (end.reason, end.who) != (reason, who):
        raise NotHeld(f"the call ended with {end.reason.value} by the {end.who.value}")
