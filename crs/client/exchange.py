"""Requests that wait for their replies: `crs.v1` gives each request one reply of the same id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from crs.client.error import ClientError, Closed, NoAnswer, Refused
from crs.client.journal import Journal
from crs.signaling.message import MAX_MESSAGE, Attached, Error, ErrorCode, Reply, Request, encode

REPLY_TIMEOUT: Final = 10.0
"""Seconds that a reply may take."""

MAX_WAITING: Final = 256
"""Requests without a reply yet."""

log = Logger()

AnyReply = TypeVar("AnyReply", bound=Reply)


class Exchange:
    """One client's requests. Replies that nobody waits for are ignored, as late ones are.

    While it is *held*, because an attach is under way or the connection is lost for a while,
    requests wait until they can be sent; only an attach goes out.
    """

    def __init__(self, clock: IReactorTime, send: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._send = send
        self._ids = count(1)
        self._waiting: dict[int, Deferred[Reply]] = {}
        self._attaching: int | None = None
        self._queued: dict[int, bytes] = {}
        self._held = self._interrupted = False
        self._closed: ClientError | None = Closed("not connected")
        self.journal = Journal()

    def open(self) -> None:
        """There is a connection to ask over."""
        self._closed = None

    def interrupt(self, reason: ClientError) -> None:
        """The connection is lost for a while: an attach that was under way fails, everything else waits."""
        self._held = self._interrupted = True
        if self._attaching is not None:
            self._fail([self._attaching], reason)

    def attached(self, attached: Attached) -> None:
        """An attach has succeeded: what the server lacks is sent, or fails if that is not known."""
        for data in self.journal.begin(attached):
            self._send(data)
        if self._interrupted and not attached.resumed:
            self._queued.clear()
            lost = [number for number in self._waiting if number != self._attaching]
            self._fail(lost, Closed("the connection was lost, and the server could not resume"))
        self._interrupted = False
        self._release()

    async def attach(self, make: Callable[[int], Request]) -> Attached:
        """Ask what no other request may overtake. Raises Refused, NoAnswer or Closed."""
        number = next(self._ids)
        self._held, self._attaching = True, number
        try:
            return await self._ask(number, make(number), Attached)
        finally:
            self._attaching = None
            if not self._interrupted:
                self._release()

    async def ask(self, make: Callable[[int], Request], reply: type[AnyReply]) -> AnyReply:
        """Send the request made for an id, and give its reply. Raises Refused, NoAnswer or Closed."""
        number = next(self._ids)
        return await self._ask(number, make(number), reply)

    async def _ask(self, number: int, request: Request, reply: type[AnyReply]) -> AnyReply:
        if self._closed is not None:
            raise self._closed
        if len(self._waiting) >= MAX_WAITING or self.journal.full:
            raise NoAnswer(f"{MAX_WAITING} requests are waiting for the server already")
        data = encode(request)
        if len(data) > MAX_MESSAGE:
            raise Refused(ErrorCode.too_large, f"a message may have {MAX_MESSAGE} bytes, not {len(data)}")
        deferred = self._waiting[number] = Deferred()
        self._put(number, data)
        answer = await self._answer(number, deferred)
        if not isinstance(answer, reply):
            raise NoAnswer(f"the server answered {type(request).__name__} with {type(answer).__name__}")
        return answer

    def _put(self, number: int, data: bytes) -> None:
        """Send now, or when the exchange is released."""
        if number == self._attaching:
            self._send(data)
        elif self._held:
            self._queued[number] = data
        else:
            self.journal.ask(number, data)
            self._send(data)

    def _release(self) -> None:
        """Send what has waited for the end of an attach."""
        self._held = False
        queued, self._queued = self._queued, {}
        for number, data in queued.items():
            self._put(number, data)

    def answered(self, message: Reply | Error) -> None:
        """Take a reply from the server."""
        if message.id is None:
            return
        self.journal.answered(message.id)
        waiting = self._waiting.pop(message.id, None)
        if waiting is None:
            return
        if isinstance(message, Error):
            waiting.errback(Refused(message.code, message.reason))
        else:
            waiting.callback(message)

    def close(self, reason: ClientError) -> None:
        """Fail everything that waits, and whatever is asked later."""
        self._closed = reason
        self._held = self._interrupted = False
        self._queued.clear()
        self.journal.end()
        self._fail(list(self._waiting), reason)

    def _fail(self, numbers: list[int], reason: ClientError) -> None:
        for number in numbers:
            waiting = self._waiting.pop(number, None)
            if waiting is not None:
                waiting.errback(reason)

    async def _answer(self, number: int, deferred: Deferred[Reply]) -> Reply:
        deferred.addTimeout(REPLY_TIMEOUT, self._clock)
        try:
            return await deferred
        except TimeoutError:
            raise NoAnswer(f"the server has not answered within {REPLY_TIMEOUT:.0f} s") from None
        finally:
            self._waiting.pop(number, None)
            self._queued.pop(number, None)


async def ignoring_errors(work: Awaitable[object]) -> None:
    """For requests whose failure changes nothing: what is not confirmed is repeated or times out."""
    try:
        await work
    except CancelledError:
        return
    except ClientError as error:
        log.info("{error}", error=error)
