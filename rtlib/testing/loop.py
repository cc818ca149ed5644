"""Runs coroutines on the process's one asyncio reactor, for tests that need real sockets or processes.

The reactor is started for each coroutine and left with `crash()` afterwards, which is how trial
runs it: a reactor that was *stopped* can never start again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

SETTLE_TURNS: Final = 200
"""Turns of the loop that closing transports get before they count as left over."""


class LeftOver(AssertionError):
    """The coroutine ended, but a timer, connection or port that it started is still there."""


def installed_reactor() -> Any:
    """The reactor that conftest.py has installed. Raises RuntimeError when there is none yet."""
    module = sys.modules.get("twisted.internet.reactor")
    if module is None:
        raise RuntimeError("no reactor is installed yet: tests/conftest.py does that")
    return module


def run(
    main: Callable[[], Coroutine[Deferred[Any], Any, T]], timeout: float = 10.0, *, clean: bool = True
) -> T:
    """Run `main()` on the real reactor and return its result or raise its exception.

    After `timeout` seconds the coroutine is cancelled and twisted.internet.defer.TimeoutError raised.
    With `clean`, whatever is still scheduled or open afterwards is removed and raises LeftOver.
    """
    reactor = installed_reactor()
    before = _selectables(reactor)
    outcome = _turn(reactor, lambda: Deferred.fromCoroutine(main()).addTimeout(timeout, reactor))
    left = _settle(reactor, before)
    if reactor.threadpool is not None:
        reactor._stopThreadPool()  # as trial does: its threads would keep the process alive
    if isinstance(outcome, Failure):
        outcome.raiseException()
    if clean and left:
        raise LeftOver("still there after the test: " + ", ".join(left))
    return outcome  # type: ignore[no-any-return]  # the Failure case has been raised


def _turn(reactor: Any, start: Callable[[], Deferred[Any]]) -> Any:
    """Run the reactor until the deferred has fired; its result, or a Failure."""
    outcome: list[Any] = []

    def finish(result: Any) -> None:
        outcome.append(result)
        reactor.crash()

    reactor.callLater(0, lambda: start().addBoth(finish))
    with _interruptible() as handle_signals:
        reactor.run(installSignalHandlers=handle_signals)
    return outcome[0]


@contextmanager
def _interruptible() -> Iterator[bool]:
    """Let the reactor notice SIGCHLD, while Ctrl-C and SIGTERM keep their meaning for pytest."""
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    interrupt, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield True
    finally:
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, terminate)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # The reactor replaces only Python's own handler of SIGINT, so this one stays.
    signal.default_int_handler(number, frame)


def _selectables(reactor: Any) -> set[Any]:
    return set(reactor.getReaders()) | set(reactor.getWriters())


def _settle(reactor: Any, before: set[Any]) -> list[str]:
    """Give closing transports some turns; then remove and describe what is still there."""
    done: Deferred[None] = Deferred()

    def look(turns: int) -> None:
        if turns and _foreign(reactor, before):
            reactor.callLater(0, look, turns - 1)
        else:
            done.callback(None)

    if _foreign(reactor, before) or reactor.getDelayedCalls():
        reactor.callLater(0, look, SETTLE_TURNS)
        _turn(reactor, lambda: done)
    calls = reactor.getDelayedCalls()
    foreign = _foreign(reactor, before)
    left = [_describe(call) for call in calls] + [repr(item) for item in foreign]
    for call in calls:
        call.cancel()
    for selectable in foreign:
        reactor.removeReader(selectable)
        reactor.removeWriter(selectable)
    return left


def _describe(call: Any) -> str:
    name = getattr(call.func, "__qualname__", call.func)
    return f"timer for {name} in {call.getTime() - call.seconds():.3g} s"


def _foreign(reactor: Any, before: set[Any]) -> set[Any]:
    return _selectables(reactor) - before - set(reactor._internalReaders)
