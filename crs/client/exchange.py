"""Requests that wait for their replies: `crs.v1` gives each request one reply of the same id."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from crs.client.error import ClientError, Closed, NoAnswer, Refused
from crs.signaling.message import MAX_MESSAGE, Error, ErrorCode, Reply, Request, encode

REPLY_TIMEOUT: Final = 10.0
"""Seconds that a reply may take."""

MAX_WAITING: Final = 256
"""Requests without a reply yet."""

AnyReply = TypeVar("AnyReply", bound=Reply)


class Exchange:
    """One connection's requests. Replies that nobody waits for are ignored, as late ones are."""

    def __init__(self, clock: IReactorTime, send: Callable[[bytes], None]) -> None:
        self._clock = clock
        self._send = send
        self._ids = count(1)
        self._waiting: dict[int, Deferred[Reply]] = {}
        self._closed: ClientError | None = Closed("not connected")

    def open(self) -> None:
        """There is a connection to ask over."""
        self._closed = None

    async def ask(self, make: Callable[[int], Request], reply: type[AnyReply]) -> AnyReply:
        """Send the request made for an id, and give its reply. Raises Refused, NoAnswer or Closed."""
        if self._closed is not None:
            raise self._closed
        if len(self._waiting) >= MAX_WAITING:
            raise NoAnswer(f"{MAX_WAITING} requests are waiting for the server already")
        number = next(self._ids)
        request = make(number)
        data = encode(request)
        if len(data) > MAX_MESSAGE:
            raise Refused(ErrorCode.too_large, f"a message may have {MAX_MESSAGE} bytes, not {len(data)}")
        deferred = self._waiting[number] = Deferred()
        self._send(data)
        answer = await self._answer(number, deferred)
        if not isinstance(answer, reply):
            raise NoAnswer(f"the server answered {type(request).__name__} with {type(answer).__name__}")
        return answer

    def answered(self, message: Reply | Error) -> None:
        """Take a reply from the server."""
        waiting = self._waiting.pop(message.id, None) if message.id is not None else None
        if waiting is None:
            return
        if isinstance(message, Error):
            waiting.errback(Refused(message.code, message.reason))
        else:
            waiting.callback(message)

    def close(self, reason: ClientError) -> None:
        """Fail everything that waits, and whatever is asked later."""
        self._closed = reason
        waiting, self._waiting = self._waiting, {}
        for deferred in waiting.values():
            deferred.errback(reason)

    async def _answer(self, number: int, deferred: Deferred[Reply]) -> Reply:
        deferred.addTimeout(REPLY_TIMEOUT, self._clock)
        try:
            return await deferred
        except TimeoutError:
            raise NoAnswer(f"the server has not answered within {REPLY_TIMEOUT:.0f} s") from None
        finally:
            self._waiting.pop(number, None)
