"""The server's side of TLS-PSK straight on a socket: OpenSSL reads and writes the descriptor itself.

Of two copies and two objects of Python for each connection nothing is left, nor of the exceptions by which
pyOpenSSL says that there is nothing to read. One SSL_read is one record: who waits for the descriptor with
a level-triggered poll misses nothing.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.bindings.openssl.binding import Binding

from rtlib.psk import KeyLookup, ServerContext

_binding = Binding()
_lib: Any = _binding.lib
_ffi: Any = _binding.ffi

RECORD: Final = 16384
"""Bytes of application data that one record carries at most (RFC 8446 section 5.1)."""

_WANT: Final = (_lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_WANT_WRITE)
_CLOSED: Final = _lib.SSL_ERROR_ZERO_RETURN


class StreamError(Exception):
    """TLS has failed, or the connection was cut off; the text says how. The stream is of no use any more."""


class PskAcceptor:
    """Makes the streams of one listening socket."""

    __slots__ = ("buffer", "context")

    def __init__(self, keys: KeyLookup) -> None:
        self.context = ServerContext(keys)
        self.buffer = _ffi.new("char[]", RECORD)
        """What was read last, by whichever stream."""

    def accept(self, descriptor: int) -> PskStream:
        """The stream over a connected, non-blocking socket, whose owner closes it after the stream."""
        return PskStream(self, descriptor)


class PskStream:
    """One connection. Its owner must call `free`, last of all."""

    __slots__ = ("_acceptor", "_ssl", "identity")

    def __init__(self, acceptor: PskAcceptor, descriptor: int) -> None:
        self._acceptor = acceptor
        self.identity = b""
        """The identity that the client claims; proven once the handshake is done."""
        self._ssl = _lib.SSL_new(acceptor.context.pointer)
        if self._ssl == _ffi.NULL or _lib.SSL_set_fd(self._ssl, descriptor) != 1:
            raise MemoryError("OpenSSL has no memory for another connection")
        _lib.SSL_set_accept_state(self._ssl)

    def handshake(self) -> bool:
        """Go on with the handshake; False if it waits for the client. Raises StreamError."""
        context = self._acceptor.context
        context.accepting = self
        _lib.ERR_clear_error()
        result = _lib.SSL_do_handshake(self._ssl)
        context.accepting = None
        if result == 1:
            return True
        if _lib.SSL_get_error(self._ssl, result) in _WANT:
            return False
        raise _failed()

    def read(self) -> bytes | None:
        """One record's data; None if there is none yet, empty at the client's orderly end.

        Raises StreamError.
        """
        _lib.ERR_clear_error()
        size = _lib.SSL_read(self._ssl, self._acceptor.buffer, RECORD)
        if size > 0:
            data: bytes = _ffi.unpack(self._acceptor.buffer, size)
            return data
        error = _lib.SSL_get_error(self._ssl, size)
        if error in _WANT:
            return None
        if error == _CLOSED:
            return b""
        raise _failed()

    def write(self, data: bytes) -> int:
        """Send; give how many bytes were taken. The others must be offered again, first of all.

        Raises StreamError.
        """
        sent = 0
        while sent < len(data):
            rest = data[sent:] if sent else data
            _lib.ERR_clear_error()
            size = _lib.SSL_write(self._ssl, rest, len(rest))
            if size <= 0:
                if _lib.SSL_get_error(self._ssl, size) in _WANT:
                    break
                raise _failed()
            sent += size
        return sent

    def end(self) -> None:
        """Say that nothing more will be sent (close_notify); a peer that is gone need not hear it."""
        _lib.ERR_clear_error()
        _lib.SSL_shutdown(self._ssl)
        _lib.ERR_clear_error()

    def free(self) -> None:
        """Give the memory back; nothing else may be called afterwards."""
        _lib.SSL_free(self._ssl)
        self._ssl = _ffi.NULL


def _failed() -> StreamError:
    """What OpenSSL says of its last failure."""
    code = _lib.ERR_get_error()
    _lib.ERR_clear_error()
    if not code:
        return StreamError("the connection was cut off")
    reason = _lib.ERR_reason_error_string(code)
    return StreamError("TLS failed" if reason == _ffi.NULL else _ffi.string(reason).decode())
