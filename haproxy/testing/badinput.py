"""Bad SIP messages by kind, for tests and for long runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

GOOD: Final = (
    b"INVITE sip:100@192.0.2.1 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch=z9hG4bK%d\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:a@192.0.2.1>;tag=f\r\n"
    b"To: <sip:100@192.0.2.1>\r\n"
    b"Call-ID: %d\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Content-Length: 5\r\n\r\n12345"
)


def _good(dice: random.Random) -> bytes:
    number = dice.getrandbits(62)
    return GOOD % (number, number)


def _noise(dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice([1, 20, 500, 1400, 60_000]))


def _cut(dice: random.Random) -> bytes:
    whole = _good(dice)
    return whole[: dice.randrange(1, len(whole) - 5)]


def _flipped(dice: random.Random) -> bytes:
    whole = bytearray(_good(dice))
    for _ in range(dice.randrange(1, 8)):
        whole[dice.randrange(len(whole))] = dice.randrange(256)
    return bytes(whole)


def _swollen(dice: random.Random) -> bytes:
    return _good(dice).replace(b"CSeq", b"X: y\r\n" * dice.choice([100, 2000, 10_000]) + b"CSeq", 1)[:65_000]


def _lengths(dice: random.Random) -> bytes:
    wrong = dice.choice([b"-5", b"500", b"9" * 30, b"5\r\nContent-Length: 6", b"five", b""])
    return _good(dice).replace(b"Content-Length: 5", b"Content-Length: " + wrong)


def _strays(dice: random.Random) -> bytes:
    """Responses and ACKs to nothing."""
    if dice.random() < 0.5:
        return _good(dice).replace(b"INVITE", b"ACK")
    return b"SIP/2.0 200 OK\r\n" + _good(dice).partition(b"\r\n")[2]


_MAKERS: Final[dict[str, Callable[[random.Random], bytes]]] = {
    "noise": _noise,
    "cut": _cut,
    "flipped": _flipped,
    "swollen": _swollen,
    "lengths": _lengths,
    "strays": _strays,
}
KINDS: Final = tuple(_MAKERS)


def make(kind: str, dice: random.Random) -> bytes:
    """One bad message of a kind."""
    return _MAKERS[kind](dice)
