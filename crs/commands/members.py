"""Who belongs to an account, by its updates and by what the server has seen: clients, domains, team codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from crs.commands.files import AccountFiles, AccountId, Uri, check_uri
from crs.identity import Identity, is_test_client
from rtlib.command.registry import Argument, CommandError, NotFound, Option, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.clientstate import ClientState
    from crs.signaling.rendezvous import Rendezvous
    from crs.update.applied import Applied

TeamCode = Annotated[str, Argument("The team code.", completes="team-code")]
Verbose = Annotated[bool, Option("-v", "--verbose", help="Print the tokens of client and domain, too.")]

HERE = "local"
"""Where a client is that is connected to this pool."""
AWAY = "not connected"


class LookupRow(msgspec.Struct, frozen=True):
    """A client in a domain, and the tokens of both if they are asked for."""

    source: Annotated[str, Column("SOURCE", "the crs pool that the client is connected to")]
    uri: Annotated[str, Column("URI", "the mobile number of the client")]
    domain: Annotated[str, Column("DOMAIN", "the domain that the client belongs to")]
    client_token: Annotated[
        str | None,
        Column("CLIENT TOKEN", "information uploaded by the client, in hexadecimal", optional=True),
    ] = None
    domain_token: Annotated[
        str | None, Column("DOMAIN TOKEN", "the domain token of the client's domain", optional=True)
    ] = None


class TeamRow(msgspec.Struct, frozen=True):
    """A team code."""

    code: Annotated[str, Column("CODE", "the team code")]
    members: Annotated[Sequence[str], Column("MEMBERS", "numbers of the members")]


class MemberRow(msgspec.Struct, frozen=True):
    """A member of a team."""

    uri: Annotated[str, Column("URI", "the mobile number of the client")]
    settings: Annotated[str, Column("SETTINGS", "the settings that the client has stored for the team code")]


class ObservedRow(msgspec.Struct, frozen=True):
    """A client that has attached without being listed."""

    uri: Annotated[str, Column("URI", "the mobile number of the client")]
    attached: Annotated[bool, Column("ATTACHED", "whether it is attached now")]


class MemberCommands:
    """Looks at the accounts' updates, the machine, and what clients have stored."""

    def __init__(
        self,
        files: AccountFiles,
        machine: Rendezvous,
        state: ClientState,
        forget: Callable[[Sequence[Identity]], Awaitable[None]],
    ) -> None:
        """`forget(clients)` deletes what is stored of clients that the machine has forgotten."""
        self._files = files
        self._accounts = files.accounts
        self._machine = machine
        self._state = state
        self._forget = forget

    @command("lookup client", role=Role.viewer)
    async def lookup(self, account_id: AccountId, uri: Uri, *, verbose: Verbose = False) -> list[LookupRow]:
        """Show where a client is, in the account or in the domains that it is connected to.

        A client belongs to the domains that list it, and to those where it has attached.

        Example: crs-cli lookup client example +4612345 -v
        """
        self._files.require(account_id)
        check_uri(uri)
        domains = [account_id, *self._connected(account_id)]
        found = [client for domain in domains if self._belongs(client := Identity(uri, domain))]
        if not found:
            raise NotFound(f"{uri} is neither in {account_id} nor in a domain that it is connected to")
        return [await self._row(client, verbose=verbose) for client in found]

    @command("list team-code", role=Role.viewer)
    def list_codes(self, account_id: AccountId) -> list[TeamRow]:
        """List the team codes in the account's update for the current month.

        Example: crs-cli list team-code example
        """
        teams = self._teams(account_id)
        return [TeamRow(code, members) for code, members in sorted(teams.items())]

    @command("show team-code", role=Role.viewer)
    async def show_code(self, account_id: AccountId, team_code: TeamCode) -> list[MemberRow]:
        """Show the members of a team code, and what clients have stored for it.

        Example: crs-cli show team-code example red
        """
        from crs.signaling.message import ItemKind, TeamCode
        from rtlib.store import StoreError

        teams = self._teams(account_id)
        settings = dict.fromkeys(teams.get(team_code, ()), "")
        try:
            async for client, kept in self._state.items(account_id, ItemKind.team_code):
                if isinstance(kept.item, TeamCode) and kept.item.name == team_code:
                    settings[client.uri] = kept.item.settings
        except StoreError as error:
            raise CommandError(str(error)) from error
        if not settings and team_code not in teams:
            raise NotFound(f"{account_id} has no team code {team_code}")
        return [MemberRow(uri, text) for uri, text in sorted(settings.items())]

    @command("list observed", role=Role.viewer)
    def list_observed(self, account_id: AccountId) -> list[ObservedRow]:
        """List the observed clients of an account: they have attached, but its update does not list them.

        Example: crs-cli list observed example
        """
        attached = self._attached(account_id)
        return [ObservedRow(client.uri, client in attached) for client in self._observed(account_id)]

    @command("purge observed")
    async def purge_observed(self, account_id: AccountId) -> str:
        """Forget the observed clients of an account that are not connected, with all that is kept of them.

        Observed clients are part of the account even if they are neither connected nor listed. A client
        that has moved to a connected domain is found only there once it is forgotten here.

        Example: crs-cli purge observed example
        """
        from rtlib.store import StoreError

        attached = self._attached(account_id)
        gone = [client for client in self._observed(account_id) if client not in attached]
        directory = self._machine.directory
        left = {client: directory.forget_client(client) for client in gone}
        try:
            for client in gone:
                await self._forget([client])
                del left[client]
        except StoreError as error:
            for client, record in left.items():
                if record is not None:
                    directory.put_back(client, record)
            raise CommandError(
                f"{len(left)} of {len(gone)} observed clients of {account_id} are not purged: {error}"
            ) from error
        return f"{len(gone)} observed clients of {account_id} are purged"

    async def _row(self, client: Identity, *, verbose: bool) -> LookupRow:
        source = HERE if self._machine.attachments.find(client) is not None else AWAY
        if not verbose:
            return LookupRow(source, client.uri, client.account)
        update = self._in_force(client.account)
        domain_token = "" if update is None else update.outline.head.domain_token
        return LookupRow(source, client.uri, client.account, await self._client_token(client), domain_token)

    async def _client_token(self, client: Identity) -> str:
        from crs.signaling.message import ClientToken, ItemKind
        from rtlib.store import StoreError

        try:
            kept = await self._state.get(client, ItemKind.token)
        except StoreError as error:
            raise CommandError(str(error)) from error
        return kept.item.token.hex() if kept is not None and isinstance(kept.item, ClientToken) else ""

    def _belongs(self, client: Identity) -> bool:
        update = self._in_force(client.account)
        return client in self._machine.directory or (update is not None and client.uri in update)

    def _connected(self, account: str) -> list[str]:
        names = (other.name for other in self._accounts)
        return [name for name in names if name != account and self._accounts.are_connected(account, name)]

    def _teams(self, account: str) -> dict[str, tuple[str, ...]]:
        self._files.require(account)
        update = self._accounts.updates[account].get(self._accounts.month())
        return {} if update is None else update.outline.teams

    def _observed(self, account: str) -> list[Identity]:
        self._files.require(account)
        update = self._in_force(account)
        return sorted(
            client
            for client, _ in self._machine.directory
            if client.account == account
            and not is_test_client(client.uri)
            and (update is None or client.uri not in update)
        )

    def _attached(self, account: str) -> set[Identity]:
        """The clients that are attached, or have lost their connection and may resume."""
        return {each.client for each in self._machine.attachments if each.client.account == account}

    def _in_force(self, account: str) -> Applied | None:
        return self._accounts.updates[account].in_force(self._accounts.month())
