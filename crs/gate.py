"""The port for clients: accepts, waits for all of them at once, and gives what they do to their connections.

One epoll holds all clients' sockets and is itself the one descriptor that the reactor watches. The reactor's
bookkeeping for each (a handle, a context, two calls through the logger) costs more than reading a message
does, and a kibibyte of memory. In one turn everybody who is ready is read once, then the `Receiver` works on
all of it, then what came of it is sent, in one write for each client.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import count
from select import EPOLLIN, EPOLLOUT, epoll
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from crs.connection import Receiver
from crs.keepalive import KeepAlive
from crs.limits import LimitTable
from crs.rules import Rules
from crs.websocket import ClientSocket
from rtlib.address import subnet
from rtlib.psk import KeyLookup
from rtlib.pskstream import PskAcceptor
from rtlib.wheel import Wheel

ACCEPTS: Final = 32
"""New connections in one turn, so that a storm of them does not keep the others waiting."""
READY: Final = 128
"""Sockets that are served in one turn,"""
TURN: Final = 0.004
"""if it takes no longer than so many seconds: a handshake costs as much as ten messages."""
PAUSE: Final = 1.0
"""Seconds without accepting when the system has no more descriptors or memory."""
GRANULARITY: Final = 0.25
"""Seconds that a client's alarm may be late."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
log = Logger()


def _nobody(_client: ClientSocket, _state: str) -> None:
    """Hears of the states of connections."""


