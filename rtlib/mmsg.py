"""recvmmsg(2) and sendmmsg(2) through cffi in ABI mode: many datagrams for one system call, no compiler
needed.

The headers, and the buffers to receive in, are laid out once; per call lengths are read, or written with
where the datagrams lie. One thread at a time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

from cffi import FFI

from rtlib.address import IPV4_SIZE, IPV6_SIZE, Address

Datagrams = Sequence[tuple[bytes, Address]]

# The layout is the kernel's on all 64-bit Linux systems, whatever the C library.
_ffi = FFI()
_ffi.cdef(
    """
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; unsigned int msg_namelen;
        struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen;
        int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, void *timeout);
    int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
    """
)
_libc: Any = _ffi.dlopen(None)
_NAME_SIZE = {socket.AF_INET: IPV4_SIZE, socket.AF_INET6: IPV6_SIZE}
_CACHE_LINE = 64
_LONGEST = 65535
"""Bytes: the system refuses to send more by itself, and nothing longer arrives."""
_NOT_NOW = frozenset((errno.EAGAIN, errno.EINTR))


def _place(memory: Any) -> int:
    """The address that a piece of memory begins at; whoever asks keeps it."""
    return int(_ffi.cast("uintptr_t", memory))


@cache
def _splitter(size: int, count: int) -> Callable[[Any], tuple[bytes, ...]]:
    """Takes so many pieces of one size out of memory, all at once."""
    return struct.Struct(f"{size}s" * count).unpack_from


class _Vector:
    """`count` message headers, each with one address and one part, whose place and size are to be set."""

    def __init__(self, name_size: int, count: int) -> None:
        self.headers = _ffi.new("struct mmsghdr[]", count)
        self.parts = _ffi.new("struct iovec[]", count)
        self._names = _ffi.new("char[]", count * name_size)
        for i in range(count):
            header = self.headers[i].msg_hdr
            header.msg_name = self._names + i * name_size
            header.msg_namelen = name_size
            header.msg_iov = self.parts + i
            header.msg_iovlen = 1
        self.names = _ffi.buffer(self._names)
        words = memoryview(_ffi.buffer(self.parts)).cast("L")
        self.places = words[0::2]
        self.sizes = words[1::2]


class Batch:
    """Buffers to receive and to send up to `count` datagrams of at most `max_size` bytes on sockets of
    one family.

    Endpoints on one reactor may share a Batch: nothing stays in it between two calls but `total`.
    """

    def __init__(self, family: int, count: int = 64, max_size: int = 65535) -> None:
        self.count = count
        self.max_size = max_size
        self.limited = max_size < _LONGEST
        """Whether a datagram may be too long for us that is not for the system."""
        self.total = 0
        """Bytes of the datagrams of the last call."""
        self._name_size = _NAME_SIZE[socket.AddressFamily(family)]
        self._name_sizes = frozenset({self._name_size})
        self._incoming = _Vector(self._name_size, count)
        self._outgoing = _Vector(self._name_size, count)
        # One byte more than is allowed shows that a datagram was longer.
        size = max_size + 1
        # Buffers a power of two apart would all fall on the same lines of the processor's cache.
        stride = size + _CACHE_LINE - size % _CACHE_LINE + _CACHE_LINE
        # The kernel gives pages of this only as they are first used.
        self._memory = _ffi.new("char[]", count * stride)
        offsets = range(0, count * stride, stride)
        self._spaces = [_ffi.buffer(self._memory + offset, size) for offset in offsets]
        first = _place(self._memory)
        self._incoming.places[:] = array("L", [first + offset for offset in offsets])
        self._incoming.sizes[:] = array("L", [size] * count)
        words = memoryview(_ffi.buffer(self._incoming.headers)).cast("I")
        stride = _ffi.sizeof("struct mmsghdr") // words.itemsize
        self._received_sizes = words[_ffi.offsetof("struct mmsghdr", "msg_len") // words.itemsize :: stride]

    def receive(self, descriptor: int) -> list[tuple[bytes, Address]]:
        """Give what has arrived, at most `count` datagrams; [] for nothing yet. A pending error raises
        OSError.

        A datagram of more than `max_size` bytes is given cut to `max_size + 1`.
        """
        vector = self._incoming
        arrived = _libc.recvmmsg(descriptor, vector.headers, self.count, 0, _ffi.NULL)
        if arrived < 0:
            return self._failed(_ffi.errno)
        sizes = self._received_sizes[:arrived].tolist()
        self.total = sum(sizes)
        names = _splitter(self._name_size, arrived)(vector.names)
        return [
            (space[:length], name) for space, length, name in zip(self._spaces, sizes, names, strict=False)
        ]

    def send(self, descriptor: int, datagrams: Datagrams) -> int:
        """Send up to `count` datagrams, in order; give how many were, 0 if the socket takes none now.

        Stops before the first one that fails; OSError if that is the first of all.
        """
        datagrams = datagrams[: self.count]
        parts = [data for data, _ in datagrams]
        names = [address for _, address in datagrams]
        sizes = list(map(len, parts))
        too_long = self.limited and max(sizes, default=0) > self.max_size
        if too_long or not self._name_sizes.issuperset(map(len, names)):
            position, number = self._unsendable(datagrams)
            if position == 0:
                raise OSError(number, os.strerror(number))
            return self.send(descriptor, datagrams[:position])
        # The system reads them where they lie one behind the other: they are copied once, and in one go. They
        # have to lie there until it has, as `payload` does until this function ends.
        payload = b"".join(parts)
        places = accumulate(sizes, initial=_place(_ffi.from_buffer(payload)))
        vector, count = self._outgoing, len(sizes)
        vector.names[: count * self._name_size] = b"".join(names)
        vector.sizes[:count] = array("L", sizes)
        vector.places[:count] = array("L", places)[:count]
        sent: int = _libc.sendmmsg(descriptor, vector.headers, count, 0)
        if sent < 0:
            return len(self._failed(_ffi.errno))
        self.total = len(payload) if sent == count else sum(sizes[:sent])
        return sent

    def _unsendable(self, datagrams: Datagrams) -> tuple[int, int]:
        """Find the first datagram that cannot be sent, which there is: its position and the error number."""
        return next(
            (position, errno.EMSGSIZE if len(data) > self.max_size else errno.EAFNOSUPPORT)
            for position, (data, address) in enumerate(datagrams)
            if len(data) > self.max_size or len(address) != self._name_size
        )

    @staticmethod
    def _failed(number: int) -> list[tuple[bytes, Address]]:
        if number in _NOT_NOW:
            return []
        raise OSError(number, os.strerror(number))
