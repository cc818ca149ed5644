"""The daemon's end of the command socket, byte by byte and over real UNIX sockets."""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from rtlib.command.audit import AuditLog
from rtlib.command.client import Client
from rtlib.command.error import BadArgument, CommandError, Conflict, Unavailable
from rtlib.command.file import File
from rtlib.command.registry import Feed, Registry, Stream, command
from rtlib.command.server import MAX_CONNECTIONS, REQUEST_TIMEOUT, CommandFactory
from rtlib.command.wire import MAX_REQUEST
from rtlib.offence import OffenceLog
from rtlib.testing.loop import installed_reactor, run


class Work:
    def __init__(self) -> None:
        self.feed: Feed[int] = Feed()

    @command("say")
    def say(self, text: str, *, secret: str | None = None) -> str:
        """Say it.

        Example: say hello
        """
        if text == "twice":
            raise Conflict("it was said")
        return text

    @command("take")
    def take(self, size: int, file: File) -> str:
        """Take a file.

        Example: take 5 /tmp/file
        """
        self.taken = weakref.ref(file)
        return f"{file.name}: {file.read(size).decode()}"

    @command("wait")
    async def wait(self) -> str:
        """Wait for what never comes.

        Example: wait
        """
        await Deferred()
        return "never"

    @command("fail")
    def fail(self) -> str:
        """Fail.

        Example: fail
        """
        raise ZeroDivisionError

    @command("trace")
    def trace(self) -> Stream[int]:
        """Follow.

        Example: trace
        """
        return self.feed.subscribe()


