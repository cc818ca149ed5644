"""A reply that goes on: rows as they happen, as `trace` shows them, never faster than they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

Item = TypeVar("Item")


class Stream(Generic[Item]):
    """An async iterator with a bounded queue: `put` never waits, a full queue drops and counts.

    One reader at a time. It ends when either side calls `close`.
    """

    def __init__(self, limit: int = 1000, on_close: Callable[[Stream[Item]], None] | None = None) -> None:
        """`limit` is the rows that may wait for the reader; `on_close` is called once."""
        self.dropped = 0
        self._items: deque[Item] = deque()
        self._limit = limit
        self._on_close = on_close
        self._waiting: Deferred[None] | None = None
        self._closed = False

    def put(self, item: Item) -> None:
        """Add a row; it is dropped and counted when the reader is too slow, ignored after `close`."""
        if self._closed:
            return
        if len(self._items) >= self._limit:
            self.dropped += 1
            return
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """End it: the reader gets what is queued, then the end. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        if self._on_close is not None:
            self._on_close(self)
        self._wake()

    def __aiter__(self) -> Stream[Item]:
        return self

    async def __anext__(self) -> Item:
        from twisted.internet.defer import Deferred

        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._waiting = Deferred()
            await self._waiting
        return self._items.popleft()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


class Feed(Generic[Item]):
    """Where a service publishes rows and any number of traces read them, up to `limit` at once."""

    def __init__(self, limit: int = 16, on_active: Callable[[bool], None] | None = None) -> None:
        """`on_active` is called with True when the first reader comes, with False when the last has left."""
        self._limit = limit
        self._on_active = on_active
        self._streams: list[tuple[Stream[Item], Callable[[Item], bool] | None]] = []

    @property
    def active(self) -> bool:
        """Whether anybody reads: a hot path builds rows only then."""
        return bool(self._streams)

    @property
    def readers(self) -> int:
        """How many read."""
        return len(self._streams)

    def subscribe(self, match: Callable[[Item], bool] | None = None) -> Stream[Item]:
        """A stream of the rows published from now on, those that `match` if given. Raises Unavailable."""
        from rtlib.command.error import Unavailable

        if len(self._streams) >= self._limit:
            raise Unavailable(f"{self._limit} traces are already running; end one of them first")
        stream: Stream[Item] = Stream(on_close=self._remove)
        self._streams.append((stream, match))
        if self._on_active is not None and len(self._streams) == 1:
            self._on_active(True)
        return stream

    def publish(self, item: Item) -> None:
        """Give a row to everybody who reads."""
        for stream, match in self._streams:
            if match is None or match(item):
                stream.put(item)

    def close(self) -> None:
        """End all streams: the service stops."""
        for stream, _ in list(self._streams):
            stream.close()

    def _remove(self, stream: Stream[Item]) -> None:
        self._streams = [entry for entry in self._streams if entry[0] is not stream]
        if self._on_active is not None and not self._streams:
            self._on_active(False)
