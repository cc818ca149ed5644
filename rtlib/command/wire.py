"""The command socket's language, for both ends: one JSON object on one line, then the answer's lines.

A connection carries one request. It is answered by one `Answer` line or, when the reply is a
stream, by a line that it has `begun`, a line for each row, lines that tell how many rows were
`dropped`, and a last one that has `end`. Then the server closes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

MAX_REQUEST: Final = 1024 * 1024
"""Bytes of a request line."""


class Call(Struct, forbid_unknown_fields=True):
    """A request: a command's name and its arguments by Python name."""

    command: str
    arguments: dict[str, Any] = {}


class Problem(Struct):
    """Why a command failed: a kind of `rtlib.command.error` and a sentence."""

    kind: str
    message: str


class Answer(Struct, omit_defaults=True):
    """One line of an answer; exactly one of these is set."""

    reply: Any = UNSET
    begun: bool | UnsetType = UNSET
    """The stream is there: what happens from now on is told."""
    row: Any = UNSET
    dropped: int | UnsetType = UNSET
    """How many rows were dropped since this was told last, because the reader was too slow."""
    end: int | UnsetType = UNSET
    """After the last row: how many rows were dropped in all."""
    error: Problem | UnsetType = UNSET


class MalformedCall(ValueError):
    """The line is not a `Call`; the text says why."""


_encode: Final = msgspec.json.Encoder().encode
_call: Final = msgspec.json.Decoder(Call)
_answer: Final = msgspec.json.Decoder(Answer)


def encode(item: Call | Answer) -> bytes:
    """One line. Raises TypeError for a reply that JSON cannot hold: a defect of the command."""
    return _encode(item) + b"\n"


def decode_call(line: bytes) -> Call:
    """The request in a line. Raises MalformedCall."""
    try:
        return _call.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedCall(str(error)) from None


def decode_answer(line: bytes) -> Answer:
    """A line of the answer. Raises msgspec.MsgspecError."""
    return _answer.decode(line)
