"""Binding of sockets before the daemon starts, and a service that adopts a bound one.

A daemon binds everything while it can still say on stderr which address is taken, and before it drops
privileges.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec

from twisted.application.service import Service
from twisted.internet import unix
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket

from rtlib.address import join, pack

P = ParamSpec("P")

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes asked for a datagram socket's receive buffer; the kernel gives at most net.core.rmem_max, and
uses what arrives.
"""

_UNIX_PATH_MAX = 107
_REASONS = {
    errno.EADDRINUSE: "address already in use",
    errno.EADDRNOTAVAIL: "this host does not have that address",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "the directory does not exist",
    errno.EAFNOSUPPORT: "this host does not support that kind of address",
}


class ListenError(Exception):
    """A socket could not be bound: the text is the reason, `where` the address or path."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(reason)
        self.where = where


def listening(
    setting: str, bind: Callable[P, socket.socket], *args: P.args, **kwargs: P.kwargs
) -> socket.socket:
    """Call one of the `bind_` functions; its ListenError then reads "SETTING HOST:PORT: reason"."""
    try:
        return bind(*args, **kwargs)
    except ListenError as error:
        raise ListenError(f"{setting} {error.where}: {error}", error.where) from error


def bind_datagram(host: str, port: int, buffer: int = RECEIVE_BUFFER, *, dual: bool = False) -> socket.socket:
    """Give a non-blocking UDP socket bound to a numeric address; port 0 lets the kernel choose.

    With `dual`, one that listens on `::` takes IPv4 as well, as IPv4-mapped addresses.
    """
    sock = _make(host, port, socket.SOCK_DGRAM, dual)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    return _bound(sock, (host, port), join(host, port))


def bind_stream(host: str, port: int, backlog: int = 1024, *, dual: bool = False) -> socket.socket:
    """Give a non-blocking TCP socket that listens on a numeric address; port 0 lets the kernel choose.

    `dual` as for `bind_datagram`.
    """
    sock = _make(host, port, socket.SOCK_STREAM, dual)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _bound(sock, (host, port), join(host, port), backlog)


def bind_unix(path: str | os.PathLike[str], mode: int = 0o600, backlog: int = 64) -> socket.socket:
    """Give a listening UNIX stream socket whose file has `mode`; a file left by a process that died is
    replaced.
    """
    where = os.fspath(path)
    if len(os.fsencode(where)) > _UNIX_PATH_MAX:
        raise ListenError(f"the path is longer than {_UNIX_PATH_MAX} bytes", where)
    _remove_stale(Path(where))
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A chmod after the bind would leave a moment in which anybody can connect.
    mask = os.umask(0o777 & ~mode)
    try:
        return _bound(sock, where, where, backlog)
    finally:
        os.umask(mask)


class StreamPort(Service):
    """Accepts connections on a bound listening socket (TCP or UNIX) for as long as it runs, then closes
    it.

    Stopping also removes a UNIX socket's file. It does not close accepted connections: their factory's
    owner does.
    """

    def __init__(self, sock: socket.socket, factory: IProtocolFactory, reactor: IReactorSocket) -> None:
        self._socket = sock
        self._name: str | tuple[str, int] = sock.getsockname()
        self._factory = factory
        self._reactor = reactor
        self._port: IListeningPort | None = None

    @property
    def address(self) -> tuple[str, int] | str:
        """Host and port, or a UNIX socket's path."""
        return self._name if isinstance(self._name, str) else self._name[:2]

    def startService(self) -> None:
        """Begin to accept."""
        super().startService()
        adopt = _adopt_unix if isinstance(self._name, str) else _adopt_stream
        self._port = adopt(self._reactor, self._socket, self._factory)
        self._socket.close()  # the port has a copy of its own

    def stopService(self) -> Deferred[None]:
        """Stop accepting and close the socket."""
        super().stopService()
        port, self._port = self._port, None
        self._socket.close()
        if isinstance(self._name, str):
            with suppress(OSError):
                Path(self._name).unlink(missing_ok=True)
        return (port.stopListening() if port is not None else None) or succeed(None)


def _adopt_stream(reactor: Any, sock: socket.socket, factory: IProtocolFactory) -> IListeningPort:
    port: IListeningPort = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
    return port


def _adopt_unix(reactor: Any, sock: socket.socket, factory: IProtocolFactory) -> IListeningPort:
    port: Any = unix.Port._fromListeningDescriptor(reactor, sock.fileno(), factory)
    # Twisted makes the file accessible to everybody when the port starts (which also fails once
    # privileges are dropped), and unlinks it without looking. A name that is no file stops both.
    port._bindPath = b"\0" + port._bindPath
    port.startListening()
    adopted: IListeningPort = port
    return adopted


def _make(host: str, port: int, kind: socket.SocketKind, dual: bool) -> socket.socket:
    where = join(host, port)
    try:
        pack(host, port)
    except ValueError as error:
        raise ListenError(str(error), where) from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise ListenError(_reason(error), where) from error
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
    return sock


def _bound(
    sock: socket.socket, address: tuple[str, int] | str, where: str, backlog: int | None = None
) -> socket.socket:
    try:
        sock.setblocking(False)
        sock.bind(address)
        if backlog is not None:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError(_reason(error), where) from error
    return sock


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # bind() says what is wrong, if anything is
    if not stat.S_ISSOCK(mode):
        raise ListenError("a file that is not a socket is in the way", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        result = probe.connect_ex(str(path))
    if result != errno.ECONNREFUSED:
        raise ListenError("another process is listening there", str(path))
    path.unlink(missing_ok=True)
