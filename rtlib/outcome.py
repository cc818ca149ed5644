"""Results that coroutines wait for: one that is there once for any number of them, and many together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed

Value = TypeVar("Value")


class Outcome(Generic[Value]):
    """Set once, by a value or an error; what comes later is ignored."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[Value]] = []
        self._value: list[Value] = []
        self._error: Exception | None = None

    @property
    def decided(self) -> bool:
        """Whether there is a value or an error."""
        return bool(self._value) or self._error is not None

    def wait(self) -> Deferred[Value]:
        """Fires with the value, or fails with the error; a cancelled waiter does not disturb the others."""
        if self._value:
            return succeed(self._value[0])
        if self._error is not None:
            return fail(self._error)
        waiter: Deferred[Value] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def set(self, value: Value) -> None:
        """Everything is well: this is the result."""
        if self.decided:
            return
        self._value.append(value)
        for waiter in self._take():
            waiter.callback(value)

    def fail(self, error: Exception) -> None:
        """There will be no result, and why."""
        if self.decided:
            return
        self._error = error
        for waiter in self._take():
            waiter.errback(error)

    def _take(self) -> list[Deferred[Value]]:
        waiting, self._waiting = self._waiting, []
        return waiting


async def gathered(asked: Sequence[Deferred[Value]]) -> list[Value]:
    """What all of them come to, in order; or the error of the first that fails, itself and not wrapped."""
    try:
        return await gatherResults(asked, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
