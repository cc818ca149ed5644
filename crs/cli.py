"""The program `crs-cli`: the commands of a running `twistd crs`, and those that need none.

It starts within 0.25 s: only what describes the commands is imported, never the server.
"""

from __future__ import annotations

from pathlib import Path

from crs.commands.account import AccountCommands
from crs.commands.secret import SecretCommands
from crs.commands.show import ShowCommands
from crs.commands.trace import TraceCommands
from crs.commands.version import VersionCommands
from rtlib.command import cli
from rtlib.command.registry import Registry, declared

DEFAULT_HOME = "/opt/crs"
SOCKET = "run/crs.sock"
COMMANDS = (AccountCommands, SecretCommands, ShowCommands, TraceCommands, VersionCommands)


def main() -> None:
    """Run crs-cli on this process's arguments."""
    place = cli.Place(
        "crs", variable="CRS_HOME", default=DEFAULT_HOME, socket=SOCKET, help="The server's home."
    )
    group = cli.build(
        "crs-cli",
        declared(*COMMANDS),
        place,
        help="Manages the rendezvous server crs.",
        local=_local_registry,
    )
    cli.main(group)


def _local_registry(home: Path) -> Registry:
    registry = Registry()
    for owner in (SecretCommands(), VersionCommands()):
        registry.add(owner)
    return registry


if __name__ == "__main__":
    main()
