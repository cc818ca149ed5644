"""`purge client`, `purge clients`, `reload account`: clients reconnect, files are read anew (manual 5.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from crs.commands.files import AccountFiles, AccountId, Uri
from crs.identity import Identity
from rtlib.command.registry import NotFound, command


class PurgeCommands:
    """`purge(match)` closes the connections of the clients that match, and tells how many those are."""

    def __init__(
        self,
        files: AccountFiles,
        purge: Callable[[Callable[[Identity], bool]], int],
        recheck: Callable[[], Awaitable[object]],
    ) -> None:
        """`recheck()` makes the server look again at who may be attached."""
        self._files = files
        self._purge = purge
        self._recheck = recheck

    @command("purge client")
    def client(self, account_id: AccountId, uri: Uri) -> str:
        """Close a client's connection; the client connects again by itself.

        Example: crs-cli purge client example +4612345
        """
        self._files.require(account_id)
        client = Identity(uri, account_id)
        if not self._purge(client.__eq__):
            raise NotFound(f"{client} is not connected")
        return f"{client} is purged"

    @command("purge clients")
    def clients(self, account_id: AccountId) -> str:
        """Close the connections of all clients of an account; they connect again by themselves.

        Example: crs-cli purge clients example
        """
        self._files.require(account_id)
        count = self._purge(lambda client: client.account == account_id)
        return f"{count} connections of {account_id} are purged"

    @command("reload account")
    async def reload(self) -> str:
        """Read the files of all accounts anew: secrets, blacklists, updates, rooms.

        Clients whose account is gone or has another secret now lose their connection, those that are
        blacklisted or not listed any more their registration. If a file cannot be read, nothing changes.

        Example: crs-cli reload account
        """
        async with self._files:
            changed = await self._files.reload()
        self._purge(lambda client: client.account in changed)
        await self._recheck()
        return f"{len(self._files.accounts)} accounts are loaded"
