"""`wakeup client`: a push notification that makes a client connect (manual 4.8, 5.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from crs.commands.files import AccountFiles, AccountId, Uri, check_uri
from crs.commands.storing import store_errors
from crs.identity import Identity
from rtlib.command.registry import NotFound, Unavailable, command

if TYPE_CHECKING:
    from crs.clientstate import ClientState


class WakeupCommands:
    """Checks what a notification needs; this version has nothing that sends one."""

    def __init__(self, files: AccountFiles, state: ClientState, push: Callable[[], bool]) -> None:
        """`push` tells whether crs.conf has the feature and a push server."""
        self._files = files
        self._state = state
        self._push = push

    @command("wakeup client")
    async def client(self, account_id: AccountId, uri: Uri) -> None:
        """Send a push notification to a client, which makes it connect.

        Example: crs-cli wakeup client example +4612345
        """
        from crs.signaling.message import ItemKind

        self._files.require(account_id)
        check_uri(uri)
        if not self._push():
            raise Unavailable(
                "push notifications are off: crs.conf needs the directives `features push` and `cps`"
            )
        client = Identity(uri, account_id)
        with store_errors():
            kept = await self._state.get(client, ItemKind.push)
        if kept is None:
            raise NotFound(f"there are no push tokens of {client}")
        raise Unavailable("this version has no push service")