@implementer(IReadDescriptor)
class ClientGate(Service):
    """Serves a bound, listening socket. Stopping it ends accepting; clients stay until they are closed."""

    def __init__(
        self,
        sock: socket.socket,
        keys: KeyLookup,
        receiver: Receiver,
        *,
        reactor: Any,
        keep_alive: Rules[KeepAlive] | None = None,
        limits: LimitTable | None = None,
        told: Callable[[ClientSocket, str], None] = _nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reactor` provides IReactorTime and IReactorFDSet; `clock` is that of the alarms."""
        self.receiver = receiver
        self.keep_alive = keep_alive or Rules()
        self.limits = limits or LimitTable()
        self.told = told
        self.handshakes: Counter[str] = Counter()
        """Those under way, by address."""
        self.alarms: Wheel[ClientSocket] = Wheel(GRANULARITY)
        self.now = clock()
        self._listener = sock
        self._name = sock.getsockname()
        self._acceptor = PskAcceptor(keys)
        self._reactor = reactor
        self._clock = clock
        self._clients: dict[int, ClientSocket] = {}
        self._numbers = count(1)
        self._unsent: list[ClientSocket] = []
        self._ready: deque[tuple[int, int]] = deque()
        self._turning = False
        self._poll: epoll | None = None
        self._calls: dict[str, IDelayedCall] = {}
        self._alarm_due = 0.0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._name[:2]
        return host, port

    @property
    def open(self) -> int:
        """How many connections there are, whatever their state."""
        return len(self._clients)

    def startService(self) -> None:
        """Begin to accept."""
        super().startService()
        self._poll = epoll()
        self._poll.register(self._listener.fileno(), EPOLLIN)
        self._reactor.addReader(self)

    def stopService(self) -> None:
        """Stop accepting and close the listening socket."""
        super().stopService()
        if self._poll is not None and "accept" not in self._calls:
            self._poll.unregister(self._listener.fileno())
        self._cancel("accept")
        self._listener.close()
        self._leave()

    def fileno(self) -> int:
        """The epoll's descriptor, which is readable when somebody is ready."""
        return -1 if self._poll is None else self._poll.fileno()

    def logPrefix(self) -> str:
        """Our name in the log."""
        return "clients"

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The reactor is at its end."""
        for client in list(self._clients.values()):
            client.cut()
        self._leave()

    def doRead(self) -> None:
        """One turn: read from everybody who is ready."""
        if self._poll is None:
            return
        self._begin()
        end = self.now + TURN
        # Who was not served in the last turn comes first; none of them is ready any less for that.
        ready = self._ready or deque(self._poll.poll(0, READY))
        while ready:
            descriptor, events = ready.popleft()
            client = self._clients.get(descriptor)
            if client is not None:
                self._serve(client, events)
            elif descriptor == self._listener.fileno():
                self._accept()
            if self._clock() > end:
                break
        self._ready = ready
        self._finish()

    def to_flush(self, client: ClientSocket) -> None:
        """Have the client's `flush` called: at the end of this turn, else in the next one of the reactor."""
        if not self._turning and not self._unsent:
            self._call("flush", 0.0, self._flush_later)
        self._unsent.append(client)

    def watch(self, client: ClientSocket, *, writing: bool) -> None:
        """Wait for the socket to take data again, or do so no longer."""
        if self._poll is not None:
            self._poll.modify(client.descriptor, EPOLLIN | EPOLLOUT if writing else EPOLLIN)

    def forget(self, client: ClientSocket) -> None:
        """A connection is over."""
        if self._clients.pop(client.descriptor, None) is not None and self._poll is not None:
            self._poll.unregister(client.descriptor)
        if not self._turning:
            self._leave()

    def _begin(self) -> None:
        self._turning = True
        self.now = self._clock()

    def _finish(self) -> None:
        """All that came in is worked on, and what came of it is sent."""
        try:
            self.receiver.flush()
        finally:
            self._flush()
            self._turning = False
            self._arm()
            self._leave()

    def _serve(self, client: ClientSocket, events: int) -> None:
        try:
            if events & EPOLLOUT:
                client.flush()
            if events & ~EPOLLOUT:
                client.ready()
        except Exception:  # noqa: BLE001  a defect met by one client must not harm the others
            log.failure("a connection was cut off because handling it failed")
            client.cut()

    def _flush(self) -> None:
        while self._unsent:
            unsent, self._unsent = self._unsent, []
            for client in unsent:
                try:
                    client.flush()
                except Exception:  # noqa: BLE001  as in _serve
                    log.failure("a connection was cut off because sending to it failed")
                    client.cut()

    def _flush_later(self) -> None:
        self._begin()
        self._finish()

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.warn("clients cannot be accepted for a moment: {error}", error=error)
                    self._pause()
                    return
                continue  # a client that has gone already
            place = subnet(address[0])
            if self._admits(address[0], place):
                self._take(sock, address[:2], place)
            else:
                sock.close()

    def _take(self, sock: socket.socket, address: tuple[str, int], place: str) -> None:
        """Serve an accepted connection."""
        sock.setblocking(False)
        # Each write is all that there is to say: waiting for more, or for the client's ACK, gains nothing.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        descriptor = sock.fileno()
        assert self._poll is not None
        self._poll.register(descriptor, EPOLLIN)
        stream = self._acceptor.accept(descriptor)
        number = next(self._numbers)
        self._clients[descriptor] = ClientSocket(
            self, sock, stream, address=address, place=place, number=number
        )

    def _admits(self, host: str, place: str) -> bool:
        """Whether another connection from this address may begin."""
        limits = self.limits.general
        if len(self._clients) >= limits.connections:
            self.limits.reached["connections"] += 1
            self.receiver.offended("too many connections", host, f"{limits.connections} are open")
            return False
        if self.handshakes[place] < limits.handshakes_per_address:
            return True
        self.limits.reached["handshakes-per-address"] += 1
        reason = f"{limits.handshakes_per_address} are under way"
        self.receiver.offended("too many handshakes", host, reason)
        return False

    def _pause(self) -> None:
        assert self._poll is not None
        self._poll.unregister(self._listener.fileno())
        self._call("accept", PAUSE, self._resume)

    def _resume(self) -> None:
        if self._poll is not None and self.running:
            self._poll.register(self._listener.fileno(), EPOLLIN)

    def _arm(self) -> None:
        """Have the alarms looked at when the next one is due."""
        due = self.alarms.get_timer()
        if due is None:
            self._cancel("alarm")
        elif "alarm" not in self._calls or due < self._alarm_due:
            self._cancel("alarm")
            self._alarm_due = due
            self._call("alarm", max(0.0, due - self._clock()), self._expire)

    def _expire(self) -> None:
        self._begin()
        for client in self.alarms.expire(self.now):
            client.expire()
        self._finish()

    def _call(self, name: str, delay: float, function: Callable[[], None]) -> None:
        def call() -> None:
            del self._calls[name]
            function()

        self._calls[name] = self._reactor.callLater(delay, call)

    def _cancel(self, name: str) -> None:
        call = self._calls.pop(name, None)
        if call is not None:
            call.cancel()

    def _leave(self) -> None:
        """Nothing is left to wait for once the last client of a stopped service has gone."""
        if self._poll is None or self.running or self._clients or self._unsent:
            return
        for name in list(self._calls):
            self._cancel(name)
        self._reactor.removeReader(self)
        self._poll.close()
        self._poll = None
