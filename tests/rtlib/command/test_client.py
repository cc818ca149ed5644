"""The client against peers that do not behave."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from rtlib.command.client import Client
from rtlib.command.error import CommandError, NotFound, Unavailable


def answering(path: Path, answer: bytes) -> threading.Thread:
    """Accept one connection, read its request, answer these bytes, close."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.makefile("rb").readline()
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"", Unavailable, "toy closed the connection without an answer"),
        (b"garbage\n", Unavailable, "toy gave no proper answer"),
        (b'{"reply": ', Unavailable, "toy gave no proper answer"),
        (b'{"error":{"kind":"not-found","message":"no such"}}\n', NotFound, "no such"),
        (b'{"error":{"kind":"new-kind","message":"text"}}\n', CommandError, "text"),
    ],
)
def test_bad_answers(tmp_path: Path, answer: bytes, error: type[CommandError], text: str) -> None:
    thread = answering(tmp_path / "s", answer)
    with pytest.raises(error, match=text):
        Client("toy", tmp_path / "s").call("x", {})
    thread.join(5)


def test_rows_then_an_early_end(tmp_path: Path) -> None:
    thread = answering(tmp_path / "s", b'{"row":1}\n{"row":null}\n')
    rows = Client("toy", tmp_path / "s").stream("x", {})
    assert next(rows) == 1
    assert next(rows) is None
    with pytest.raises(Unavailable, match="closed the connection"):
        next(rows)
    thread.join(5)


def test_lost_rows_are_told_at_the_end(tmp_path: Path) -> None:
    thread = answering(tmp_path / "s", b'{"row":1}\n{"end":7}\n')
    rows = Client("toy", tmp_path / "s").stream("x", {})
    assert next(rows) == 1
    with pytest.raises(CommandError, match="7 events were left out"):
        next(rows)
    thread.join(5)


def test_a_socket_that_may_not_be_opened(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200)
    with pytest.raises(Unavailable, match="too long"):
        Client("toy", path).call("x", {})
