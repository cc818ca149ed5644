"""The daemon's end of the command socket: whoever may open it runs commands of the registry.

The socket's file mode is the access control; who called is written to the log (peer credentials).
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IFileDescriptorReceiver, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rtlib.command.audit import DONE, MASK, AuditLog, Caller, masked
from rtlib.command.error import BadArgument, CommandError
from rtlib.command.file import File
from rtlib.command.registry import Registry
from rtlib.command.signature import Role
from rtlib.command.stream import Stream
from rtlib.command.wire import MAX_REQUEST, Answer, Call, MalformedCall, Problem, decode_call, encode
from rtlib.offence import OffenceLog

log = Logger()

MAX_CONNECTIONS: Final = 16
REQUEST_TIMEOUT: Final = 10.0
"""Seconds until a whole request line has arrived."""

MAX_LOGGED: Final = 200
"""Characters of an argument that are written to the log."""

UNKNOWN: Final = Caller(-1, -1)
"""Somebody who is not at the other end of a UNIX socket."""

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class CommandFactory(Factory):
    """Accepts connections to the command socket. `close` ends all of them."""

    noisy = False

    def __init__(
        self,
        registry: Registry,
        clock: IReactorTime,
        offences: OffenceLog,
        *,
        role: Role = Role.administrator,
        connections: int = MAX_CONNECTIONS,
        audit: AuditLog | None = None,
    ) -> None:
        """`audit` gets a line for each act."""
        self.registry = registry
        self.clock = clock
        self.offences = offences
        self.role = role
        self._limit = connections
        self._audit = audit
        self.totals: Counter[tuple[str, str]] = Counter()
        """Commands by name and outcome, ok or failed; what is no command has the name unknown."""
        self._connections: set[CommandConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A connection. When there are too many it is one that refuses the request, or none at all."""
        there = len(self._connections)
        if there >= self._limit:
            self.offend("too many connections", "command socket")
        if there >= 2 * self._limit:
            return None
        connection = CommandConnection(self, refuses=there >= self._limit)
        self._connections.add(connection)
        return connection

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    def offend(self, kind: str, source: str) -> None:
        """Count an offence; log it unless this source was logged a moment ago."""
        if self.offences.count(f"command socket: {kind}", source, self.clock.seconds()):
            log.warn("command socket: {kind} from {source}", kind=kind, source=source)

    def ended(self, caller: Caller, call: Call, result: str) -> None:
        """A command is done, or has failed: count it, and put it into the audit log."""
        outcome = "ok" if result == DONE else "failed"
        try:
            spec = self.registry.spec(call.command)
        except BadArgument:
            self.totals["unknown", outcome] += 1
            return
        self.totals[spec.name, outcome] += 1
        if self._audit is None:
            return
        try:
            self._audit.record(caller, spec, call.arguments, result)
        except OSError as error:
            log.warn("{path}: {error}", path=str(self._audit.path), error=error.strerror or error)

    def forget(self, connection: CommandConnection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    def close(self) -> None:
        """End all connections and the commands that they wait for."""
        for connection in list(self._connections):
            connection.abort()


@implementer(IFileDescriptorReceiver)
class CommandConnection(Protocol):
    """One caller: a request line, perhaps a file beside it, the answer's lines, the end."""

    transport: Any
    """A UNIX stream transport: it is also an IConsumer and can be aborted."""

    def __init__(self, factory: CommandFactory, *, refuses: bool = False) -> None:
        """`refuses` has it say that there are too many commands, whatever the request."""
        self._owner = factory
        self._refuses = refuses
        self._buffer = bytearray()
        self._timer: IDelayedCall | None = None
        self._work: Deferred[None] | None = None
        self._resume: Deferred[None] | None = None
        self._caller = UNKNOWN
        self._file: File | None = None

    def connectionMade(self) -> None:
        """Note who calls and start the clock."""
        self._caller = _caller(self.transport)
        self._timer = self._owner.clock.callLater(REQUEST_TIMEOUT, self._refuse, "no request in time")
        # A stream waits while the caller does not read; see _write.
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Collect the request line; whatever follows it is ignored."""
        if self._work is not None or self._timer is None:
            return
        self._buffer += data
        line, end, _ = self._buffer.partition(b"\n")
        if len(line) > MAX_REQUEST:
            self._refuse("request too long")
        elif end:
            self._take(bytes(line))

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A file comes with the request line."""
        if self._work is not None or self._timer is None or self._file is not None:
            os.close(descriptor)
        else:
            self._file = File("", descriptor)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The caller left (ctrl-c ends a trace): stop working for it."""
        self._stop_timer()
        self._file = None
        self._owner.forget(self)
        self._go_on()
        if self._work is not None:
            self._work.cancel()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        if self._resume is None:
            self._resume = Deferred()

    def resumeProducing(self) -> None:
        """The transport's buffer has room."""
        self._go_on()

    def stopProducing(self) -> None:
        """The transport ends; connectionLost follows."""

    def abort(self) -> None:
        """Close at once."""
        self.transport.abortConnection()

    def _go_on(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            resume.callback(None)

    def _refuse(self, reason: str) -> None:
        self._stop_timer()
        self._owner.offend(reason, str(self._caller))
        self._finish(Answer(error=Problem("bad-argument", reason)))

    def _take(self, line: bytes) -> None:
        self._stop_timer()
        if self._refuses:
            self._finish(Answer(error=Problem("unavailable", "too many commands at once; try again")))
            return
        try:
            call = decode_call(line)
        except MalformedCall as error:
            self._owner.offend("malformed request", str(self._caller))
            self._finish(Answer(error=Problem("bad-argument", f"malformed request: {error}")))
            return
        self._log(call)
        self._work = Deferred.fromCoroutine(self._answer(call))

    def _log(self, call: Call) -> None:
        log.info(
            "{caller}: {command} {arguments}",
            caller=self._caller,
            command=call.command,
            arguments=" ".join(
                f"{key}={_short(masked(key, value))}" for key, value in call.arguments.items()
            ),
        )

    async def _answer(self, call: Call) -> None:
        try:
            arguments = self._with_file(call)
            reply = await self._owner.registry.call(call.command, arguments, self._owner.role)
        except CancelledError:
            self._owner.ended(self._caller, call, "the caller left before the end")
        except CommandError as error:
            self._fail(call, Problem(error.kind, str(error)))
        except Exception:  # noqa: BLE001  a command's defect is its caller's error, never the daemon's
            log.failure("the command {command} failed", command=call.command)
            self._fail(call, Problem("failed", "internal error; the daemon's log has the details"))
        else:
            self._owner.ended(self._caller, call, DONE)
            await self._give(call, reply)

    def _with_file(self, call: Call) -> dict[str, Any]:
        """The arguments, with the file in place of its name; the command alone keeps it."""
        file, self._file = self._file, None
        named = [each for each in self._owner.registry.spec(call.command).parameters if each.is_file]
        if file is None or not named or named[0].name not in call.arguments:
            return call.arguments
        file.name = str(call.arguments[named[0].name])
        return call.arguments | {named[0].name: file}

    def _fail(self, call: Call, problem: Problem) -> None:
        self._owner.ended(self._caller, call, problem.message)
        self._finish(Answer(error=problem))

    async def _give(self, call: Call, reply: Any) -> None:
        try:
            if isinstance(reply, Stream):
                await self._stream(reply)
            else:
                self._finish(Answer(reply=reply))
        except CancelledError:
            return
        except Exception:  # noqa: BLE001  a reply that cannot be encoded, for instance
            log.failure("the reply of {command} failed", command=call.command)
            self._finish(Answer(error=Problem("failed", "internal error; the daemon's log has the details")))

    async def _stream(self, stream: Stream[Any]) -> None:
        try:
            self._write(Answer(begun=True))
            await self._rows(stream)
        finally:
            stream.close()
        self._finish(Answer(end=stream.dropped))

    async def _rows(self, stream: Stream[Any]) -> None:
        told = 0
        async for row in stream:
            if stream.dropped > told:
                self._write(Answer(dropped=stream.dropped - told))
                told = stream.dropped
            self._write(Answer(row=row))
            if self._resume is not None:
                await self._resume

    def _write(self, answer: Answer) -> None:
        self.transport.write(encode(answer))

    def _finish(self, answer: Answer) -> None:
        self._write(answer)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _short(value: object) -> str:
    text = value if value is MASK else repr(value)
    return str(text) if len(str(text)) <= MAX_LOGGED else f"{str(text)[:MAX_LOGGED]}..."


def _caller(transport: Any) -> Caller:
    """Who is at the other end of a UNIX socket."""
    handle: Callable[[], socket.socket] | None = getattr(transport, "getHandle", None)
    if handle is None:
        return UNKNOWN
    data = handle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return Caller(uid, pid)
