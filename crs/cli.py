"""The program `crs-cli`: the commands of a running `twistd crs`, and those that need none.

It starts within 0.25 s: only what describes the commands is imported, never the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from crs.commands.account import AccountCommands
from crs.commands.admins import AdminCommands
from crs.commands.backup import BackupCommands
from crs.commands.blacklist import BlacklistCommands
from crs.commands.clientdata import ClientDataCommands
from crs.commands.drain import DrainCommands
from crs.commands.health import HealthCommands
from crs.commands.interworking import InterworkingCommands
from crs.commands.members import MemberCommands
from crs.commands.purge import PurgeCommands
from crs.commands.room import RoomCommands
from crs.commands.rotate import RotateCommands
from crs.commands.secret import SecretCommands
from crs.commands.services import ServiceCommands
from crs.commands.show import ShowCommands
from crs.commands.statistics import StatisticsCommands
from crs.commands.system import SystemCommands
from crs.commands.trace import TraceCommands
from crs.commands.updates import UpdateCommands
from crs.commands.version import VersionCommands
from crs.commands.wakeup import WakeupCommands
from crs.home import DEFAULT_HOME, SOCKET, audit_file
from rtlib.command import cli
from rtlib.command.client import Client
from rtlib.command.registry import Registry, declared

COMMANDS: Final = (
    AccountCommands,
    AdminCommands,
    BackupCommands,
    BlacklistCommands,
    ClientDataCommands,
    DrainCommands,
    HealthCommands,
    InterworkingCommands,
    PurgeCommands,
    RoomCommands,
    RotateCommands,
    SecretCommands,
    ServiceCommands,
    ShowCommands,
    StatisticsCommands,
    SystemCommands,
    TraceCommands,
    MemberCommands,
    UpdateCommands,
    VersionCommands,
    WakeupCommands,
)
COMPLETION_TIME: Final = 1.0
"""Seconds that somebody who presses the tab key waits for the server."""


def main() -> None:
    """Run crs-cli on this process's arguments."""
    place = cli.Place(
        "crs",
        variable="CRS_HOME",
        default=str(DEFAULT_HOME),
        socket=SOCKET,
        help="The server's home.",
        audit=audit_file,
    )
    group = cli.build(
        "crs-cli",
        declared(*COMMANDS),
        place,
        help="Manages the rendezvous server crs.",
        local=_local_registry,
        complete={
            "account": _accounts,
            "admin": _admins,
            "blacklisted": _blacklisted,
            "client": _clients,
            "iw-crs": _peers,
            "room": _rooms,
            "team-code": _team_codes,
        },
    )
    cli.main(group)


def _local_registry(home: Path, client: Client) -> Registry:
    registry = Registry()
    owners = (
        BackupCommands(home),
        HealthCommands(home, client),
        SecretCommands(),
        ServiceCommands(home, client),
        VersionCommands(),
    )
    for owner in owners:
        registry.add(owner)
    return registry


def _accounts(client: Client, _before: Mapping[str, Any]) -> Iterable[str]:
    """The accounts that the server has loaded."""
    rows = client.call("show account", {}, COMPLETION_TIME)
    return [account for row in rows for account in row["accounts"]]


def _clients(client: Client, before: Mapping[str, Any]) -> Iterable[str]:
    """The attached clients, those of the account before them on the line if there is one."""
    account = before.get("account_id")
    rows = client.call("show attach", {}, COMPLETION_TIME)
    return [row["uri"] for row in rows if account in {None, row["account"]}]


def _blacklisted(client: Client, before: Mapping[str, Any]) -> Iterable[str]:
    """The blacklisted clients of the account before them on the line."""
    rows = client.call("show blacklist", {"account_id": before.get("account_id")}, COMPLETION_TIME)
    return [row["uri"] for row in rows]


def _peers(client: Client, _before: Mapping[str, Any]) -> Iterable[str]:
    """The addresses of inter-working servers."""
    return [row["ip"] for row in client.call("show iw-crs", {}, COMPLETION_TIME)]


def _rooms(client: Client, _before: Mapping[str, Any]) -> Iterable[str]:
    """The numbers of all conference rooms."""
    return [row["number"] for row in client.call("list conference-room", {}, COMPLETION_TIME)]


def _team_codes(client: Client, before: Mapping[str, Any]) -> Iterable[str]:
    """The team codes of the account before them on the line."""
    rows = client.call("list team-code", {"account_id": before.get("account_id")}, COMPLETION_TIME)
    return [row["code"] for row in rows]


def _admins(client: Client, _before: Mapping[str, Any]) -> Iterable[str]:
    """The administrators."""
    return [row["admin"] for row in client.call("show admins", {}, COMPLETION_TIME)]


if __name__ == "__main__":
    main()
