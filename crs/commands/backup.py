"""`backup` (manual 4.15.1). It works whether the server runs or not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from crs.commands.services import read_settings
from rtlib.command.registry import CommandError, Role, command

IN_REDIS: Final = (
    "Messages, known clients and their items are in Redis and not in this archive: save the folder of"
    " redis_high as well, as docs/running-crs.md says under Redis."
)


class BackupCommands:
    """Saves what is in `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()

    @command("backup", role=Role.administrator, local=True)
    def create(self) -> str:
        """Save configuration, accounts and data in a tar file, and print its path.

        The file holds all secrets: keep it, on other hardware, as carefully as the server. What is kept in
        Redis is not in it; a second line says so.

        Example: crs-cli backup
        """
        from crs.backup import BackupError, create

        if not self._home.is_dir():
            raise CommandError(f"{self._home}: there is no such directory")
        settings = read_settings(self._home)
        try:
            archive = str(create(self._home, settings.name, datetime.now(UTC)))
        except BackupError as error:
            raise CommandError(str(error)) from error
        return archive if settings.main.store == "sqlite" else f"{archive}\n{IN_REDIS}"
