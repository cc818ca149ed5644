"""The clients that have ever attached ("observed"), and the message counters of each (`show message`).

That a client is observed is durable before its first attach succeeds. Counters are written
behind, at most SAVE_DELAY seconds late, several clients in one request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec

from crs.identity import Identity
from crs.signaling.event import Done, Failed, Full, Result, SaveClients, SaveCounts
from crs.signaling.outlet import Alarm, Outlet

SAVE_DELAY: Final = 5.0
SAVE_BATCH: Final = 200
SAVE_PAUSE: Final = 0.05
"""Seconds between two batches: thousands at once would hold everybody up."""
MAX_CLIENTS: Final = 1_000_000
"""Clients that may be known; each costs about 0.5 KiB of memory."""


MAX_CONFIRMED: Final = 4
"""Months whose confirmation is kept; a client is offered two at a time."""


class Confirmation(msgspec.Struct, frozen=True, array_like=True):
    """A client has stored its part of an update."""

    month: str
    created: int
    """When the update was made: UTC, milliseconds since 1970."""
    time: float
    """When the client confirmed it: UTC, seconds since 1970."""


class Record(msgspec.Struct):
    """What is kept of a client."""

    posted: int = 0
    delivered: int = 0
    """How many of the messages that it posted were confirmed by their receivers."""
    read: float = 0.0
    """When it last looked for messages: UTC, seconds since 1970; 0 for never."""
    system_posted: int = 0
    system_delivered: int = 0
    """The same of its system messages, which the others do not count."""
    confirmed: tuple[Confirmation, ...] = ()
    """Its latest confirmation of an update of each month, by month."""
    statistics: dict[str, int] | None = None
    """How often what happened that statistics count, for an account that has them on."""


_decode: Final = msgspec.msgpack.Decoder(Record).decode
_encode: Final = msgspec.msgpack.Encoder().encode


class Directory:
    """Knows every observed client; loaded at start, before the first connection."""

    def __init__(self, outlet: Outlet, is_connected: Callable[[str, str], bool]) -> None:
        """`is_connected` tells whether clients of two accounts may reach each other."""
        self._outlet = outlet
        self.is_connected = is_connected
        self._records: dict[Identity, Record] = {}
        self._dirty: dict[Identity, None] = {}
        self._timer: Alarm | None = None

    def __contains__(self, client: Identity) -> bool:
        return client in self._records

    def knows(self, client: Identity, account: str) -> bool:
        """Whether a client can be reached by those of an account.

        Who asks is not told whether a client is unknown or of a domain that is not connected.
        """
        return client in self._records and self.is_connected(account, client.account)

    def __iter__(self) -> Iterator[tuple[Identity, Record]]:
        return iter(list(self._records.items()))

    def __len__(self) -> int:
        return len(self._records)

    def load(self, client: Identity, value: bytes) -> None:
        """Take a record that was saved by an earlier run. Raises ValueError if it is none."""
        self._records[client] = _read(value)

    def load_counts(self, client: Identity, value: bytes) -> None:
        """Take the counts of a known client from where they are kept apart. Raises ValueError.

        Confirmations are not theirs: what is expendable must not take the place of what is durable.
        """
        counts = _read(value)
        counts.confirmed = self._records[client].confirmed
        self._records[client] = counts

    def observe(self, client: Identity, then: Callable[[str | None, float], None], now: float) -> None:
        """Have a client known, durably; then `then(why it failed or None, now)`."""
        if client in self._records:
            then(None, now)
            return
        if len(self._records) >= MAX_CLIENTS:
            then(f"this server knows {MAX_CLIENTS} clients, its limit", now)
            return

        def observed(result: Result, now: float) -> None:
            if isinstance(result, Done):
                self._records.setdefault(client, Record())
            then(_reason(result), now)

        self._outlet.ask(lambda token: SaveClients(token, ((client, _encode(Record())),)), observed)

    def posted(self, client: Identity, now: float, *, system: bool) -> None:
        """A message of this client is on disk."""
        record = self._changed(client, now)
        if record is not None and system:
            record.system_posted += 1
        elif record is not None:
            record.posted += 1

    def delivered(self, client: Identity, now: float, *, system: bool) -> None:
        """A message of this client was confirmed by its receiver."""
        record = self._changed(client, now)
        if record is not None and system:
            record.system_delivered += 1
        elif record is not None:
            record.delivered += 1

    def read(self, client: Identity, wall: float, now: float) -> None:
        """This client looks for messages, at the UTC time `wall`."""
        record = self._changed(client, now)
        if record is not None:
            record.read = wall

    def count(self, client: Identity, kind: str, now: float) -> None:
        """Add one to a client's statistics."""
        record = self._changed(client, now)
        if record is not None:
            if record.statistics is None:
                record.statistics = {}
            record.statistics[kind] = record.statistics.get(kind, 0) + 1

    def counts(self, client: Identity) -> Mapping[str, int]:
        """A client's statistics, by kind."""
        record = self._records.get(client)
        return (record.statistics if record is not None else None) or {}

    def clear_counts(self, client: Identity, now: float) -> None:
        """Set a client's statistics to zero."""
        record = self._records.get(client)
        if record is not None and record.statistics:
            record.statistics = None
            self._changed(client, now)

    def confirmation(self, client: Identity, month: str, created: int) -> Confirmation | None:
        """That a client has stored its part of just this update."""
        record = self._records.get(client)
        if record is None:
            return None
        found = (each for each in record.confirmed if (each.month, each.created) == (month, created))
        return next(found, None)

    def confirm(
        self, client: Identity, confirmation: Confirmation, then: Callable[[str | None, float], None]
    ) -> None:
        """Have a confirmation kept, durably; then `then(why it failed or None, now)`."""
        record = self._records[client]
        kept = [each for each in record.confirmed if each.month != confirmation.month]
        record.confirmed = tuple(sorted((*kept, confirmation), key=_month)[-MAX_CONFIRMED:])

        def saved(result: Result, now: float) -> None:
            if not isinstance(result, Done):
                # What is not on disk does not count: the client will confirm it again.
                record.confirmed = tuple(each for each in record.confirmed if each is not confirmation)
            then(_reason(result), now)

        self._outlet.ask(lambda token: SaveClients(token, ((client, _encode(record)),)), saved)

    def forget_client(self, client: Identity) -> Record | None:
        """Forget a client; the caller deletes what is stored of it. What was known, for `put_back`."""
        self._dirty.pop(client, None)
        return self._records.pop(client, None)

    def put_back(self, client: Identity, record: Record) -> None:
        """What is stored of a client could not be deleted: it is known again."""
        self._records.setdefault(client, record)

    def forget(self, account: str) -> list[Identity]:
        """Forget the clients of an account and return them; the caller deletes what is stored of them."""
        forgotten = [client for client in self._records if client.account == account]
        for client in forgotten:
            self.forget_client(client)
        return forgotten

    def save(self, now: float) -> None:
        """Ask to write every changed record now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dirty, self._dirty = list(self._dirty), {}
        for start in range(0, len(dirty), SAVE_BATCH):
            self._save(dirty[start : start + SAVE_BATCH])

    def _save_some(self, now: float) -> None:
        """Ask to write one batch, and the next one a little later."""
        self._timer = None
        batch = list(islice(self._dirty, SAVE_BATCH))
        for client in batch:
            del self._dirty[client]
        if batch:
            self._save(batch)
        if self._dirty:
            self._timer = self._outlet.at(now + SAVE_PAUSE, self._save_some)

    def _save(self, clients: list[Identity]) -> None:
        records = tuple((client, _encode(self._records[client])) for client in clients)

        def saved(result: Result, now: float) -> None:
            if not isinstance(result, Done):
                for client in clients:
                    self._changed(client, now)

        self._outlet.ask(lambda token: SaveCounts(token, records), saved)

    def _changed(self, client: Identity, now: float) -> Record | None:
        """The record to change, which will be saved soon; None for a client whose account was deleted."""
        record = self._records.get(client)
        if record is None:
            return None
        self._dirty[client] = None
        if self._timer is None:
            self._timer = self._outlet.at(now + SAVE_DELAY, self._save_some)
        return record


def _read(value: bytes) -> Record:
    try:
        return _decode(value)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def _month(confirmation: Confirmation) -> str:
    return confirmation.month


def _reason(result: Result) -> str | None:
    if isinstance(result, Done):
        return None
    return result.reason if isinstance(result, Failed | Full) else "the store gave no answer"