class ServerTests(SynchronousTestCase):
    """Bytes in, bytes out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.offences = OffenceLog()
        self.work = Work()
        registry = Registry()
        registry.add(self.work)
        self.factory = CommandFactory(registry, self.clock, self.offences)

    def folder(self) -> Path:
        """A folder of this test."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return Path(folder.name)

    def connect(self) -> tuple[Any, Transport]:
        protocol, transport = self.factory.buildProtocol(None), Transport()
        assert protocol is not None
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, data: bytes) -> Any:
        protocol, transport = self.connect()
        protocol.dataReceived(data)
        self.assertTrue(transport.disconnecting)
        return json.loads(transport.value())

    def test_a_request_is_answered_and_the_connection_closed(self) -> None:
        self.assertEqual(self.ask(b'{"command":"say","arguments":{"text":"hi"}}\n'), {"reply": "hi"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bytes_may_come_one_at_a_time_and_what_follows_the_line_is_ignored(self) -> None:
        protocol, transport = self.connect()
        for byte in b'{"command":"say","arguments":{"text":"hi"}}\n{"command":"say"}\n':
            protocol.dataReceived(bytes([byte]))
        self.assertEqual(transport.value(), b'{"reply":"hi"}\n')

    def test_errors_have_a_kind_and_a_sentence(self) -> None:
        self.assertEqual(
            self.ask(b'{"command":"say","arguments":{"text":"twice"}}\n'),
            {"error": {"kind": "conflict", "message": "it was said"}},
        )
        self.assertEqual(
            self.ask(b'{"command":"say"}\n'),
            {"error": {"kind": "bad-argument", "message": "text is missing"}},
        )

    def test_a_defect_is_logged_and_its_caller_told_where_to_look(self) -> None:
        answer = self.ask(b'{"command":"fail"}\n')
        self.assertEqual(answer["error"]["kind"], "failed")
        self.assertIn("log", answer["error"]["message"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_garbage_is_refused_and_counted(self) -> None:
        for line in (b"\n", b"hello\n", b"[]\n", b"\xff\xfe\n", b'{"command":1}\n', b"[" * 90000 + b"\n"):
            self.assertEqual(self.ask(line)["error"]["kind"], "bad-argument", line[:20])
        self.assertEqual(self.offences.totals["command socket: malformed request"], 6)

    def test_a_request_without_end_is_refused_at_the_limit(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"x" * MAX_REQUEST)
        self.assertEqual(transport.value(), b"")
        protocol.dataReceived(b"x")
        self.assertIn(b"request too long", transport.value())
        protocol.dataReceived(b"x" * 1000)
        self.assertEqual(transport.value().count(b"\n"), 1)

    def test_a_slow_request_is_refused_in_time(self) -> None:
        protocol, transport = self.connect()
        self.clock.advance(REQUEST_TIMEOUT - 0.1)
        protocol.dataReceived(b'{"comm')
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.1)
        self.assertIn(b"no request in time", transport.value())
        self.assertTrue(transport.disconnecting)

    def test_the_number_of_connections_is_bounded(self) -> None:
        protocols = [self.connect()[0] for _ in range(MAX_CONNECTIONS)]
        refused, transport = self.connect()
        refused.dataReceived(b'{"command":"trace"}\n')
        self.assertIn(b"too many commands at once; try again", transport.value())
        self.assertTrue(transport.disconnecting)
        for _ in range(MAX_CONNECTIONS - 1):
            self.connect()
        self.assertIsNone(self.factory.buildProtocol(None))
        refused.connectionLost(Failure(ConnectionDone()))
        protocols[0].connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(self.factory.buildProtocol(None))
        self.assertEqual(self.offences.totals["command socket: too many connections"], MAX_CONNECTIONS + 2)

    def test_a_stream_sends_rows_until_it_ends(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command":"trace"}\n')
        self.assertEqual(transport.value(), b'{"begun":true}\n')
        self.work.feed.publish(1)
        self.assertEqual(transport.value(), b'{"begun":true}\n{"row":1}\n')
        self.work.feed.close()
        self.assertEqual(transport.value(), b'{"begun":true}\n{"row":1}\n{"end":0}\n')
        self.assertTrue(transport.disconnecting)

    def test_a_stream_waits_for_a_slow_reader_and_tells_what_it_dropped(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"command":"trace"}\n')
        protocol.pauseProducing()
        for number in range(1500):
            self.work.feed.publish(number)
        self.assertEqual(transport.value(), b'{"begun":true}\n{"row":0}\n')
        protocol.resumeProducing()
        self.work.feed.close()
        lines = transport.value().splitlines()
        self.assertEqual(len(lines), 1004)
        self.assertEqual(lines[2], b'{"dropped":499}')
        self.assertEqual(lines[-1], b'{"end":499}')

    def test_a_caller_that_leaves_ends_its_stream(self) -> None:
        protocol, _ = self.connect()
        protocol.dataReceived(b'{"command":"trace"}\n')
        self.assertTrue(self.work.feed.active)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.work.feed.active)

    def test_closing_ends_all_connections(self) -> None:
        _, transport = self.connect()
        self.factory.close()
        self.assertTrue(transport.disconnected)

    def test_acts_are_audited_with_their_result(self) -> None:
        path = self.folder() / "audit.log"
        registry = self.factory.registry
        self.factory = CommandFactory(registry, self.clock, self.offences, audit=AuditLog(path, lambda: 0.0))
        for line in (
            b'{"command":"say","arguments":{"text":"hi","secret":"hidden"}}\n',
            b'{"command":"say","arguments":{"text":"twice"}}\n',
            b'{"command":"say","arguments":{"number":1}}\n',
            b'{"command":"no such command"}\n',
        ):
            self.ask(line)
        protocol, _ = self.connect()
        protocol.dataReceived(b'{"command":"wait"}\n')
        protocol.connectionLost(Failure(ConnectionDone()))
        caller = '1970-01-01T00:00:00.000Z uid=-1 user="" pid=-1 command='
        self.assertEqual(
            path.read_text().splitlines(),
            [
                f'{caller}"say" text="hi" secret="***" result="ok"',
                f'{caller}"say" text="twice" result="it was said"',
                f'{caller}"say" number=1 result="say has no argument number"',
                f'{caller}"wait" result="the caller left before the end"',
            ],
        )

    def test_an_audit_log_that_cannot_be_written_stops_nobody(self) -> None:
        audit = AuditLog(self.folder() / "no folder" / "audit.log")
        self.factory = CommandFactory(self.factory.registry, self.clock, self.offences, audit=audit)
        self.assertEqual(self.ask(b'{"command":"say","arguments":{"text":"hi"}}\n'), {"reply": "hi"})

    def test_calls_are_logged_without_secrets_and_cut_short(self) -> None:
        lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.ask(b'{"command":"say","arguments":{"text":"hi","secret":"hunter2"}}\n')
        self.assertEqual(lines, ["unknown: say text='hi' secret=***"])
        self.ask(b'{"command":"say","arguments":{"text":"%s"}}\n' % (b"x" * 9999))
        self.assertLess(len(lines[1]), 300)


class Transport(StringTransport):
    """A StringTransport that can be aborted, as a UNIX socket can."""

    disconnected = False

    def abortConnection(self) -> None:
        self.disconnected = True


@contextlib.asynccontextmanager
async def serving(path: Path) -> Any:
    registry, work = Registry(), Work()
    registry.add(work)
    reactor = installed_reactor()
    factory = CommandFactory(registry, reactor, OffenceLog())
    port = reactor.listenUNIX(str(path), factory)
    try:
        yield work, factory
    finally:
        factory.close()
        await port.stopListening()


def test_the_client_gets_replies_errors_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with serving(path) as (work, _):
            client = Client("toy", path)
            big = "x" * 300_000
            assert await deferToThread(client.call, "say", {"text": big}) == big
            with pytest.raises(Conflict, match="it was said"):
                await deferToThread(client.call, "say", {"text": "twice"})
            rows = deferToThread(list, client.stream("trace", {}))
            while not work.feed.active:
                await tick()
            for number in range(3):
                work.feed.publish(number)
            work.feed.close()
            assert await rows == [0, 1, 2]

    run(main)


def test_the_client_hands_over_an_open_file(tmp_path: Path) -> None:
    path, content = tmp_path / "socket", tmp_path / "content"
    content.write_bytes(b"0123456789" * 100_000)

    async def main() -> None:
        async with serving(path) as (work, factory):
            client = Client("toy", path)
            file = File.open(content)
            content.unlink()
            for size in (5, 1_000_001):
                text = await deferToThread(client.call, "take", {"size": size, "file": file})
                assert text == f"{content}: {'0123456789' * 100_000}"[: len(f"{content}: ") + size]
                assert work.taken() is None, "the daemon has closed it"
            with pytest.raises(BadArgument, match="file: Expected `File`"):
                await deferToThread(client.call, "take", {"size": 1, "file": str(content)})
            assert await deferToThread(client.call, "say", {"text": "hi"}) == "hi"
            folder = File("folder", os.open(tmp_path, os.O_RDONLY))
            with pytest.raises(BadArgument, match="folder: not a regular file"):
                await deferToThread(client.call, "take", {"size": 1, "file": folder})
            with pytest.raises(BadArgument, match="say has no argument other"):
                await deferToThread(client.call, "say", {"text": "hi", "other": file})
            while factory.connections:
                await tick()
            assert len(opened(content)) == 1, "the caller's own"

    run(main)


def opened(path: Path) -> list[Path]:
    """This process's descriptors of a file that was removed."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(descriptor.readlink())
    return [link for link in links if link == Path(f"{path} (deleted)")]


def test_the_client_says_when_the_daemon_ends_or_is_too_slow(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with serving(path) as (_, factory):
            with pytest.raises(Unavailable, match="toy did not answer in time"):
                await waiting_call(path, timeout=0.05)
            while factory.connections:
                await tick()
            waiting = waiting_call(path, timeout=5)
            while not factory.connections:
                await tick()
        with pytest.raises(CommandError, match=r"toy (closed the connection|gave no proper answer)"):
            await waiting

    run(main)


def waiting_call(path: Path, timeout: float) -> Deferred[Any]:
    return deferToThread(Client("toy", path).call, "wait", {}, timeout)


async def tick() -> None:
    done: Deferred[None] = Deferred()
    installed_reactor().callLater(0.001, done.callback, None)
    await done


def test_no_daemon_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "run" / "crs.sock"
    with pytest.raises(Unavailable, match=rf"crs is not running \(no answer at {path}\)"):
        Client("crs", path).call("say", {})
