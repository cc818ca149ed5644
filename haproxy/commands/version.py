"""`show version`. Needs no running daemon."""

from __future__ import annotations

from haproxy.version import VERSION
from rtlib.command.registry import Role, command


class VersionCommands:
    """What is installed."""

    @command("show version", role=Role.viewer, local=True)
    def show(self) -> str:
        """Show the version of the installed software.

        Example: genproxy-cli show version
        """
        return VERSION
