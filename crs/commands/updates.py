"""`apply` and `show updates`: the accounts' monthly updates (manual 4.16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from crs.batch import batches
from crs.commands.files import AccountFiles, AccountId
from crs.identity import Identity
from rtlib.command.file import File
from rtlib.command.registry import Argument, CommandError, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.accounts import Accounts
    from crs.signaling.directory import Directory
    from crs.update.applied import Applied, Updates
    from crs.update.content import Outline

UpdateFile = Annotated[File, Argument("Path to the protected update file.")]
ABSENT: Final = "Not Available"


class UpdatesRow(msgspec.Struct, frozen=True):
    """The updates of an account."""

    account: Annotated[str, Column("Account", "account ID")]
    current: Annotated[str, Column("Current Month", "when the update for this month was made, UTC")]
    next: Annotated[str, Column("Next Month", "when the update for the next month was made, UTC")]


class MonthRow(msgspec.Struct, frozen=True):
    """An update, and what the clients have of it."""

    month: Annotated[str, Column("MONTH", "the month that it is for")]
    created: Annotated[datetime, Column("CREATED", "when it was made, UTC")]
    listed: Annotated[int, Column("LISTED", "clients that it lists")]
    offered: Annotated[int, Column("OFFERED", "those of them that it holds something for")]
    confirmed: Annotated[int, Column("CONFIRMED", "those of them that have confirmed to have stored it")]


class UpdateCommands:
    """Updates count at once, and are on disk when the command ends."""

    def __init__(
        self,
        files: AccountFiles,
        directory: Directory,
        *,
        applied: Callable[[str], Awaitable[None]],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        """`applied(account)` is told of a new update, which counts already; `pause()` lets others be
        served.
        """
        self._files = files
        self._directory = directory
        self._pause = pause
        self._accounts = files.accounts
        self._applied = applied

    @command("apply")
    async def apply(self, update_file: UpdateFile) -> str:
        """Apply a monthly update, which the account's CMS has made.

        Clients that it does not list any more are turned away at once. A file that is damaged, made with
        another secret, for an account that is not here, or older than what is applied is refused, and
        nothing changes.

        Example: crs-cli apply /opt/crs/accounts/2026-11.upd
        """
        async with self._files:
            account, before, after = await self._files.do(_apply, self._accounts, update_file)
            self._accounts.updates.put(account, after)
        changed = [each for each in after.applied.values() if each not in before.applied.values()]
        if not changed:
            return f"{update_file.name}: this update of {account} is applied already; nothing has changed"
        await self._applied(account)
        return _told(account, changed[0])

    @command("show updates", role=Role.viewer)
    def show(self) -> list[UpdatesRow]:
        """Show when the applied updates of each account were made, for the current and the next month.

        Example: crs-cli show updates
        """
        month = self._accounts.month()
        archive = self._accounts.updates
        return [
            UpdatesRow(
                account.name,
                _created(archive[account.name].get(month)),
                _created(archive[account.name].get(month.next)),
            )
            for account in self._accounts
        ]

    @command("show update", role=Role.viewer)
    async def show_one(self, account_id: AccountId) -> list[MonthRow]:
        """Show the applied updates of an account, and how many clients have confirmed them.

        Example: crs-cli show update example
        """
        self._files.require(account_id)
        applied = self._accounts.updates[account_id].applied
        return [await self._row(account_id, update.outline) for _, update in sorted(applied.items())]

    @command("update-notification enable")
    async def enable(self, account_id: AccountId) -> None:
        """Tell attached clients of the account at once when an update for them is applied.

        By default they are told when they attach next.

        Example: crs-cli update-notification enable example
        """
        await self._notify(account_id, True)

    @command("update-notification disable")
    async def disable(self, account_id: AccountId) -> None:
        """Tell clients of the account of a new update only when they attach, which is the default.

        Example: crs-cli update-notification disable example
        """
        await self._notify(account_id, False)

    async def _notify(self, account: str, enabled: bool) -> None:
        from dataclasses import replace

        await self._files.change(account, lambda old: replace(old, update_notification=enabled))

    async def _row(self, account: str, outline: Outline) -> MonthRow:
        month, created = str(outline.month), outline.head.created
        offered = confirmed = 0
        for batch in batches(list(outline)):
            for uri in batch:
                span = outline.span(uri)
                if span is not None and span[1]:
                    offered += 1
                    done = self._directory.confirmation(Identity(uri, account), month, created)
                    confirmed += done is not None
            await self._pause()
        return MonthRow(month, outline.created, len(outline), offered, confirmed)


def _apply(accounts: Accounts, file: File) -> tuple[str, Updates, Updates]:
    """Check and store an update; blocks. What was and what is to be applied of its account, by name.

    Raises NotFound, CommandError, ArchiveError.
    """
    from crs.update.error import UpdateError
    from crs.update.protection import MAX_FILE, check_size, read_header, unprotect

    try:
        check_size(file.size)
        data = file.read(MAX_FILE + 1)
        name = read_header(data).account
        account = accounts.get(name)
        if account is None:
            raise NotFound(f"{file.name}: the update file is for the account {name}, which is not here")
        content = unprotect(data, name, account.secrets(accounts.now()))
        return name, accounts.updates[name], accounts.updates.write(content, name, accounts.now())
    except UpdateError as error:
        raise CommandError(f"{file.name}: {error}") from error
    except OSError as error:
        raise CommandError(f"{file.name}: {error.strerror or error}") from error


def _told(account: str, update: Applied) -> str:
    outline = update.outline
    kept = "those that are not listed are turned away" if outline.head.listed_only else "others are admitted"
    return (
        f"the update of {account} for {outline.month}, made {_text(outline.created)}, is applied: "
        f"{len(outline)} clients are listed, {kept}"
    )


def _created(update: Applied | None) -> str:
    return ABSENT if update is None else _text(update.outline.created)


def _text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
