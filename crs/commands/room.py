"""`create`, `list`, `delete` and `lookup conference-room` (manual chapter 5); they act at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec

from crs.commands.files import AccountFiles, AccountId, check_uri
from rtlib.command.registry import Argument, BadArgument, Conflict, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.limits import LimitTable
    from crs.signaling.group import Room

Number = Annotated[str, Argument("The conference room's number: six digits.", completes="room")]
Owner = Annotated[str, Argument("The URI of the client that owns the conference room.", completes="client")]


class RoomRow(msgspec.Struct, frozen=True):
    """A conference room."""

    number: Annotated[str, Column("CONFERENCE-ROOM", "conference room number")]
    account: Annotated[str, Column("ACCOUNT", "the account that the conference room belongs to")]
    uri: Annotated[str, Column("URI", "the client that owns the conference room")]


class FoundRow(msgspec.Struct, frozen=True):
    """A conference room that clients of an account can dial."""

    number: Annotated[str, Column("CONFERENCE-ROOM", "conference room number")]
    domain: Annotated[str, Column("DOMAIN", "the domain that the conference room was found in")]
    uri: Annotated[str, Column("URI", "the client that owns the conference room")]


class RoomCommands:
    """Conference rooms, on disk when the command ends."""

    def __init__(
        self,
        files: AccountFiles,
        find: Callable[[str, str], list[Room]],
        close: Callable[[Room], None],
        limits: LimitTable,
    ) -> None:
        """`find(account, number)`: the rooms that an account's clients can dial; `close` ends a call."""
        self._files = files
        self._rooms = files.rooms
        self._find = find
        self._close = close
        self._limits = limits

    @command("create conference-room")
    async def create(self, number: Number, account_id: AccountId, uri: Owner) -> None:
        """Create a conference room for a client in an account; it can be dialled at once.

        Example: crs-cli create conference-room 123456 example +4612345
        """
        from crs.rooms import MAX_ROOMS

        _check_number(number)
        check_uri(uri)
        async with self._files:
            rooms = self._of(account_id)
            if number in rooms:
                raise Conflict(f"{account_id} has a conference room {number} already, of {rooms[number]}")
            if len(rooms) >= MAX_ROOMS:
                raise Conflict(f"{account_id} has {MAX_ROOMS} conference rooms, its limit")
            most = self._limits.of(account_id).rooms_per_client
            if sum(owner == uri for owner in rooms.values()) >= most:
                self._limits.reached["rooms-per-client"] += 1
                raise Conflict(f"{uri} may have {most} conference rooms (limit rooms-per-client)")
            await self._set(account_id, {**rooms, number: uri})

    @command("delete conference-room")
    async def delete(self, number: Number, account_id: AccountId, uri: Owner) -> None:
        """Delete a client's conference room; its call ends.

        Example: crs-cli delete conference-room 123456 example +4612345
        """
        from crs.signaling.group import Room

        _check_number(number)
        check_uri(uri)
        async with self._files:
            rooms = self._of(account_id)
            if rooms.get(number) != uri:
                raise NotFound(f"{account_id} has no conference room {number} of {uri}")
            await self._set(account_id, {each: owner for each, owner in rooms.items() if each != number})
        self._close(Room(number, account_id, uri))

    @command("lookup conference-room", role=Role.viewer)
    def lookup(self, number: Number, account_id: AccountId) -> list[FoundRow]:
        """List the conference rooms of a number that clients of an account can dial.

        They are the account's own and those of connected domains.

        Example: crs-cli lookup conference-room 123456 example
        """
        _check_number(number)
        self._files.require(account_id)
        found = sorted(self._find(account_id, number), key=lambda room: room.account)
        if not found:
            raise NotFound(f"clients of {account_id} can dial no conference room {number}")
        return [FoundRow(room.number, room.account, room.owner) for room in found]

    def _of(self, account: str) -> Mapping[str, str]:
        self._files.require(account)
        return self._rooms.of(account)

    async def _set(self, account: str, rooms: Mapping[str, str]) -> None:
        await self._files.do(self._rooms.write, account, rooms)
        self._rooms.set(account, rooms)

    @command("list conference-room", role=Role.viewer)
    def list(self) -> list[RoomRow]:
        """List the conference rooms of all accounts.

        Example: crs-cli list conference-room
        """
        return [
            RoomRow(number, account.name, uri)
            for account in self._files.accounts
            for number, uri in sorted(self._rooms.of(account.name).items())
        ]


def _check_number(number: str) -> None:
    from crs.rooms import is_number

    if not is_number(number):
        raise BadArgument("number: must be six digits")
