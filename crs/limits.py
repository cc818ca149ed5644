"""What one client may use of the server: named limits, for all clients or for those of an account."""

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
    """In the long run; four times as many at once."""
    sessions_per_client: int = 8
    """Calls at a time."""
    stored_bytes: int = 1024 * 1024
    """Of the items that a client keeps at the server, together."""


BOUNDS: Final = {
    "message-size": (1024, MAX_MESSAGE),
    "outgoing-buffer": (256 * 1024, 64 * 1024 * 1024),
    "requests-per-second": (1, 10_000),
    "sessions-per-client": (1, 1000),
    "stored-bytes": (0, 256 * 1024 * 1024),
}
"""The least and the most that each may be set to, by the name that it has in settings."""


class LimitTable:
    """The limits of every account, replaced as a whole when settings are read again."""

    def __init__(self, rows: Iterable[tuple[str, int, str | None]] = ()) -> None:
        """`rows`: name, value, account; None for all accounts that have no row of their own."""
        self.reached: Counter[str] = Counter()
        """How often each was reached."""
        self._general = Limits()
        self._accounts: dict[str, Limits] = {}
        self.replace(rows)

    def of(self, account: str) -> Limits:
        """The limits of an account's clients."""
        return self._accounts.get(account, self._general)

    def replace(self, rows: Iterable[tuple[str, int, str | None]]) -> None:
        """From now on these hold."""
        everybody: dict[str, int] = {}
        accounts: dict[str, dict[str, int]] = {}
        for name, value, account in rows:
            chosen = everybody if account is None else accounts.setdefault(account, {})
            chosen[name.replace("-", "_")] = value
        self._general = replace(Limits(), **everybody)
        self._accounts = {account: replace(self._general, **own) for account, own in accounts.items()}
