"""`show system` and `show account`: which process does what (manual 5.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from rtlib.command.registry import Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.accounts import Accounts

MODULE: Final = "crs"
"""What runs in this process: all of it."""


class ProcessRow(msgspec.Struct, frozen=True):
    """A process of the server."""

    server: Annotated[str, Column("SERVER", "the server that it runs on")]
    process: Annotated[str, Column("PROCESS", "app: and the module that it runs")]
    pid: Annotated[int, Column("PID", "process ID")]
    slots: Annotated[str, Column("SLOTS", "the slots that are allocated to it")]


class LoadedRow(msgspec.Struct, frozen=True):
    """The accounts that a process serves."""

    server: Annotated[str, Column("SERVER", "server name, as in crs-local.conf")]
    module: Annotated[str, Column("MODULE", "what handles the connections of these accounts' clients")]
    pid: Annotated[int, Column("PID", "process ID")]
    accounts: Annotated[list[str], Column("LOADED ACCOUNTS", "the accounts that this process serves")]
    rotating: Annotated[
        list[str] | None,
        Column("TWO SECRETS", "accounts whose former secret is valid yet, and until when", optional=True),
    ] = None


class SystemCommands:
    """`server` is this host's name; one process serves all slots and all accounts."""

    def __init__(self, server: str, accounts: Accounts) -> None:
        self._server = server
        self._accounts = accounts

    @command("show system", role=Role.viewer)
    def system(self) -> list[ProcessRow]:
        """Show the processes of the server and the slots that each serves.

        Example: crs-cli show system
        """
        from rtlib.store import SLOTS

        return [ProcessRow(self._server, f"app: {MODULE}", os.getpid(), f"0-{SLOTS - 1}")]

    @command("show account", role=Role.viewer)
    def account(self) -> list[LoadedRow]:
        """Show the loaded accounts.

        Example: crs-cli show account
        """
        names = [account.name for account in self._accounts]
        rotating = [
            f"{account.name} until {account.former.until:%Y-%m-%dT%H:%M:%SZ}"
            for account in self._accounts
            if account.former is not None
        ]
        return [LoadedRow(self._server, f"app:{MODULE}", os.getpid(), names, rotating or None)]
