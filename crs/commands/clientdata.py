"""What clients keep at the server, for the operator: client info, push tokens, sizes (manual 5.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from crs.commands.files import AccountFiles, AccountId, Uri, check_uri
from crs.commands.storing import store_errors
from crs.identity import Identity, is_test_client
from rtlib.command.registry import NotFound, Option, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.clientstate import ClientState
    from crs.signaling.message import ClientInfo

DAY: Final = 86400.0
MAX_AGE: Final = 90
"""Days."""

MaxAge = Annotated[
    int,
    Option("--max-age", help="Count clients that stored their information in the last so many days."),
    msgspec.Meta(ge=0, le=36500),
]
OnlyOs = Annotated[bool, Option("--os", help="Only count operating systems.")]
OnlyVersion = Annotated[bool, Option("--client-version", help="Only count versions of the client software.")]


class ClientInfoRow(msgspec.Struct, frozen=True):
    """What a client says of itself."""

    uri: Annotated[str, Column("Uri", "the mobile number of the client")]
    timestamp: Annotated[datetime | None, Column("Timestamp", "when the client stored the information, UTC")]
    client_time: Annotated[
        float, Column("Client Time", "seconds that the client's clock was ahead of the server's")
    ]
    scan_time: Annotated[datetime | None, Column("Scan Time", "when the client scanned the QR code, UTC")]
    os: Annotated[str, Column("OS", "the operating system that the client runs on")]
    os_version: Annotated[str, Column("OS Version", "the version of the operating system")]
    version: Annotated[str, Column("CCA Version", "the version of the client software")]


class OsRow(msgspec.Struct, frozen=True):
    """How many clients run on a system."""

    os: Annotated[str, Column("OS", "the operating system and its version")]
    users: Annotated[int, Column("Users", "the number of clients")]


class VersionRow(msgspec.Struct, frozen=True):
    """How many clients have a version."""

    version: Annotated[str, Column("CCA Version", "the version of the client software")]
    users: Annotated[int, Column("Users", "the number of clients")]


class ClientSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The clients of all accounts; a table that was not asked for is absent."""

    os: Annotated[list[OsRow] | None, Column("")] = None
    version: Annotated[list[VersionRow] | None, Column("")] = None


class PushTokenRow(msgspec.Struct, frozen=True):
    """How a client is woken."""

    created: Annotated[datetime | None, Column("Created", "when the client uploaded them, by its clock, UTC")]
    saved: Annotated[datetime | None, Column("Saved", "when the server saved them, UTC")]
    age: Annotated[int, Column("Age", "seconds since the server saved them")]
    client_type: Annotated[str, Column("Client-Type", "the type of the client that uploaded them")]
    tokens: Annotated[list[str], Column("Tokens", "the push tokens", secret=True)]


class ClientStorageRow(msgspec.Struct, frozen=True):
    """An item that a client keeps."""

    server: Annotated[str, Column("Server", "name of the server that stores it")]
    uri: Annotated[str, Column("Uri", "the mobile number of the client")]
    bytes: Annotated[int, Column("Bytes", "how many bytes it takes")]
    updated: Annotated[datetime | None, Column("Last Updated", "when the client last stored it, UTC")]
    type: Annotated[str, Column("Type", "what it is; and its name, if the client may have several")]


