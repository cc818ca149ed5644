"""Takes the monthly updates that a client is offered, keeps them in files, and confirms them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock

from crs.client.client import Client
from crs.client.error import ClientError
from crs.signaling import message
from rtlib import secretfile


class Keeper:
    """One file for each month, `2026-11.update`, mode 0600; a later update of a month replaces it."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """`say(line)` tells the user."""
        self._folder = folder
        self._say = say
        self._turn = DeferredLock()

    def take(self, client: Client, offer: message.Offer) -> Deferred[None]:
        """Fetch what is offered, keep it, confirm it; one after the other. Never fails: it comes again."""
        return Deferred.fromCoroutine(self._guarded(client, offer))

    async def settle(self) -> None:
        """Wait for what is under way."""
        await self._turn.run(lambda: None)

    async def _guarded(self, client: Client, offer: message.Offer) -> None:
        await self._turn.acquire()
        try:
            await self._take(client, offer)
        except (ClientError, OSError) as error:
            self._say(f"update for {offer.month} not taken: {error}")
        finally:
            self._turn.release()

    async def _take(self, client: Client, offer: message.Offer) -> None:
        update = await client.fetch_update(offer.month)
        if update.month != offer.month or update.created < offer.created:
            raise ClientError("the server has sent another one than it has offered")
        if update.created == offer.created and len(update.payload) != offer.size:
            raise ClientError(f"it has {len(update.payload)} bytes instead of {offer.size}")
        path = self._folder / f"{update.month}.update"
        secretfile.write(path, (update.payload,))
        await client.confirm_update(update)
        self._say(f"update for {update.month}: {len(update.payload)} bytes in {path}, confirmed")
