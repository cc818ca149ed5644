"""One of many clients and its day: it posts, calls and answers, loses its connection, and is replaced."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from crs.client.call import Call, IncomingCall
from crs.client.error import CallEnded, ClientError, Refused
from crs.client.lasting import LastingClient
from crs.client.testing import CrsServer
from crs.signaling.message import EndReason
from endurance.phone import Mailbox, Sender, pause, phone
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine

PAUSE: Final = 40.0
"""Seconds between two acts of a subscriber, on average."""
LONGEST_CALL: Final = 20.0
LONGEST_ABSENCE: Final = 45.0
"""Seconds; longer than a server keeps an attachment and a call for who is away."""
ANSWER_TIME: Final = 8.0
WITH_MEDIA: Final = 0.1
"""Share of the parties that send audio."""

_TONE: Final = tuple(islice(frames(sine(440)), 50))


class Subscriber(Mailbox):
    """Lives until it is told to stop. `done` counts what all of them do."""

    def __init__(
        self,
        reactor: Any,
        server: CrsServer,
        uri: str,
        others: Sequence[str],
        *,
        sender: Sender,
        done: Counter[str],
        dice: random.Random,
    ) -> None:
        """`others`: whom it calls and posts to; it does not call itself."""
        super().__init__(uri, sender.ledger)
        self._reactor = reactor
        self._server = server
        self._others = [other for other in others if other != uri]
        self._sender = sender
        self._done = done
        self._dice = dice
        self._client: LastingClient = self._new()
        self._stopping = False
        self._idle: Deferred[None] | None = None
        self._acts: dict[Callable[[], Awaitable[None]], int] = {
            self._post: 50,
            self._call: 25,
            self._vanish: 10,
            self._stay_away: 5,
            self._replace: 5,
            self._renew: 5,
        }

    async def arrive(self) -> None:
        """Connect and attach, as often as it takes."""
        while True:
            self._client = self._new()
            try:
                await self._client.connect()
                await self._client.attach()
            except ClientError as error:
                # Whose attach is not answered in time stays connected, unless it goes.
                self._client.abort()
                self._note("arrivals failed", error)
                await pause(self._reactor, self._dice.uniform(0.5, 2))
            else:
                return

    async def live(self) -> None:
        """Do one thing after the other until told to stop."""
        while await self._rest():
            if self._client.lost.decided:
                self._done["clients gave up"] += 1
                await self.arrive()
            [act] = self._dice.choices([*self._acts], [*self._acts.values()])
            await act()

    def stop(self) -> None:
        """Finish what is under way and do nothing new."""
        self._stopping = True
        if self._idle is not None:
            self._idle.cancel()

    async def leave(self) -> None:
        """Be gone for good, with a goodbye or without."""
        if self._dice.random() < 0.5:
            await self._client.close()
        else:
            await self._cut_off()

    def incoming(self, call: IncomingCall) -> None:
        """Answer most calls."""
        chance = self._dice.random()
        if chance < 0.1:
            self._begin(call.decline(EndReason.busy))
        elif chance < 0.95:
            self._begin(self._answer(call))

    def _new(self) -> LastingClient:
        return phone(self._reactor, self._server, self, self._dice)

    async def _rest(self) -> bool:
        """Wait for the next act; False when there is none any more."""
        if self._stopping:
            return False
        self._idle = pause(self._reactor, self._dice.expovariate(1 / PAUSE))
        try:
            await self._idle
        except CancelledError:
            return False
        finally:
            self._idle = None
        return True

    async def _post(self) -> None:
        await self._sender.post(lambda: self._client, self._dice.choice(self._others))
        self._done["messages posted"] += 1

    async def _call(self) -> None:
        try:
            call = await self._client.call(self._dice.choice(self._others))
            if self._dice.random() < 0.1:
                await pause(self._reactor, self._dice.uniform(0, 1))
                self._done["calls cancelled"] += 1
            elif await self._answered(call.answered.wait()):
                await self._talk(call)
            await call.hangup()
        except ClientError as error:
            self._note("calls failed", error)

    async def _answered(self, answer: Deferred[None]) -> bool:
        try:
            await answer.addTimeout(ANSWER_TIME, self._reactor)
        except TimeoutError:
            self._done["calls not answered"] += 1
            return False
        except CallEnded as end:
            self._done[f"calls ended before the answer: {end.reason}"] += 1
            return False
        return True

    async def _answer(self, call: IncomingCall) -> None:
        await call.ring()
        await pause(self._reactor, self._dice.uniform(0, 2))
        await call.answer()
        await self._talk(call)
        await call.hangup()

    async def _talk(self, call: Call) -> None:
        """Until the other party has enough, or this one."""
        [stream] = call.streams
        if self._dice.random() < WITH_MEDIA:
            stream.play(cycle(_TONE))
        try:
            end = await call.ended.wait().addTimeout(self._dice.uniform(0, LONGEST_CALL), self._reactor)
            self._done[f"talks ended: {end.reason} by {end.who}"] += 1
        except TimeoutError:
            self._done["talks ended by us"] += 1
        self._done["media packets sent"] += stream.counters.sent
        self._done["media packets received"] += stream.reception.received
        self._done["media packets refused"] += stream.counters.refused

    async def _vanish(self) -> None:
        """The network is gone for a moment."""
        self._client.abort()
        self._done["connections lost"] += 1

    async def _stay_away(self) -> None:
        """The phone is off for a while, and has forgotten everything when it comes back."""
        await self._cut_off()
        await pause(self._reactor, self._dice.uniform(0, LONGEST_ABSENCE))
        await self.arrive()
        self._done["absences"] += 1

    async def _replace(self) -> None:
        """A second client of the same identity takes over."""
        former = self._client
        await self.arrive()
        await former.close()
        self._done["replacements"] += 1

    async def _renew(self) -> None:
        await self._client.close()
        await self.arrive()
        self._done["reconnections"] += 1

    async def _cut_off(self) -> None:
        client = self._client
        client.closing = True
        client.abort()
        if not client.lost.decided:
            await client.close()

    def _begin(self, work: Any) -> None:
        def failed(failure: Any) -> None:
            failure.trap(ClientError)
            self._note("calls failed at the callee", failure.value)

        Deferred.fromCoroutine(work).addErrback(failed)

    def _note(self, what: str, error: ClientError) -> None:
        reason = str(error.code) if isinstance(error, Refused) else type(error).__name__
        self._done[f"{what}: {reason}"] += 1
