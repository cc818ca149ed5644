"""The caller's end of the command socket: blocking, standard library sockets, no Twisted."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from msgspec import UNSET

from rtlib.command.error import CommandError, Unavailable, from_kind
from rtlib.command.file import File
from rtlib.command.wire import Answer, Call, decode_answer, encode

TIMEOUT: Final = 60.0
"""Seconds to wait for the reply of a command that is not a stream."""

_ABSENT: Final = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})


class Client:
    """Calls commands of a running daemon, one connection for each call."""

    def __init__(self, name: str, path: Path) -> None:
        """`name` is the daemon's, for messages; `path` its command socket."""
        self._name = name
        self._path = path

    def call(self, command: str, arguments: Mapping[str, Any], timeout: float = TIMEOUT) -> Any:
        """The reply, as JSON values. Raises CommandError; Unavailable when no daemon answers."""
        with self._connect(timeout) as sock, self._request(sock, command, arguments) as lines:
            return next(self._answers(lines)).reply

    def stream(
        self,
        command: str,
        arguments: Mapping[str, Any],
        on_dropped: Callable[[int], None] = lambda count: None,
        on_begun: Callable[[], None] = lambda: None,
    ) -> Iterator[Any]:
        """The rows, as JSON values, until the daemon ends. Raises CommandError, also if rows were lost.

        `on_dropped` is told how many rows were lost, while it goes on; `on_begun` is called as soon as the
        daemon tells what happens.
        """
        with self._connect(None) as sock, self._request(sock, command, arguments) as lines:
            for answer in self._answers(lines):
                if answer.begun is not UNSET:
                    on_begun()
                elif answer.dropped is not UNSET:
                    on_dropped(answer.dropped)
                elif answer.row is UNSET:
                    if answer.end:
                        raise CommandError(f"{answer.end} events were left out: they came too fast")
                    return
                else:
                    yield answer.row

    def _connect(self, timeout: float | None) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        try:
            sock.connect(str(self._path))
        except OSError as error:
            sock.close()
            if error.errno in _ABSENT:
                raise Unavailable(f"{self._name} is not running (no answer at {self._path})") from None
            raise Unavailable(f"{self._path}: {error.strerror or error}") from None
        return sock

    def _request(self, sock: socket.socket, command: str, arguments: Mapping[str, Any]) -> IO[bytes]:
        files = [value.descriptor for value in arguments.values() if isinstance(value, File)]
        data = encode(Call(command, {key: _plain(value) for key, value in arguments.items()}))
        try:
            sent = socket.send_fds(sock, [data], files) if files else 0
            if sent < len(data):
                sock.sendall(data[sent:])
        except OSError as error:
            raise Unavailable(f"{self._name} closed the connection: {error.strerror or error}") from None
        return sock.makefile("rb")

    def _answers(self, lines: IO[bytes]) -> Iterator[Answer]:
        """The answer's lines. Raises CommandError for an error among them or an early end."""
        try:
            for line in lines:
                answer = decode_answer(line)
                if answer.error is not UNSET:
                    raise from_kind(answer.error.kind, answer.error.message)
                yield answer
        except TimeoutError:
            raise Unavailable(f"{self._name} did not answer in time") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise Unavailable(f"{self._name} gave no proper answer: {error}") from None
        raise Unavailable(f"{self._name} closed the connection without an answer")


def _plain(value: Any) -> Any:
    """A value as the request's line holds it: of a file only the name, for the file itself goes beside it."""
    return value.name if isinstance(value, File) else value
