"""`rotate secret` and `rotate finish`: an account gets another secret without losing a client."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from crs.commands.account import AccountRow, Secret, account_row, given_secret
from crs.commands.files import AccountFiles, AccountId
from crs.commands.secret import Bits, Bytes
from rtlib.command.registry import Conflict, Option, Role, command

if TYPE_CHECKING:
    from crs.accounts import Account
    from crs.connection import Connection

Days = Annotated[float, Meta(ge=0, le=3650), Option("--days", help="How long the former secret stays valid.")]


class RotateCommands:
    """Changes secrets; the new one is valid at once, and on disk when the command ends."""

    def __init__(self, files: AccountFiles, purge: Callable[[Callable[[Connection], bool]], int]) -> None:
        """`purge(match)` closes connections, whose clients connect again, and counts them."""
        self._files = files
        self._purge = purge

    @command("rotate secret", role=Role.administrator)
    async def begin(
        self,
        account_id: AccountId,
        *,
        secret: Secret = None,
        bits: Bits = None,
        octets: Bytes = None,
        days: Days = 31,
    ) -> AccountRow:
        """Give an account another secret; the former one stays valid for a while.

        Until then clients with a key of either secret can connect, and update files of both are
        accepted. Who is connected with the former one when it ends has to connect anew.

        Example: crs-cli rotate secret example -B32 --days 14
        """
        from dataclasses import replace

        from crs.accounts import Former

        value = given_secret(secret, bits, octets)

        def changed(account: Account) -> Account:
            now = self._files.accounts.now()
            if len(account.secrets(now)) > 1:
                raise Conflict(f"the former secret of {account_id} is still valid; rotate finish ends that")
            if value == account.secret:
                raise Conflict(f"{account_id} has this secret already")
            return replace(account, secret=value, former=Former(account.secret, now + timedelta(days=days)))

        return account_row(self._files.accounts, await self._files.change(account_id, changed))

    @command("rotate finish", role=Role.administrator)
    async def finish(self, account_id: AccountId) -> str:
        """End the former secret of an account now.

        Example: crs-cli rotate finish example
        """
        from dataclasses import replace

        before: list[Account] = []

        def changed(account: Account) -> Account:
            if account.former is None:
                raise Conflict(f"{account_id} has one secret only")
            before.append(account)
            return replace(account, former=None)

        await self._files.change(account_id, changed)
        [old] = before
        closed = self._purge(
            lambda each: each.identity.account == account_id and old.uses_former(each.psk_identity)
        )
        return (
            f"the former secret of {account_id} is not valid any more; {closed} clients have to connect anew"
        )