class ClientDataCommands:
    """Reads the store; `server` is this host's name, `wall` gives UTC seconds."""

    def __init__(
        self,
        files: AccountFiles,
        state: ClientState,
        server: str,
        told: Callable[[Identity, str], None],
        *,
        wall: Callable[[], float],
    ) -> None:
        """`told(client, event)` is for those who trace clients' objects."""
        self._files = files
        self._state = state
        self._server = server
        self._told = told
        self._wall = wall

    @command("show client-info", role=Role.viewer)
    async def show_info(self, account_id: AccountId) -> list[ClientInfoRow]:
        """Show what the clients of an account run on, as they told the server.

        Example: crs-cli show client-info example
        """
        self._files.require(account_id)
        return sorted([row async for row in self._infos(account_id)], key=lambda row: row.uri)

    @command("client-info", role=Role.viewer)
    async def info(self, account_id: AccountId) -> list[ClientInfoRow]:
        """Show what the clients of an account run on: the same as `show client-info`.

        Example: crs-cli client-info example
        """
        return await self.show_info(account_id)

    @command("summarize client-info", role=Role.viewer)
    async def summarize(
        self, *, max_age: MaxAge = MAX_AGE, os: OnlyOs = False, client_version: OnlyVersion = False
    ) -> ClientSummary:
        """Count the operating systems and the client versions of all accounts.

        Example: crs-cli summarize client-info --max-age 30 --os
        """
        oldest = self._wall() - max_age * DAY
        systems: Counter[str] = Counter()
        versions: Counter[str] = Counter()
        for account in self._files.accounts:
            async for row in self._infos(account.name):
                if row.timestamp is not None and row.timestamp.timestamp() >= oldest:
                    systems[f"{row.os} {row.os_version}"] += 1
                    versions[row.version] += 1
        both = os is client_version
        return ClientSummary(
            [OsRow(*each) for each in _ranked(systems)] if os or both else None,
            [VersionRow(*each) for each in _ranked(versions)] if client_version or both else None,
        )

    @command("delete client-info")
    async def delete_info(self, account_id: AccountId, uri: Uri) -> None:
        """Delete what a client told of itself. It tells it again when something has changed.

        Example: crs-cli delete client-info example +4612345
        """
        from crs.signaling.message import ItemKind

        client = self._client(account_id, uri)
        with store_errors():
            there = await self._state.delete(client, ItemKind.info)
        if not there:
            raise NotFound(f"there is no client info of {client}")
        self._told(client, "delete client_info")

    @command("show push-token", role=Role.administrator)
    async def push_token(self, account_id: AccountId, uri: Uri) -> list[PushTokenRow]:
        """Show a client's push tokens.

        Example: crs-cli show push-token example +4612345
        """
        from crs.signaling.message import ItemKind, PushTokens

        client = self._client(account_id, uri)
        with store_errors():
            kept = await self._state.get(client, ItemKind.push)
        if kept is None or not isinstance(kept.item, PushTokens):
            raise NotFound(f"there are no push tokens of {client}")
        age = max(0, int(self._wall() - kept.saved))
        tokens = kept.item
        return [
            PushTokenRow(
                _moment(tokens.created), _moment(kept.saved), age, tokens.client_type, list(tokens.tokens)
            )
        ]

    @command("show client-storage", role=Role.viewer)
    async def storage(self, account_id: AccountId) -> list[ClientStorageRow]:
        """Show how much the clients of an account keep at the server.

        Example: crs-cli show client-storage example
        """
        from crs.signaling.locker import OBJECTS

        self._files.require(account_id)
        with store_errors():
            rows = [
                ClientStorageRow(
                    self._server,
                    client.uri,
                    entry.size,
                    _moment(entry.saved),
                    f"{OBJECTS[entry.kind]} {entry.name}".rstrip(),
                )
                async for client, entries in self._state.entries(account_id)
                for entry in entries
            ]
        return sorted(rows, key=lambda row: (row.uri, row.type))

    async def _infos(self, account: str) -> AsyncIterator[ClientInfoRow]:
        from crs.signaling.message import ClientInfo, ItemKind

        with store_errors():
            async for client, kept in self._state.items(account, ItemKind.info):
                if isinstance(kept.item, ClientInfo) and not is_test_client(client.uri):
                    yield _info_row(client, kept.saved, kept.item)

    def _client(self, account: str, uri: str) -> Identity:
        self._files.require(account)
        check_uri(uri)
        return Identity(uri, account)


def _info_row(client: Identity, saved: float, info: ClientInfo) -> ClientInfoRow:
    return ClientInfoRow(
        client.uri,
        _moment(saved),
        round(info.time - saved, 1),
        None if info.scanned is None else _moment(info.scanned),
        info.os,
        info.os_version,
        info.version,
    )


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first, then by name."""
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _moment(wall: float) -> datetime | None:
    """A time of a client or the server; None for what is no date, for a client's time may be anything."""
    try:
        return datetime.fromtimestamp(wall, UTC)
    except (ValueError, OverflowError, OSError):
        return None
