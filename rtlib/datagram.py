"""A UDP endpoint that reads and writes in batches, under the reactor's `addReader` instead of Twisted's
UDP port.

ICMP errors are read from the socket's error queue (ip(7), IP_RECVERR), so that an unreachable peer is
noticed at once, by address, and never mistaken for a failure of the datagram that happens to be sent next.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from rtlib.address import Address, pack
from rtlib.metronome import Metronome
from rtlib.mmsg import Batch

BATCHES_PER_WAKE = 4
"""Batches read for one wake-up (about 1 ms with 64 datagrams each); what is left waits its turn behind
the neighbours.
"""
ERRORS_PER_WAKE = 64
CLOSE_WAKES = 4
"""Wake-ups that follow each other within a beat before reading goes by the metronome; as many empty beats
end that.
"""

# linux/in.h, linux/in6.h, linux/errqueue.h: Python's socket module does not have these.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_LOCAL = 1
# linux/sock_diag.h and asm/socket.h: of the numbers of SO_MEMINFO, drops is the last.
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
# linux/sockios.h: when the datagram that was read last arrived, by the wall clock.
_SIOCGSTAMPNS = 0x8907
_TIMESPEC = struct.Struct("=qq")
_RECVERR = {
    socket.AF_INET: (socket.IPPROTO_IP, _IP_RECVERR),
    socket.AF_INET6: (socket.IPPROTO_IPV6, _IPV6_RECVERR),
}

log = Logger()


@dataclass(slots=True)
class DatagramCounters:
    """What an endpoint has done since it was made; datagrams unless it says bytes."""

    received: int = 0
    received_bytes: int = 0
    truncated: int = 0
    """Longer than `max_size`; not handed up."""
    sent: int = 0
    sent_bytes: int = 0
    send_errors: int = 0
    """Refused by the system, for instance too long or no route."""
    dropped: int = 0
    """Not sent because the queue was full or the endpoint stopped."""
    errors_reported: int = 0
    """ICMP errors that came back."""
    overrun: int = 0
    """Came and found the system's buffer full: whoever reads it was too late."""


