"""A timer finer than the reactor's, for descriptors that are read in a beat instead of at each wake-up.

epoll_wait(2) waits for whole milliseconds; timerfd_create(2) knows nanoseconds and is one more descriptor.
Through cffi in ABI mode, for Python 3.11 has no timerfd.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from cffi import FFI
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_ffi = FFI()
# The layout is the kernel's on all 64-bit Linux systems, whatever the C library.
_ffi.cdef(
    """
    struct timespec { long tv_sec; long tv_nsec; };
    struct itimerspec { struct timespec it_interval; struct timespec it_value; };
    int timerfd_create(int clock, int flags);
    int timerfd_settime(int fd, int flags, const struct itimerspec *new, void *old);
    """
)
_libc: Any = _ffi.dlopen(None)
_CLOCK_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are these

log = Logger()


@implementer(IReadDescriptor)
class Metronome:
    """Calls its members once in every `interval` seconds, for as long as it has some.

    Beats that the reactor was too busy for are left out. It may be made before a daemon forks.
    """

    def __init__(self, reactor: IReactorFDSet, interval: float) -> None:
        self._reactor = reactor
        self.interval = interval
        self._members: list[Callable[[], None]] = []
        self._descriptor = -1

    def add(self, member: Callable[[], None]) -> None:
        """Call this one from now on."""
        self._members.append(member)
        if len(self._members) == 1:
            self._start()

    def discard(self, member: Callable[[], None]) -> None:
        """Do not call this one any more, if it was called."""
        if member in self._members:
            self._members.remove(member)
            if not self._members:
                self._stop()

    def fileno(self) -> int:
        """Give the timer's descriptor, -1 while there is none."""
        return self._descriptor

    def doRead(self) -> None:
        """Beat (called by the reactor)."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        for member in self._members.copy():
            try:
                member()
            except Exception:  # noqa: BLE001 - raising out of here would make the reactor drop the descriptor
                log.failure("what the metronome calls has failed")

    def connectionLost(self, reason: Failure) -> None:
        """Do nothing (called by the reactor if the descriptor fails, which a timerfd does not)."""

    def logPrefix(self) -> str:
        """Name the metronome in the reactor's own log lines."""
        return "Metronome"

    def _start(self) -> None:
        self._descriptor = _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
        period = (0, round(self.interval * 1e9))
        times = _ffi.new("struct itimerspec *", (period, period))
        _checked(_libc.timerfd_settime(self._descriptor, 0, times, _ffi.NULL))
        self._reactor.addReader(self)

    def _stop(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._descriptor)
        self._descriptor = -1


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(_ffi.errno, os.strerror(_ffi.errno))
    return result
