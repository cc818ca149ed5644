"""`create account`, `list account`, `delete account` (manual 4.2 to 4.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from crs.commands.secret import Bits, Bytes, random_secret
from crs.identity import is_account
from rtlib.command.registry import (
    Argument,
    BadArgument,
    CommandError,
    Conflict,
    NotFound,
    Option,
    Role,
    command,
)
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.accounts import Account, Accounts

AccountId = Annotated[str, Argument("At most 20 of the characters a-z, A-Z, 0-9, - and _.")]
Secret = Annotated[
    str | None, Option("-s", "--secret", help="Shared secret, in base64; one is made if there is none.")
]


class AccountRow(msgspec.Struct, frozen=True):
    """One account."""

    id: Annotated[str, Column("ID", "account ID")]
    path: Annotated[str, Column("PATH", "where its configuration and update files are")]
    secret: Annotated[str, Column("SHARED SECRET", "what the CMS must have as well")]


class AccountCommands:
    """Accounts: they work at once, and their files are on disk when the command ends."""

    def __init__(
        self,
        accounts: Accounts,
        in_thread: Callable[..., Awaitable[Any]],
        drop_clients: Callable[[str], Awaitable[None]],
    ) -> None:
        """`in_thread(function, *arguments)` calls where blocking is allowed."""
        from twisted.internet.defer import DeferredLock

        self._accounts = accounts
        self._in_thread = in_thread
        self._drop_clients = drop_clients
        self._lock = DeferredLock()

    @command("create account", role=Role.administrator)
    async def create(
        self, account_id: AccountId, *, secret: Secret = None, bits: Bits = None, octets: Bytes = None
    ) -> AccountRow:
        """Create an account; its clients can connect at once.

        Account ID and shared secret must be the same in the CMS.

        Example: crs-cli create account example -B32
        """
        from crs.accounts import Account

        _check(account_id)
        value = _secret(secret, bits, octets)
        async with _held(self._lock):
            if account_id in self._accounts:
                raise Conflict(f"account {account_id} exists already")
            account = Account(account_id, value, datetime.now(UTC))
            await self._on_disk(self._accounts.write, account)
            self._accounts.add(account)
        return self._row(account)

    @command("list account", role=Role.administrator)
    def list(self) -> list[AccountRow]:
        """List the accounts with their shared secrets.

        Example: crs-cli list account
        """
        return [self._row(account) for account in self._accounts]

    @command("delete account", role=Role.administrator)
    async def delete(self, account_id: AccountId) -> None:
        """Delete an account for good, with its clients and their messages.

        Example: crs-cli delete account example
        """
        from rtlib.store import StoreError

        _check(account_id)
        async with _held(self._lock):
            if account_id not in self._accounts:
                raise NotFound(f"there is no account {account_id}")
            await self._on_disk(self._accounts.erase, account_id)
            self._accounts.remove(account_id)
            try:
                await self._drop_clients(account_id)
            except StoreError as error:
                raise CommandError(
                    f"the account is deleted, its clients' messages are not: {error}"
                ) from error

    async def _on_disk(self, write: Callable[[Any], None], what: object) -> None:
        from crs.accounts import AccountError

        try:
            await self._in_thread(write, what)
        except AccountError as error:
            raise CommandError(str(error)) from error

    def _row(self, account: Account) -> AccountRow:
        from crs.accounts import encode_secret

        path = str(self._accounts.path(account.name))
        return AccountRow(account.name, path, encode_secret(account.secret))


class _held:
    """`async with` for a DeferredLock."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


def _check(account_id: str) -> None:
    if not is_account(account_id):
        raise BadArgument("account-id: must be 1 to 20 of the characters a-z, A-Z, 0-9, - and _")


def _secret(secret: str | None, bits: int | None, octets: int | None) -> bytes:
    from crs.accounts import decode_secret

    if secret is None:
        return random_secret(bits, octets)
    if bits is not None or octets is not None:
        raise BadArgument("-b and -B make a secret and exclude -s")
    try:
        return decode_secret(secret)
    except ValueError as error:
        raise BadArgument(f"-s: {error}") from None
