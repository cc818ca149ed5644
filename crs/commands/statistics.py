"""`stats`: how much the clients of an account call and write (manual 5.4). Off unless switched on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from crs.batch import batches
from crs.commands.files import AccountFiles, AccountId
from crs.identity import Identity, is_test_client
from crs.statistics import KINDS
from rtlib.command.registry import command
from rtlib.command.render import Column
from rtlib.command.report import Report
from rtlib.command.tsv import tsv

if TYPE_CHECKING:
    from crs.accounts import Accounts
    from crs.signaling.directory import Directory
    from crs.update.applied import Applied


class StatisticsRow(msgspec.Struct, frozen=True):
    """A client's statistics."""

    tel_uri: Annotated[str, Column("tel-uri", "client URI")]
    session_outgoing: Annotated[int, Column("session-outgoing", "outgoing sessions")]
    session_incoming: Annotated[int, Column("session-incoming", "incoming sessions")]
    message_outgoing: Annotated[int, Column("message-outgoing", "outgoing messages")]
    message_incoming: Annotated[int, Column("message-incoming", "incoming messages")]
    system_outgoing: Annotated[int, Column("system-outgoing", "outgoing system messages")]
    system_incoming: Annotated[int, Column("system-incoming", "incoming system messages")]
    conference_calls: Annotated[int, Column("conference-calls", "conference calls")]
    initiated_multi_session: Annotated[
        int, Column("initiated-multi-session", "sessions with several media streams that it began")
    ]
    accepted_multi_session: Annotated[
        int, Column("accepted-multi-session", "sessions with several media streams that it accepted")
    ]
    sent_group_call_invite: Annotated[int, Column("sent-group-call-invite", "group call invites sent")]
    accepted_group_call_invite: Annotated[
        int, Column("accepted-group-call-invite", "group call invites accepted")
    ]
    current_offered: Annotated[
        bool, Column("current-offered", "whether there is this month's crypto update to offer")
    ]
    current_confirmed: Annotated[bool, Column("current-confirmed", "whether the client has accepted it")]
    next_offered: Annotated[
        bool, Column("next-offered", "whether there is next month's crypto update to offer")
    ]
    next_confirmed: Annotated[bool, Column("next-confirmed", "whether the client has accepted it")]


class StatisticsCommands:
    """Reads and clears the counts in the directory; the switch is in the account's file."""

    def __init__(
        self,
        files: AccountFiles,
        directory: Directory,
        *,
        now: Callable[[], float],
        flush: Callable[[], None],
        pause: Callable[[], Awaitable[object]],
    ) -> None:
        """`now` is the machine's clock; `flush()` has it do what is due, `pause()` lets others be served."""
        self._files = files
        self._accounts: Accounts = files.accounts
        self._directory = directory
        self._now = now
        self._flush = flush
        self._pause = pause

    @command("stats enable")
    async def enable(self, account_id: AccountId) -> None:
        """Collect statistics of an account from now on.

        Example: crs-cli stats enable example
        """
        await self._switch(account_id, enabled=True)

    @command("stats disable")
    async def disable(self, account_id: AccountId) -> None:
        """Collect no more statistics of an account, which is the default; what was counted is kept.

        Example: crs-cli stats disable example
        """
        await self._switch(account_id, enabled=False)

    @command("stats clear")
    async def clear(self, account_id: AccountId) -> None:
        """Set the statistics of an account to zero.

        Example: crs-cli stats clear example
        """
        self._files.require(account_id)
        for batch in batches(self._clients(account_id)):
            for client in batch:
                self._directory.clear_counts(client, self._now())
            self._flush()
            await self._pause()

    @command("stats export")
    async def export(self, account_id: AccountId) -> Report:
        """Print the statistics of an account as tab-separated values, with a heading line.

        Example: crs-cli stats export example > output.txt
        """
        self._files.require(account_id)
        rows = []
        for batch in batches(sorted(self._members(account_id))):
            rows += [self._row(Identity(uri, account_id)) for uri in batch]
            await self._pause()
        return tsv(rows, StatisticsRow)

    async def _switch(self, account: str, *, enabled: bool) -> None:
        from dataclasses import replace

        await self._files.change(account, lambda old: replace(old, statistics=enabled))

    def _clients(self, account: str) -> list[Identity]:
        """Who has ever attached."""
        return [
            client
            for client, _ in self._directory
            if client.account == account and not is_test_client(client.uri)
        ]

    def _members(self, account: str) -> set[str]:
        """Who has ever attached, and whom the updates list."""
        known = {client.uri for client in self._clients(account)}
        return known.union(*(update.outline for update in self._updates(account) if update is not None))

    def _row(self, client: Identity) -> StatisticsRow:
        counts = self._directory.counts(client)
        numbers: dict[str, Any] = {kind.replace("-", "_"): counts.get(kind, 0) for kind in KINDS}
        current, following = (self._state(client, update) for update in self._updates(client.account))
        return StatisticsRow(
            tel_uri=client.uri,
            **numbers,
            current_offered=current[0],
            current_confirmed=current[1],
            next_offered=following[0],
            next_confirmed=following[1],
        )

    def _updates(self, account: str) -> Iterator[Applied | None]:
        """The updates of this month and the next."""
        month = self._accounts.month()
        return map(self._accounts.updates[account].get, (month, month.next))

    def _state(self, client: Identity, update: Applied | None) -> tuple[bool, bool]:
        """Whether there is an update for a client, and whether the client has confirmed it."""
        span = None if update is None else update.outline.span(client.uri)
        if update is None or span is None or not span[1]:
            return False, False
        month, created = str(update.outline.month), update.outline.head.created
        return True, self._directory.confirmation(client, month, created) is not None
