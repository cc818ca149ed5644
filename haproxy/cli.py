"""The program `genproxy-cli`: the commands of a running `twistd genproxy`, and those that need none.

It starts within 0.25 s: only what describes the commands is imported, never the proxy.
"""

from __future__ import annotations

from pathlib import Path

from haproxy.commands.dispatcher import DispatcherCommands
from haproxy.commands.dns import DnsCommands
from haproxy.commands.drain import DrainCommands
from haproxy.commands.flush import FlushCommands
from haproxy.commands.notification import NotificationCommands
from haproxy.commands.protection import ProtectionCommands
from haproxy.commands.registration import RegistrationCommands
from haproxy.commands.show import ShowCommands
from haproxy.commands.system import SystemCommands
from haproxy.commands.tls import TlsCommands
from haproxy.commands.trace import TraceCommands
from haproxy.commands.version import VersionCommands
from rtlib.command import cli
from rtlib.command.client import Client
from rtlib.command.registry import Registry, declared

DEFAULT_STATE = "/var/lib/genproxy"
SOCKET = "run/genproxy.sock"
COMMANDS = (
    DispatcherCommands,
    DnsCommands,
    DrainCommands,
    FlushCommands,
    ProtectionCommands,
    NotificationCommands,
    RegistrationCommands,
    ShowCommands,
    SystemCommands,
    TlsCommands,
    TraceCommands,
    VersionCommands,
)


def main() -> None:
    """Run genproxy-cli on this process's arguments."""
    place = cli.Place(
        "genproxy",
        option="--state-dir",
        variable="GENPROXY_STATE",
        default=DEFAULT_STATE,
        socket=SOCKET,
        help="The proxy's state directory.",
    )
    group = cli.build(
        "genproxy-cli",
        declared(*COMMANDS),
        place,
        help="Manages the SIP high-availability proxy genproxy.",
        local=_local_registry,
    )
    cli.main(group)


def _local_registry(state: Path, client: Client) -> Registry:
    registry = Registry()
    registry.add(VersionCommands())
    return registry


if __name__ == "__main__":
    main()
