"""The words of Redis commands: operations and values in them, and what replies to the scripts mean.

A request is an array of byte strings (redis.io/docs/reference/protocol-spec).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from rtlib.store.interface import Append, Delete, Increment, Item, Operation, Put, Remove, Result

Request = tuple[bytes, ...]
"""The words of one command."""
Reply = bytes | str | int | list[Any] | None | Exception
"""What the server says; an Exception for an error. A status is str or bytes, as the decoder pleases."""

COUNTER_LIMIT: Final = 2**53 - 1
"""Scripts have no integers beyond this; a write that would bring a counter there is refused."""


def encode(request: Request) -> bytes:
    """The bytes of one request."""
    words = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in request])
    return b"*%d\r\n%b" % (len(request), words)


def seconds(time: float) -> bytes:
    """The text of a time, exact. ValueError for one that is not finite."""
    if not math.isfinite(time):
        raise ValueError(f"{time} is no time")
    return repr(float(time)).encode()


def pack(operations: Sequence[Operation]) -> list[bytes]:
    """The operations of one write, for WRITE. TypeError, ValueError: they cannot be stored."""
    words = [b"%d" % len(operations)]
    for operation in operations:
        words += _PACK[type(operation)](operation)
    return words


def results(outcome: bytes) -> list[Result] | None:
    """What WRITE says of one write; None if it was refused because of COUNTER_LIMIT."""
    if outcome == b"!":
        return None
    return [_RESULT[word] if word in _RESULT else int(word) for word in outcome.split(b",") if word]


def bounds(prefix: str, after: str) -> tuple[bytes, bytes]:
    """The bounds of SCAN for keys that begin with `prefix` and come after `after`."""
    lower = b"(" + after.encode() if after >= prefix and after else b"[" + prefix.encode()
    return lower, b"(" + prefix.encode() + b"\xff"  # which is in no UTF-8


def text(reply: Reply) -> bytes:
    """A status."""
    return reply.encode() if isinstance(reply, str) else _binary(reply)


def pair(reply: Reply) -> tuple[int, int]:
    """Two numbers in a status: from SIZE and EXPIRE."""
    first, second = text(reply).split()
    return int(first), int(second)


def pages(reply: Reply) -> list[list[tuple[str, bytes]]]:
    """Keys and values of each slot, from SCAN."""
    answer, place, found = _binary(reply), 0, []
    while place < len(answer):
        (count,) = struct.unpack_from(">I", answer, place)
        words, place = _words(answer, place + 4, 2 * count)
        found.append(
            [(key.decode(), value(stored)) for key, stored in zip(words[::2], words[1::2], strict=True)]
        )
    return found


def items(reply: Reply) -> list[Item]:
    """The items from QUEUE."""
    words, _ = _words(_binary(reply), 0, None)
    return [
        Item(int(sequence), name.decode(), value(stored), _expiry(stored))
        for sequence, name, stored in zip(words[::3], words[1::3], words[2::3], strict=True)
    ]


def living(reply: Reply, now: float) -> bytes | None:
    """The bytes of a stored value, unless there is none or it has expired."""
    if reply is None:
        return None
    stored = _binary(reply)
    expires = _expiry(stored)
    return value(stored) if expires is None or expires > now else None


def value(stored: bytes) -> bytes:
    """The bytes of a stored value."""
    return stored[stored.index(b" ") + 1 :]


def _binary(reply: Reply) -> bytes:
    if not isinstance(reply, bytes):
        raise TypeError(f"a string was expected, not {type(reply).__name__}")
    return reply


def _expiry(stored: bytes) -> float | None:
    expires = stored[: stored.index(b" ")]
    return float(expires) if expires else None


def _words(answer: bytes, place: int, count: int | None) -> tuple[list[bytes], int]:
    """So many byte strings from this place on (None: all), and the place behind them."""
    words: list[bytes] = []
    while place < len(answer) if count is None else len(words) < count:
        (length,) = struct.unpack_from(">I", answer, place)
        words.append(answer[place + 4 : place + 4 + length])
        place += 4 + length
    return words, place


def _fading(value: bytes, expires: float | None) -> tuple[bytes, bytes]:
    text = b"" if expires is None else seconds(expires)
    return text + b" " + value, text


def _increment(operation: Increment) -> Request:
    if not isinstance(operation.by, int) or abs(operation.by) > COUNTER_LIMIT:
        raise ValueError(f"{operation.by} is no step of a counter")
    return b"increment", operation.key.encode(), b"%d" % operation.by


_PACK: Final[dict[type, Callable[[Any], Request]]] = {
    Put: lambda put: (b"put", put.key.encode(), *_fading(put.value, put.expires)),
    Delete: lambda delete: (b"delete", delete.key.encode()),
    Increment: _increment,
    Append: lambda item: (
        b"append",
        item.queue.encode(),
        item.id.encode(),
        *_fading(item.value, item.expires),
    ),
    Remove: lambda item: (b"remove", item.queue.encode(), item.id.encode()),
}
_RESULT: Final[dict[bytes, Result]] = {b"-": None, b"t": True, b"f": False}
