"""`apply` and `show updates`: the accounts' monthly updates (manual 4.16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from crs.commands.files import AccountFiles
from rtlib.command.file import File
from rtlib.command.registry import Argument, CommandError, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.accounts import Accounts
    from crs.update.applied import Applied, Updates

UpdateFile = Annotated[File, Argument("Path to the protected update file.")]
ABSENT: Final = "Not Available"


class UpdatesRow(msgspec.Struct, frozen=True):
    """The updates of an account."""

    account: Annotated[str, Column("ACCOUNT", "account ID")]
    current: Annotated[str, Column("CURRENT MONTH", "when the update for this month was made, UTC")]
    next: Annotated[str, Column("NEXT MONTH", "when the update for the next month was made, UTC")]


class UpdateCommands:
    """Updates count at once, and are on disk when the command ends."""

    def __init__(self, files: AccountFiles, applied: Callable[[str], Awaitable[None]]) -> None:
        """`applied(account)` is told of a new update, which counts already."""
        self._files = files
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


def _apply(accounts: Accounts, file: File) -> tuple[str, Updates, Updates]:
    """Check and store an update; blocks. What was and what is to be applied of its account, by name.

    Raises NotFound, CommandError, UpdateError, ArchiveError.
    """
    from crs.update.protection import MAX_FILE, check_size, read_header, unprotect

    check_size(file.size)
    try:
        data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise CommandError(f"{file.name}: {error.strerror or error}") from error
    name = read_header(data).account
    account = accounts.get(name)
    if account is None:
        raise NotFound(f"{file.name}: the update file is for the account {name}, which is not here")
    content = unprotect(data, name, (account.secret,))
    return name, accounts.updates[name], accounts.updates.write(content, name, accounts.now())


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
