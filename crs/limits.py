"""Named limits: what one client, mailbox or address may use, for all or for the clients of an account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from crs.signaling.message import MAX_MESSAGE


@dataclass(frozen=True)
class Limits:
    """The limits of one account's clients."""

    message_size: int = MAX_MESSAGE
    """Bytes of one WebSocket message."""
    outgoing_buffer: int = 256 * 1024
    """Bytes that may wait for a client that does not read."""
    requests_per_second: int = 50
    """Of one connection in the long run; four times as many at once."""
    requests_per_address: int = 1000
    """Requests per second of one address, all its connections together; four times as many at once."""
    handshakes_per_address: int = 64
    """Connections of one address that may be in their handshake."""
    handshake_time: int = 10
    """Seconds for TCP, TLS and WebSocket handshake together."""
    sessions_per_client: int = 8
    """Calls at a time."""
    stored_bytes: int = 1024 * 1024
    """Of the items that a client keeps at the server, together."""
    mailbox_items: int = 1000
    """Items that wait for one client."""
    mailbox_bytes: int = 16 * 1024 * 1024
    """Of the items that wait for one client, together."""
    message_lifetime: int = 31 * 86400
    """Seconds that a message waits for its recipient; its sender may ask for less."""


BOUNDS: Final = {
    "message-size": (1024, MAX_MESSAGE),
    "outgoing-buffer": (256 * 1024, 64 * 1024 * 1024),
    "requests-per-second": (1, 10_000),
    "requests-per-address": (1, 1_000_000),
    "handshakes-per-address": (1, 65535),
    "handshake-time": (1, 120),
    "sessions-per-client": (1, 1000),
    "stored-bytes": (0, 256 * 1024 * 1024),
    "mailbox-items": (1, 100_000),
    "mailbox-bytes": (MAX_MESSAGE, 1024 * 1024 * 1024),
    "message-lifetime": (1, 31 * 86400),
}
"""The least and the most that each may be set to, by the name that it has in settings."""

OF_ADDRESSES: Final = frozenset({"requests-per-address", "handshakes-per-address", "handshake-time"})
"""Those that hold for an address, or before it is known who the client is: no account has its own."""


class LimitTable:
    """The limits of every account, replaced as a whole when settings are read again."""

    def __init__(self, rows: Iterable[tuple[str, int, str | None]] = ()) -> None:
        """`rows`: name, value, account; None for all accounts that have no row of their own."""
        self.reached: Counter[str] = Counter()
        """How often each was reached."""
        self.general = Limits()
        """Those of whoever has none of his own."""
        self._accounts: dict[str, Limits] = {}
        self.replace(rows)

    def of(self, account: str) -> Limits:
        """The limits of an account's clients."""
        return self._accounts.get(account, self.general)

    def replace(self, rows: Iterable[tuple[str, int, str | None]]) -> None:
        """From now on these hold."""
        everybody: dict[str, int] = {}
        accounts: dict[str, dict[str, int]] = {}
        for name, value, account in rows:
            chosen = everybody if account is None else accounts.setdefault(account, {})
            chosen[name.replace("-", "_")] = value
        self.general = replace(Limits(), **everybody)
        self._accounts = {account: replace(self.general, **own) for account, own in accounts.items()}
