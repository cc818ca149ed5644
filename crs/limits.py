"""Named limits: what one client, mailbox or address may use, for all or for the clients of an account.

A new one is a row here, its use, and its line in docs/crs-protocol.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from crs.signaling.message import MAX_MESSAGE, MAX_PARTIES


@dataclass(frozen=True)
class Bounds:
    """What a limit may be set to."""

    least: int
    most: int
    account: bool
    """Whether an account can have its own; not so where it holds for an address, or for the server."""
    about: str
    """What is limited, and in which unit."""


def _limit(default: int, least: int, most: int, about: str, *, account: bool = True) -> Any:
    return field(default=default, metadata={"bounds": Bounds(least, most, account, about)})


@dataclass(frozen=True)
class Limits:
    """The limits of one account's clients."""

    message_size: int = _limit(MAX_MESSAGE, 1024, MAX_MESSAGE, "bytes of one message of a client")
    outgoing_buffer: int = _limit(
        256 * 1024, 256 * 1024, 64 * 1024 * 1024, "bytes that may wait for a client that does not read"
    )
    requests_per_second: int = _limit(
        50, 1, 10_000, "requests of one client in the long run; four times as many at once"
    )
    invites_per_second: int = _limit(
        5, 1, 1000, "invites of one client in the long run; four times as many at once"
    )
    requests_waiting: int = _limit(
        256, 16, 4096, "requests of one connection that may wait for the disk at a time"
    )
    sessions_per_client: int = _limit(8, 1, 1000, "calls of one client at a time, groups and rooms included")
    group_members: int = _limit(
        MAX_PARTIES, 2, MAX_PARTIES, "clients in a group or room of this account, invited or joined"
    )
    rooms_per_client: int = _limit(1000, 0, 100_000, "conference rooms that one client owns")
    stored_items: int = _limit(256, 0, 4096, "items that one client keeps at the server")
    stored_bytes: int = _limit(
        1024 * 1024, 0, 256 * 1024 * 1024, "bytes of the items that one client keeps at the server"
    )
    mailbox_items: int = _limit(1000, 1, 100_000, "items that wait for one client")
    mailbox_bytes: int = _limit(
        16 * 1024 * 1024, MAX_MESSAGE, 1024 * 1024 * 1024, "bytes of the items that wait for one client"
    )
    message_lifetime: int = _limit(
        31 * 86400,
        1,
        31 * 86400,
        "seconds that a message waits for its recipient; senders may ask for less",
    )
    requests_per_address: int = _limit(
        1000,
        1,
        1_000_000,
        "requests per second of all clients at one address in the long run; four times as many at once",
        account=False,
    )
    handshakes_per_address: int = _limit(
        64, 1, 65535, "connections of one address that may be in their handshake", account=False
    )
    handshake_time: int = _limit(
        10, 1, 120, "seconds for TCP, TLS and WebSocket handshake together", account=False
    )
    connections: int = _limit(50_000, 1, 1_000_000, "connections of all clients", account=False)
    sessions: int = _limit(50_000, 1, 1_000_000, "calls of all clients at a time", account=False)


BOUNDS: Final[dict[str, Bounds]] = {
    each.name.replace("_", "-"): each.metadata["bounds"] for each in fields(Limits)
}
"""By the name that each limit has in settings."""


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
