"""`show services` and `check slot`: they need no running server (manual 5.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from crs.commands.files import Uri, check_uri
from rtlib.command.client import Client
from rtlib.command.registry import CommandError, Role, Unavailable, command
from rtlib.command.render import Column

ANSWER_TIME: Final = 5.0
"""Seconds after which a service that does not answer is taken for inactive."""

SERVICES: Final = {"crs": "show system", "crs_relay": "show relay"}
"""What each service answers. The relay is a part of the server's process; Redis is not used here."""


class ServiceRow(msgspec.Struct, frozen=True):
    """A service of this host."""

    server: Annotated[str, Column("SERVER", "name of the server that runs the service")]
    service: Annotated[str, Column("SERVICE", "name of the service")]
    status: Annotated[Literal["active", "inactive"], Column("STATUS", "active or inactive")]


class SlotRow(msgspec.Struct, frozen=True):
    """Where a client's data is kept."""

    slot: Annotated[int, Column("SLOT", "the slot of the mobile number")]
    primary: Annotated[str, Column("PRIMARY", "the server that serves the slot")]
    secondary: Annotated[str, Column("SECONDARY", "the server that stands by, if there is one")]


class ServiceCommands:
    """Looks from outside: `client` is the command socket's."""

    def __init__(self, home: Path, client: Client) -> None:
        self._home = home
        self._client = client

    @command("show services", role=Role.viewer, local=True)
    def services(self) -> list[ServiceRow]:
        """Show whether the services are running, that is whether they answer.

        Example: crs-cli show services
        """
        server = server_name(self._home)
        return [ServiceRow(server, name, self._status(question)) for name, question in SERVICES.items()]

    @command("check slot", role=Role.viewer, local=True)
    def slot(self, uri: Uri) -> SlotRow:
        """Show the slot of a mobile number, and the servers that it is allocated to.

        Example: crs-cli check slot +4612345
        """
        from rtlib.store import slot_of

        check_uri(uri)
        return SlotRow(slot_of(uri), server_name(self._home), "")

    def _status(self, question: str) -> Literal["active", "inactive"]:
        try:
            self._client.call(question, {}, ANSWER_TIME)
        except Unavailable:
            return "inactive"
        return "active"


def server_name(home: Path) -> str:
    """This host's name in the configuration. Raises CommandError for files that cannot be read."""
    from crs.settings import load
    from rtlib.settings import SettingsError

    try:
        return load(home).name
    except (SettingsError, OSError) as error:
        raise CommandError(str(error)) from error
