"""Answers of name servers for as long as they hold; bounded, negative ones included (RFC 2308). Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from haproxy.dns.record import Answer, Question

CAPACITY: Final = 10_000
LONGEST: Final = 86400.0
"""Seconds that an answer is kept, whatever its TTL says."""
SHORTEST: Final = 1.0
"""The same from below: a TTL of zero would cost a question for each retransmission."""
LONGEST_NEGATIVE: Final = 300.0
AFTER_FAILURE: Final = 5.0
"""Seconds before name servers that did not answer are asked for the same again."""
STALE: Final = 86400.0
"""Seconds that an answer may be over its time when no name server answers (RFC 8767)."""


class Entry(NamedTuple):
    """One answer, and when it ends."""

    answer: Answer
    expires: float


class Cache:
    """The newest answer to each question."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: dict[Question, Entry] = {}
        self.hits = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Question, Entry]]:
        return iter(list(self._entries.items()))

    def get(self, question: Question, now: float) -> Answer | None:
        """The answer that holds now; None where one must ask."""
        entry = self._entries.get(question)
        if entry is None or entry.expires <= now:
            return None
        self.hits += 1
        return entry.answer

    def put(self, question: Question, answer: Answer, now: float) -> Answer:
        """Keep an answer, and give the one to use: an older one where no name server answered."""
        old = self._entries.pop(question, None)
        if answer.failed and old is not None and not old.answer.failed and now < old.expires + STALE:
            answer = old.answer
            lifetime = AFTER_FAILURE
        elif answer.failed:
            lifetime = AFTER_FAILURE
        else:
            lifetime = max(SHORTEST, min(answer.ttl, LONGEST if answer.records else LONGEST_NEGATIVE))
        if len(self._entries) >= self._capacity:
            del self._entries[next(iter(self._entries))]
            self.evicted += 1
        self._entries[question] = Entry(answer, now + lifetime)
        return answer

    def flush(self) -> int:
        """Forget all; how many there were."""
        count = len(self._entries)
        self._entries.clear()
        return count
