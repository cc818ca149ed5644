"""`health-check account`: two test clients attach over the real ports, write to and call each other.

Their URIs are always the same ones, so that the server does not come to know ever more clients.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredQueue, TimeoutError

from crs.client.call import Call, IncomingCall
from crs.client.client import Client
from crs.client.credentials import Credentials, Server
from crs.client.error import ClientError
from crs.client.listener import Listener
from crs.health.report import Test, Verdict
from crs.signaling.message import Deliver
from rtlib.audio.playback import frames
from rtlib.audio.tone import share, sine

STEP_TIME: Final = 10.0
"""Seconds for each test."""
TALK_TIME: Final = 1.0
"""Seconds of audio in both directions."""
TONES: Final = (440.0, 700.0)
"""What the caller and the callee play, in hertz."""
CLEAR: Final = 0.5
"""Share of what arrives that has to be the other's tone."""


class _Ear(Listener):
    """Keeps what a test client is told."""

    def __init__(self) -> None:
        self.messages: DeferredQueue[Deliver] = DeferredQueue()
        self.receipts: DeferredQueue[Deliver] = DeferredQueue()
        self.calls: DeferredQueue[IncomingCall] = DeferredQueue()

    def message(self, item: Deliver) -> bool:
        """Keep it, also what an earlier check has left behind."""
        self.messages.put(item)
        return True

    def receipt(self, item: Deliver) -> bool:
        """Keep it."""
        self.receipts.put(item)
        return True

    def incoming(self, call: IncomingCall) -> None:
        """Keep it."""
        self.calls.put(call)


@dataclass(frozen=True)
class Subject:
    """An account, and where its two test clients connect to."""

    account: str
    secret: bytes = field(repr=False)
    servers: tuple[Server, Server]
    id: str
    """The end of the test clients' URIs."""


class AccountCheck:
    """One health check of an account. `reactor` is the asyncio reactor."""

    def __init__(self, reactor: Any, subject: Subject) -> None:
        self._reactor = reactor
        self._ears = (_Ear(), _Ear())
        shared = secrets.token_bytes(16)
        self._clients = [
            Client(
                reactor,
                server,
                Credentials.derived(client_uri(index, subject.id), subject.account, subject.secret),
                ear,
                secret=shared,
            )
            for index, (server, ear) in enumerate(zip(subject.servers, self._ears, strict=True), 1)
        ]

    async def run(self) -> list[Test]:
        """Make the tests; what a failed one was a condition for is not made."""
        tests: list[Test] = []
        steps: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("attach", self._attach),
            ("message", self._message),
            ("call", self._call),
        )
        try:
            for name, step in steps:
                tests.append(await self._tested(name, step))
                if name == "attach" and tests[-1].result is not Verdict.ok:
                    break
        finally:
            for client in self._clients:
                await client.close()
        return tests

    async def _tested(self, name: str, step: Callable[[], Awaitable[str]]) -> Test:
        work = Deferred.fromCoroutine(_awaited(step))
        work.addTimeout(STEP_TIME, self._reactor)
        try:
            return Test(name, Verdict.ok, await work)
        except TimeoutError:
            return Test(name, Verdict.error, f"not done within {STEP_TIME:.0f} s")
        except (ClientError, _Wrong, OSError) as error:
            return Test(name, Verdict.error, str(error))

    async def _attach(self) -> str:
        for client in self._clients:
            await client.connect()
            await client.attach()
        return "two test clients have attached"

    async def _message(self) -> str:
        sender, receiver = self._clients
        payload = secrets.token_bytes(64)
        label = await sender.post(receiver.credentials.uri, payload)
        while (received := await self._ears[1].messages.get()).message != label:
            """What an earlier check has left behind."""
        if received.payload != payload:
            raise _Wrong("the message was changed on its way")
        while (await self._ears[0].receipts.get()).message != label:
            """As above."""
        return "a message was delivered, and its receipt came back"

    async def _call(self) -> str:
        caller, callee = self._clients
        outgoing = await caller.call(callee.credentials.uri)
        try:
            incoming = await self._ears[1].calls.get()
            await incoming.ring()
            await incoming.answer()
            await outgoing.answered.wait()
            return await self._talk(outgoing, incoming)
        finally:
            await outgoing.hangup()

    async def _talk(self, outgoing: Call, incoming: Call) -> str:
        ends = (outgoing, incoming)
        for call, tone in zip(ends, TONES, strict=True):
            call.streams[0].play(frames(sine(tone)))
        pause: Deferred[None] = Deferred()
        self._reactor.callLater(TALK_TIME, pause.callback, None)
        await pause
        for call, tone in zip(ends, reversed(TONES), strict=True):
            recording = call.streams[0].recording.samples
            if not recording or share(recording, tone) < CLEAR:
                raise _Wrong("the call was set up, but no proper audio came through the relay")
        packets = sum(call.streams[0].reception.received for call in ends)
        return f"a call was set up, {packets} packets of audio came through the relay"


class _Wrong(Exception):
    """A test has failed; the text says how."""


def client_uri(index: int, id: str) -> str:
    """The URI of a test client (manual 5.4)."""
    return f"urn:x-crs:client:test-{index}-{id}"


async def _awaited(step: Callable[[], Awaitable[str]]) -> str:
    return await step()