@implementer(IReadWriteDescriptor)
class DatagramEndpoint:
    """Owns a bound, non-blocking UDP socket; hands up batches of (data, address) and sends such batches.

    `receive` gets each batch; what it raises is logged. `on_error` gets (address, errno) once for
    each address that a datagram could not be sent to, or that an ICMP error is about, after the call that
    noticed it. `queue` datagrams wait when the socket is full. `buffers` may be shared by endpoints of one
    reactor and address family; `batch` and `max_size` are then those of it.

    With a `metronome`, datagrams that come closer together than its beat are read in its beat: they wait
    up to one beat longer and cost a fraction, because a wake-up costs more than a datagram.
    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[list[tuple[bytes, Address]]], None],
        reactor: IReactorFDSet,
        *,
        batch: int = 64,
        max_size: int = 65535,
        queue: int = 512,
        on_error: Callable[[Address, int], None] | None = None,
        buffers: Batch | None = None,
        metronome: Metronome | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = DatagramCounters()
        self._socket = sock
        self._receive = receive
        self._reactor = reactor
        self._on_error = on_error
        self._buffers = buffers or Batch(sock.family, batch, max_size)
        self._limit = queue
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._errors: dict[Address, int] = {}
        self._address: tuple[str, int] = sock.getsockname()[:2]
        self._metronome = metronome
        self._now = now
        self._woken = 0.0
        self._streak = 0
        self._more = False
        sock.setsockopt(*_RECVERR[sock.family], 1)
        self._age()  # from the first time on, the system notes when datagrams arrive

    @property
    def counters(self) -> DatagramCounters:
        """What it has done so far."""
        if self.fileno() >= 0:
            numbers = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            self._counters.overrun = _MEMINFO.unpack(numbers)[-1]
        return self._counters

    @property
    def waited(self) -> float:
        """Seconds that the newest of the datagrams handed up last had waited in the system's buffer.

        0 where they are all there was: who reads is not behind then.
        """
        return self._age() if self._more and self.fileno() >= 0 else 0.0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that the socket is bound to, also after `stop`."""
        return self._address

    def start(self) -> None:
        """Begin to hand up what arrives."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Close the socket; datagrams still queued are dropped and counted. May be called twice."""
        if self.fileno() < 0:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        if self._metronome is not None:
            self._metronome.discard(self._beat)
        self.counters.dropped += len(self._queue)
        self._socket.close()
        self._queue.clear()

    def send(self, batch: Sequence[tuple[bytes, Address]]) -> None:
        """Send datagrams, in order, now or as soon as the socket takes them. Never raises for what cannot
        be sent.
        """
        if self.fileno() < 0:
            self._counters.dropped += len(batch)
            return
        sent = 0 if self._queue else self._transmit(batch)
        if sent < len(batch):
            self._enqueue(batch[sent:])
        self._report()

    def doRead(self) -> None:
        """Read a bounded number of batches (called by the reactor)."""
        metronome = self._metronome
        if metronome is not None and self._is_close(metronome.interval):
            self._reactor.removeReader(self)
            metronome.add(self._beat)
        self._drain()

    def _beat(self) -> None:
        """Read, and let the reactor wake us again once nothing has come for some beats."""
        self._streak = CLOSE_WAKES if self._drain() else self._streak - 1
        if self._streak <= 0 and self._metronome is not None and self.fileno() >= 0:
            self._metronome.discard(self._beat)
            self._reactor.addReader(self)

    def _is_close(self, interval: float) -> bool:
        """Whether wake-ups have followed each other within an interval several times."""
        now = self._now()
        self._streak = self._streak + 1 if now - self._woken < interval else 0
        self._woken = now
        return self._streak >= CLOSE_WAKES

    def _drain(self) -> bool:
        """Read a bounded number of batches; give whether there was anything."""
        got = False
        for number in range(BATCHES_PER_WAKE):
            batch = self._read()
            self._more = len(batch) == self._buffers.count
            if batch:
                got = True
                self._deliver(batch)
            elif number == 0:
                # Woken for nothing else: the error queue alone also makes a socket readable.
                self._drain_errors()
            if not self._more or self.fileno() < 0:
                break
        self._report()
        return got

    def doWrite(self) -> None:
        """Send what is queued (called by the reactor)."""
        sent = self._transmit(list(islice(self._queue, self._limit)))
        for _ in range(sent):
            self._queue.popleft()
        if not self._queue:
            self._reactor.removeWriter(self)
        self._report()

    def fileno(self) -> int:
        """Give the descriptor, -1 once stopped."""
        return self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """Stop (called by the reactor if the descriptor fails)."""
        self.stop()

    def logPrefix(self) -> str:
        """Name the endpoint in the reactor's own log lines."""
        return "DatagramEndpoint"

    def _age(self) -> float:
        try:
            stamp = fcntl.ioctl(self.fileno(), _SIOCGSTAMPNS, bytes(_TIMESPEC.size))
        except OSError:
            return 0.0  # nothing has been read yet
        seconds, nanoseconds = _TIMESPEC.unpack(stamp)
        age: float = time.time() - seconds - nanoseconds * 1e-9
        return max(0.0, age)

    def _read(self) -> list[tuple[bytes, Address]]:
        try:
            return self._buffers.receive(self.fileno())
        except OSError:
            # One pending ICMP error is reported by whichever call comes next; the queue has the whole story.
            self._drain_errors()
        try:
            return self._buffers.receive(self.fileno())
        except OSError:
            return []

    def _deliver(self, batch: list[tuple[bytes, Address]]) -> None:
        counters, buffers, count = self._counters, self._buffers, len(batch)
        counters.received += count
        counters.received_bytes += buffers.total
        if buffers.limited:
            batch = [datagram for datagram in batch if len(datagram[0]) <= buffers.max_size]
            counters.truncated += count - len(batch)
        try:
            self._receive(batch)
        except Exception:  # noqa: BLE001 - raising out of here would make the reactor close the port
            log.failure("datagrams were dropped because handling them failed")

    def _transmit(self, batch: Sequence[tuple[bytes, Address]]) -> int:
        """Send until done or the socket is full; give how many are dealt with, sent or not."""
        done, tried, total = 0, -1, len(batch)
        while done < total:
            try:
                sent = self._buffers.send(self.fileno(), batch[done : done + self._buffers.count])
            except OSError as error:
                # It may be the ICMP error of an earlier datagram, which more may follow: each that is taken
                # off the queue makes the system tell of the next one. This datagram is to blame only if it
                # fails once more when none is left.
                if self._drain_errors() or tried != done:
                    tried = done
                else:
                    self._refused(batch[done][1], error.errno)
                    done += 1
                continue
            if sent == 0:
                break
            self._counters.sent += sent
            self._counters.sent_bytes += self._buffers.total
            done += sent
        return done

    def _enqueue(self, batch: Sequence[tuple[bytes, Address]]) -> None:
        room = self._limit - len(self._queue)
        if not self._queue and room > 0:
            self._reactor.addWriter(self)
        self._queue.extend(batch[:room])
        self._counters.dropped += max(0, len(batch) - room)

    def _refused(self, address: Address, number: int | None) -> None:
        self._counters.send_errors += 1
        self._errors[address] = number or errno.EIO

    def _drain_errors(self) -> bool:
        """Read a bounded number of errors off the socket's queue; give whether there was one from outside."""
        found = False
        for _ in range(ERRORS_PER_WAKE):
            try:
                _, ancillary, _, destination = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            for _level, _type, data in ancillary:
                found |= self._note_error(data, destination)
        return found

    def _note_error(self, data: bytes, destination: tuple[Any, ...]) -> bool:
        if len(data) < _EXTENDED_ERROR.size:
            return False
        number, origin, *_ = _EXTENDED_ERROR.unpack_from(data)
        if origin == _ORIGIN_LOCAL:
            return False  # the call that sent it has failed too, and reports it
        self._counters.errors_reported += 1
        self._errors[_packed(*destination)] = number
        return True

    def _report(self) -> None:
        """Tell about errors when no batch is under way, since the callback may send."""
        errors = self._errors
        if not errors:
            return
        self._errors = {}
        if self._on_error is None:
            return
        for address, number in errors.items():
            try:
                self._on_error(address, number)
            except Exception:  # noqa: BLE001 - raising out of here would make the reactor close the port
                log.failure("handling a send error failed")


def _packed(host: str, port: int, _flow: int = 0, scope: int = 0) -> Address:
    """Make an address of what Python's socket module gives for one."""
    return pack(f"{host}%{scope}" if scope else host, port)
