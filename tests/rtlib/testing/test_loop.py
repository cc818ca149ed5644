"""The real reactor under a test, again and again."""

from __future__ import annotations

import asyncio
import sys

import pytest
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from rtlib.testing.loop import LeftOver, installed_reactor, run


def test_returns_the_result_every_time() -> None:
    async def main() -> int:
        done: Deferred[int] = Deferred()
        installed_reactor().callLater(0.001, done.callback, 42)
        return await done

    assert [run(main) for _ in range(3)] == [42, 42, 42]


def test_raises_what_the_coroutine_raises() -> None:
    async def main() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        run(main)


def test_cancels_a_coroutine_that_takes_too_long() -> None:
    cancelled = []

    async def main() -> None:
        try:
            await Deferred()
        except CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(TimeoutError):
        run(main, timeout=0.02)
    assert cancelled == [True]


def test_a_forgotten_timer_is_named_and_removed() -> None:
    async def main() -> None:
        installed_reactor().callLater(1000, print)

    with pytest.raises(LeftOver, match="print"):
        run(main)
    assert installed_reactor().getDelayedCalls() == []


def test_a_forgotten_port_is_named_and_removed() -> None:
    async def main() -> None:
        installed_reactor().listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")

    with pytest.raises(LeftOver, match="Port"):
        run(main)


def test_connections_that_are_closing_are_not_left_over() -> None:
    async def main() -> bytes:
        reactor = installed_reactor()
        got: Deferred[bytes] = Deferred()

        class Hello(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"hello")
                self.transport.loseConnection()

        class Listen(Protocol):
            def dataReceived(self, data: bytes) -> None:
                got.callback(data)

        class Once(Factory):
            def startedConnecting(self, connector: object) -> None: ...

            def clientConnectionLost(self, connector: object, reason: Failure) -> None: ...

        port = reactor.listenTCP(0, Factory.forProtocol(Hello), interface="127.0.0.1")
        reactor.connectTCP("127.0.0.1", port.getHost().port, Once.forProtocol(Listen))
        data = await got
        await port.stopListening()
        return data

    assert run(main) == b"hello"


def test_child_processes_threads_and_asyncio_work() -> None:
    async def main() -> tuple[int, str, str]:
        ended: Deferred[int] = Deferred()

        class Child(ProcessProtocol):
            def processEnded(self, reason: Failure) -> None:
                ended.callback(getattr(reason.value, "exitCode", -1))

        argv = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
        installed_reactor().spawnProcess(Child(), sys.executable, argv, env={})
        code = await ended
        thread = await deferToThread(str, "thread")
        slept = await Deferred.fromFuture(asyncio.ensure_future(asyncio.sleep(0.001, "asyncio")))
        return code, thread, slept

    assert run(main) == (3, "thread", "asyncio")
