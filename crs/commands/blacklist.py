"""`blacklist add`, `blacklist remove` and `show blacklist` (manual 4.17); they act at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from crs.commands.files import AccountFiles, AccountId, Uri, check_uri
from crs.identity import Identity
from rtlib.command.registry import Argument, Conflict, NotFound, Role, command
from rtlib.command.render import Column

BlacklistedUri = Annotated[str, Argument("The mobile number of the client.", completes="blacklisted")]


class BlacklistRow(msgspec.Struct, frozen=True):
    """A blacklisted client."""

    uri: Annotated[str, Column("URI", "the mobile number of the client")]


class BlacklistCommands:
    """Who may not use the service. `recheck()` makes the server look again at who is attached."""

    def __init__(
        self,
        files: AccountFiles,
        recheck: Callable[[], Awaitable[object]],
        told: Callable[[Identity, str], None],
    ) -> None:
        """`told(client, event)` is for those who trace clients' objects."""
        self._files = files
        self._recheck = recheck
        self._told = told

    @command("blacklist add")
    async def add(self, account_id: AccountId, uri: Uri) -> None:
        """Stop a client from using the service: its calls, registration and connection end at once.

        Example: crs-cli blacklist add example +4612345
        """
        from crs.blacklist import MAX_CLIENTS

        check_uri(uri)
        async with self._files:
            listed = self._listed(account_id)
            if uri in listed:
                raise Conflict(f"{uri} is on the blacklist of {account_id} already")
            if len(listed) >= MAX_CLIENTS:
                raise Conflict(f"the blacklist of {account_id} has {MAX_CLIENTS} clients, its limit")
            await self._set(account_id, listed | {uri})
        await self._recheck()
        self._told(Identity(uri, account_id), "add to blacklist")

    @command("blacklist remove")
    async def remove(self, account_id: AccountId, uri: BlacklistedUri) -> None:
        """Let a client use the service again.

        Example: crs-cli blacklist remove example +4612345
        """
        async with self._files:
            listed = self._listed(account_id)
            if uri not in listed:
                raise NotFound(f"{uri} is not on the blacklist of {account_id}")
            await self._set(account_id, listed - {uri})
        self._told(Identity(uri, account_id), "remove from blacklist")

    @command("show blacklist", role=Role.viewer)
    def show(self, account_id: AccountId) -> list[BlacklistRow]:
        """List the blacklisted clients of an account.

        Example: crs-cli show blacklist example
        """
        return [BlacklistRow(uri) for uri in sorted(self._listed(account_id))]

    def _listed(self, account: str) -> frozenset[str]:
        self._files.require(account)
        return self._files.blacklists.of(account)

    async def _set(self, account: str, uris: frozenset[str]) -> None:
        await self._files.do(self._files.blacklists.write, account, uris)
        self._files.blacklists.set(account, uris)
