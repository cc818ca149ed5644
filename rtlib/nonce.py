"""Nonces of digest access authentication (RFC 7616 section 3.3), signed instead of kept."""

from __future__ import annotations

import hashlib
from binascii import a2b_base64, b2a_base64
from collections import OrderedDict
from collections.abc import Callable
from hmac import compare_digest
from struct import Struct
from typing import Final


class Nonces:
    """Nonces that are signed and expire, so that nothing is kept for those never used.

    For those used with qop, the highest nonce count is kept until they expire: a count must rise, so a
    recorded request cannot be replayed. `limit` bounds that table; beyond it the oldest nonce is
    expired early. `key` is 16 random bytes or more.
    """

    _HEAD: Final = Struct(">QQ")
    """When it was issued, in milliseconds, and a number."""

    def __init__(
        self, key: bytes, entropy: Callable[[int], bytes], *, lifetime: float = 300.0, limit: int = 65536
    ):
        # The key stands before what is signed: BLAKE2 needs no more than that, its own way with a key takes
        # twice the time, and both together are one block.
        self._signature = hashlib.blake2s(hashlib.sha256(key).digest(), digest_size=16)
        self._number = int.from_bytes(entropy(7), "big")
        self._lifetime = lifetime
        self._limit = limit
        self._used: OrderedDict[bytes, int] = OrderedDict()
        """Highest counts, by the nonces' heads."""
        self._due = 0.0
        """Before that none of them has to be looked at because of its age; milliseconds."""
        self._floor = 0
        self.dropped = 0
        """Nonces expired early because the table was full."""

    def issue(self, now: float) -> bytes:
        """A new nonce, in base64; `now` in seconds of any clock that `check` is given too."""
        self._number += 1
        head: bytes = self._HEAD.pack(int(now * 1000), self._number)
        return b2a_base64(head + self._sign(head), newline=False)

    def check(self, nonce: str, nc: int, now: float) -> bool:
        """Whether a nonce is ours, not too old, and `nc` is above all used with it; without qop `nc` is 0.

        A true answer uses `nc` up: ask only for credentials whose response is right.
        """
        try:
            raw = a2b_base64(nonce)
        except ValueError:
            return False
        head = raw[:16]
        if len(head) < 16 or not compare_digest(raw[16:], self._sign(head)):
            return False
        issued = int.from_bytes(head[:8], "big")
        time = now * 1000
        if issued < self._floor or not 0 <= time - issued <= self._lifetime * 1000:
            return False
        used = self._used
        if nc <= used.get(head, -1):
            return False
        used[head] = nc
        if time >= self._due or len(used) > self._limit:
            self._expire(now)
        return True

    def _expire(self, now: float) -> None:
        lifetime = self._lifetime * 1000
        while self._used:
            oldest = next(iter(self._used))
            issued: int = self._HEAD.unpack(oldest)[0]
            old = now * 1000 - issued > lifetime
            if not old and len(self._used) <= self._limit:
                self._due = issued + lifetime
                return
            del self._used[oldest]
            if not old:
                self._floor = max(self._floor, issued + 1)  # else its count could start again
                self.dropped += 1

    def _sign(self, head: bytes) -> bytes:
        signature = self._signature.copy()
        signature.update(head)
        return signature.digest()
