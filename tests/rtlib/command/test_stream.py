"""Streams and feeds: bounded, counted, closed once."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rtlib.command.error import Unavailable
from rtlib.command.stream import Feed, Stream


async def collect(stream: Stream[int]) -> list[int]:
    return [item async for item in stream]


class StreamTests(SynchronousTestCase):
    """One stream and its reader."""

    def test_rows_come_in_order_also_to_a_waiting_reader(self) -> None:
        stream: Stream[int] = Stream()
        stream.put(1)
        reader = Deferred.fromCoroutine(collect(stream))
        stream.put(2)
        self.assertNoResult(reader)
        stream.put(3)
        stream.close()
        self.assertEqual(self.successResultOf(reader), [1, 2, 3])

    def test_a_slow_reader_loses_the_newest_rows_and_they_are_counted(self) -> None:
        stream: Stream[int] = Stream(limit=2)
        for number in range(5):
            stream.put(number)
        stream.close()
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(stream))), [0, 1])
        self.assertEqual(stream.dropped, 3)

    def test_closing_tells_the_owner_once_and_ends_putting(self) -> None:
        closed: list[Stream[int]] = []
        stream: Stream[int] = Stream(on_close=closed.append)
        stream.close()
        stream.close()
        stream.put(1)
        self.assertEqual(closed, [stream])
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(stream))), [])

    def test_a_reader_that_gives_up_leaves_the_stream_usable_for_its_owner(self) -> None:
        stream: Stream[int] = Stream()
        reader = Deferred.fromCoroutine(collect(stream))
        reader.addErrback(lambda failure: None)
        reader.cancel()
        stream.put(1)
        stream.close()
        self.assertEqual(stream.dropped, 0)


class FeedTests(SynchronousTestCase):
    """Many readers of one service's events."""

    def test_everybody_gets_what_matches(self) -> None:
        feed: Feed[int] = Feed()
        self.assertFalse(feed.active)
        every, even = feed.subscribe(), feed.subscribe(lambda item: item % 2 == 0)
        self.assertTrue(feed.active)
        for number in range(4):
            feed.publish(number)
        feed.close()
        self.assertFalse(feed.active)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(every))), [0, 1, 2, 3])
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(even))), [0, 2])

    def test_the_number_of_readers_is_bounded(self) -> None:
        feed: Feed[int] = Feed(limit=1)
        first = feed.subscribe()
        with pytest.raises(Unavailable, match="1 traces are already running"):
            feed.subscribe()
        first.close()
        feed.subscribe()
