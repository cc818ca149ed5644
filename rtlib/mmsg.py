"""recvmmsg(2) and sendmmsg(2) through cffi in ABI mode: many datagrams for one system call, no compiler
needed.

The buffers are laid out once; per call only lengths are read or written. One thread at a time.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from collections.abc import Sequence
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
_NOT_NOW = frozenset((errno.EAGAIN, errno.EINTR))


class _Vector:
    """`count` message headers, each with one buffer of `size` bytes and one address."""

    def __init__(self, name_size: int, count: int, size: int) -> None:
        self.headers = _ffi.new("struct mmsghdr[]", count)
        self.parts = _ffi.new("struct iovec[]", count)
        self._names = _ffi.new("char[]", count * name_size)
        # Buffers a power of two apart would all fall on the same lines of the processor's cache.
        stride = size + _CACHE_LINE - size % _CACHE_LINE + _CACHE_LINE
        # The kernel gives pages of this only as they are first used.
        self._space = _ffi.new("char[]", count * stride)
        for i in range(count):
            self.parts[i].iov_base = self._space + i * stride
            self.parts[i].iov_len = size
            header = self.headers[i].msg_hdr
            header.msg_name = self._names + i * name_size
            header.msg_namelen = name_size
            header.msg_iov = self.parts + i
            header.msg_iovlen = 1
        self.space = _ffi.buffer(self._space)
        self.names = _ffi.buffer(self._names)
        self.offsets = range(0, count * stride, stride)


class Batch:
    """Buffers to receive and to send up to `count` datagrams of at most `max_size` bytes on sockets of
    one family.

    Endpoints on one reactor may share a Batch: nothing stays in it between two calls.
    """

    def __init__(self, family: int, count: int = 64, max_size: int = 65535) -> None:
        self.count = count
        self.max_size = max_size
        self._name_size = _NAME_SIZE[socket.AddressFamily(family)]
        self._name_offsets = range(0, count * self._name_size, self._name_size)
        # One byte more than is allowed shows that a datagram was longer.
        self._incoming = _Vector(self._name_size, count, max_size + 1)
        self._outgoing = _Vector(self._name_size, count, max_size)
        words = memoryview(_ffi.buffer(self._incoming.headers)).cast("I")
        stride = _ffi.sizeof("struct mmsghdr") // words.itemsize
        self._received_sizes = words[_ffi.offsetof("struct mmsghdr", "msg_len") // words.itemsize :: stride]
        self._sent_sizes = memoryview(_ffi.buffer(self._outgoing.parts)).cast("L")[1::2]

    def receive(self, descriptor: int) -> list[tuple[bytes, Address]]:
        """Give what has arrived, at most `count` datagrams; [] for nothing yet. A pending error raises
        OSError.

        A datagram of more than `max_size` bytes is given cut to `max_size + 1`.
        """
        vector = self._incoming
        arrived = _libc.recvmmsg(descriptor, vector.headers, self.count, 0, _ffi.NULL)
        if arrived < 0:
            return self._failed(_ffi.errno)
        space = vector.space
        size = self._name_size
        names = vector.names[: arrived * size]
        sizes = self._received_sizes[:arrived].tolist()
        return [
            (space[start : start + length], names[name : name + size])
            for start, name, length in zip(vector.offsets, self._name_offsets, sizes, strict=False)
        ]

    def send(self, descriptor: int, datagrams: Datagrams) -> int:
        """Send up to `count` datagrams, in order; give how many were, 0 if the socket takes none now.

        Stops before the first one that fails; OSError if that is the first of all.
        """
        datagrams = datagrams[: self.count]
        wrong = self._unsendable(datagrams)
        if wrong is not None:
            position, number = wrong
            if position == 0:
                raise OSError(number, os.strerror(number))
            datagrams = datagrams[:position]
        count = len(datagrams)
        self._fill(datagrams)
        sent = _libc.sendmmsg(descriptor, self._outgoing.headers, count, 0)
        return sent if sent >= 0 else len(self._failed(_ffi.errno))

    def _fill(self, datagrams: Datagrams) -> None:
        vector = self._outgoing
        space = vector.space
        names = b"".join([address for _, address in datagrams])
        sizes = array("L", [len(data) for data, _ in datagrams])
        vector.names[: len(names)] = names
        self._sent_sizes[: len(sizes)] = sizes
        for start, length, (data, _) in zip(vector.offsets, sizes, datagrams, strict=False):
            space[start : start + length] = data

    def _unsendable(self, datagrams: Datagrams) -> tuple[int, int] | None:
        """Find the first datagram that does not fit the buffers: its position and the error number."""
        for position, (data, address) in enumerate(datagrams):
            if len(data) > self.max_size:
                return position, errno.EMSGSIZE
            if len(address) != self._name_size:
                return position, errno.EAFNOSUPPORT
        return None

    @staticmethod
    def _failed(number: int) -> list[tuple[bytes, Address]]:
        if number in _NOT_NOW:
            return []
        raise OSError(number, os.strerror(number))
