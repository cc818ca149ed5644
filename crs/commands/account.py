"""`create account`, `list account`, `delete account` (manual 4.2 to 4.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec

from crs.commands.files import AccountFiles, AccountId, NewAccountId, check_account
from crs.commands.secret import Bits, Bytes, random_secret
from crs.commands.storing import store_errors
from rtlib.command.registry import BadArgument, Conflict, Option, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.accounts import Account, Accounts
    from crs.admins import Admins

Secret = Annotated[
    str | None, Option("-s", "--secret", help="Shared secret, in base64; one is made if there is none.")
]


class AccountRow(msgspec.Struct, frozen=True):
    """One account."""

    id: Annotated[str, Column("ID", "account ID")]
    path: Annotated[str, Column("path", "where its configuration and update files are")]
    secret: Annotated[str, Column("shared secret", "what the CMS must have as well", secret=True)]
    former_until: Annotated[
        datetime | None, Column("former until", "until when its former secret is valid, UTC", optional=True)
    ] = None


class AccountCommands:
    """Accounts: they work at once, and their files are on disk when the command ends."""

    def __init__(
        self, files: AccountFiles, admins: Admins, drop_clients: Callable[[str], Awaitable[None]]
    ) -> None:
        """`drop_clients(account)` closes their connections, and deletes what is kept of them."""
        self._files = files
        self._admins = admins
        self._accounts = files.accounts
        self._drop_clients = drop_clients

    @command("create account", role=Role.administrator)
    async def create(
        self, account_id: NewAccountId, *, secret: Secret = None, bits: Bits = None, octets: Bytes = None
    ) -> AccountRow:
        """Create an account; its clients can connect at once.

        Account ID and shared secret must be the same in the CMS.

        Example: crs-cli create account example -B32
        """
        from crs.accounts import Account

        check_account(account_id)
        value = given_secret(secret, bits, octets)
        async with self._files:
            if account_id in self._accounts:
                raise Conflict(f"account {account_id} exists already")
            # Of an account of this name there may be something left that could not be deleted.
            with store_errors(f"what is left of an account {account_id} cannot be deleted"):
                await self._drop_clients(account_id)
            account = Account(account_id, value, datetime.now(UTC))
            await self._files.do(self._accounts.write, account)
            self._accounts.add(account)
        return account_row(self._accounts, account)

    @command("list account", role=Role.administrator)
    def list(self) -> list[AccountRow]:
        """List the accounts with their shared secrets.

        Example: crs-cli list account
        """
        return [account_row(self._accounts, account) for account in self._accounts]

    @command("delete account", role=Role.administrator)
    async def delete(self, account_id: AccountId) -> None:
        """Delete an account for good, with its clients and their messages.

        Example: crs-cli delete account example
        """
        async with self._files:
            self._files.require(account_id)
            await self._files.do(self._admins.forget_account, account_id)
            await self._files.do(self._accounts.erase, account_id)
            self._accounts.remove(account_id)
            self._files.blacklists.forget(account_id)
            self._files.rooms.forget(account_id)
            with store_errors("the account is deleted, its clients' messages are not yet"):
                await self._drop_clients(account_id)


def account_row(accounts: Accounts, account: Account) -> AccountRow:
    """An account as it is listed."""
    from crs.accounts import encode_secret

    former = account.former.until if account.former is not None else None
    return AccountRow(account.name, str(accounts.path(account.name)), encode_secret(account.secret), former)


def given_secret(secret: str | None, bits: int | None, octets: int | None) -> bytes:
    """The secret that the options give or ask for. Raises BadArgument."""
    from crs.accounts import decode_secret

    if secret is None:
        return random_secret(bits, octets)
    if bits is not None or octets is not None:
        raise BadArgument("-b and -B make a secret and exclude -s")
    try:
        return decode_secret(secret)
    except ValueError as error:
        raise BadArgument(f"-s: {error}") from None
