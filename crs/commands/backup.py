"""`backup` (manual 4.15.1). It works whether the server runs or not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from crs.commands.services import server_name
from rtlib.command.registry import CommandError, Role, command


class BackupCommands:
    """Saves what is in `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()

    @command("backup", role=Role.administrator, local=True)
    def create(self) -> str:
        """Save configuration, accounts and data in a tar file, and print its path.

        The file holds all secrets: keep it, on other hardware, as carefully as the server.

        Example: crs-cli backup
        """
        from crs.backup import BackupError, create

        if not self._home.is_dir():
            raise CommandError(f"{self._home}: there is no such directory")
        try:
            return str(create(self._home, server_name(self._home), datetime.now(UTC)))
        except BackupError as error:
            raise CommandError(str(error)) from error
