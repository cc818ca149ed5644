"""Remote administrators, their accounts and authorizations (manual 4.9, 5.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from crs.commands.files import AccountFiles, AccountId, check_account
from crs.commands.secret import random_secret
from crs.identity import is_account
from rtlib.command.registry import Argument, BadArgument, Conflict, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.admins import Admin, Admins

MAX_ADMINS: Final = 1000

NewName = Annotated[str, Argument("At most 20 of the characters a-z, A-Z, 0-9, - and _.")]
Name = Annotated[str, Argument("The administrator's name.", completes="admin")]
Authorization = Annotated[
    Literal["update", "statistics"],
    Argument("update: apply monthly updates; statistics: manage the account's statistics."),
]


class AdminsRow(msgspec.Struct, frozen=True):
    """An administrator."""

    admin: Annotated[str, Column("Admin", "the administrator's name")]
    accounts: Annotated[list[str], Column("Accounts", "the accounts that the administrator has access to")]


class AdminRow(msgspec.Struct, frozen=True):
    """An administrator's secret."""

    name: Annotated[str, Column("Name", "the administrator's name")]
    secret: Annotated[str, Column("Secret", "the secret to log in with", secret=True)]


class AdminAccountRow(msgspec.Struct, frozen=True):
    """What an administrator may do on an account."""

    account: Annotated[str, Column("Account", "account ID")]
    authorizations: Annotated[list[str], Column("Authorizations", "what the administrator is authorized to")]


class AdminCommands:
    """Changes are on disk when the command ends."""

    def __init__(self, files: AccountFiles, admins: Admins) -> None:
        self._files = files
        self._admins = admins

    @command("create admin", role=Role.administrator)
    async def create(self, name: NewName) -> AdminRow:
        """Create an administrator with a secret of its own, and no access yet.

        Example: crs-cli create admin alice
        """
        from crs.admins import Admin

        if not is_account(name):
            raise BadArgument("name: must be 1 to 20 of the characters a-z, A-Z, 0-9, - and _")
        async with self._files:
            there = await self._files.do(self._admins.all)
            if any(admin.name == name for admin in there):
                raise Conflict(f"administrator {name} exists already")
            if len(there) >= MAX_ADMINS:
                raise Conflict(f"there are {MAX_ADMINS} administrators, the limit")
            admin = Admin(name, random_secret(None, None), datetime.now(UTC))
            await self._files.do(self._admins.write, admin)
        return _row(admin)

    @command("delete admin", role=Role.administrator)
    async def delete(self, name: Name) -> None:
        """Delete an administrator.

        Example: crs-cli delete admin alice
        """
        async with self._files:
            there = is_account(name) and await self._files.do(self._admins.erase, name)
        if not there:
            raise NotFound(f"there is no administrator {name}")

    @command("show admins", role=Role.viewer)
    async def show_all(self) -> list[AdminsRow]:
        """List the administrators.

        Example: crs-cli show admins
        """
        return [AdminsRow(admin.name, sorted(admin.accounts)) for admin in await self._all()]

    @command("show admin", role=Role.administrator)
    async def show(self, name: Name) -> list[AdminRow]:
        """Show an administrator's secret.

        Example: crs-cli show admin alice
        """
        return [_row(await self._find(name))]

    @command("show admin-accounts", role=Role.viewer)
    async def show_accounts(self, name: Name) -> list[AdminAccountRow]:
        """Show what an administrator has access to, and is authorized to.

        Example: crs-cli show admin-accounts alice
        """
        admin = await self._find(name)
        return [AdminAccountRow(account, sorted(words)) for account, words in sorted(admin.accounts.items())]

    @command("add admin-account", role=Role.administrator)
    async def add_account(self, name: Name, account_id: AccountId) -> None:
        """Give an administrator access to an account, without any authorization yet.

        Example: crs-cli add admin-account alice example
        """
        async with self._files:
            admin = await self._find(name)
            self._files.require(account_id)
            if account_id in admin.accounts:
                raise Conflict(f"{name} has access to {account_id} already")
            await self._write(admin.having(account_id, frozenset()))

    @command("delete admin-account", role=Role.administrator)
    async def delete_account(self, name: Name, account_id: AccountId) -> None:
        """Take an administrator's access to an account away, with all authorizations on it.

        Example: crs-cli delete admin-account alice example
        """
        async with self._files:
            admin = await self._access(name, account_id)
            await self._write(admin.without(account_id))

    @command("add admin-account-authorization", role=Role.administrator)
    async def add_authorization(
        self, name: Name, account_id: AccountId, authorization: Authorization
    ) -> None:
        """Authorize an administrator who has access to an account to do something on it.

        Example: crs-cli add admin-account-authorization alice example update
        """
        if not await self._authorize(name, account_id, authorization, given=True):
            raise Conflict(f"{name} has the authorization {authorization} on {account_id} already")

    @command("delete admin-account-authorization", role=Role.administrator)
    async def delete_authorization(
        self, name: Name, account_id: AccountId, authorization: Authorization
    ) -> None:
        """Take an administrator's authorization on an account away.

        Example: crs-cli delete admin-account-authorization alice example update
        """
        if not await self._authorize(name, account_id, authorization, given=False):
            raise NotFound(f"{name} has no authorization {authorization} on {account_id}")

    async def _authorize(self, name: str, account: str, authorization: Authorization, *, given: bool) -> bool:
        """Give or take an authorization; False where that is so already. Raises NotFound without access."""
        async with self._files:
            admin = await self._access(name, account)
            before = admin.accounts[account]
            after = before | {authorization} if given else before - {authorization}
            if after == before:
                return False
            await self._write(admin.having(account, after))
        return True

    async def _all(self) -> list[Admin]:
        return await self._files.do(self._admins.all)

    async def _find(self, name: str) -> Admin:
        admin = await self._files.do(self._admins.get, name) if is_account(name) else None
        if admin is None:
            raise NotFound(f"there is no administrator {name}")
        return admin

    async def _access(self, name: str, account: str) -> Admin:
        admin = await self._find(name)
        check_account(account)
        if account not in admin.accounts:
            raise NotFound(f"{name} has no access to {account}")
        return admin

    async def _write(self, admin: Admin) -> None:
        await self._files.do(self._admins.write, admin)


def _row(admin: Admin) -> AdminRow:
    from crs.accounts import encode_secret

    return AdminRow(admin.name, encode_secret(admin.secret))
