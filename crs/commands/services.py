"""`show services` and `check slot`: they need no running server (manual 5.4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from crs.commands.files import Uri, check_uri
from rtlib.command.client import Client
from rtlib.command.registry import CommandError, Role, Unavailable, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from crs.settings import Main, Settings

ANSWER_TIME: Final = 5.0
"""Seconds after which a service that does not answer is taken for inactive."""


class ServiceRow(msgspec.Struct, frozen=True):
    """A service of this host."""

    server: Annotated[str, Column("Server", "name of the server that runs the service")]
    service: Annotated[str, Column("Service", "name of the service")]
    status: Annotated[Literal["active", "inactive"], Column("Status", "active or inactive")]


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
        settings = read_settings(self._home)
        separate = settings.main.relay_service == "separate"
        active = {
            "crs": self._answers("show system"),
            "crs_relay": relay_answers(self._home) if separate else self._answers("show relay"),
        }
        active |= {name: not problem for name, problem in redis_problems(settings.main).items()}
        return [
            ServiceRow(settings.name, name, "active" if there else "inactive")
            for name, there in active.items()
        ]

    @command("check slot", role=Role.viewer, local=True)
    def slot(self, uri: Uri) -> SlotRow:
        """Show the slot of a mobile number, and the servers that it is allocated to.

        Example: crs-cli check slot +4612345
        """
        from rtlib.store import slot_of

        check_uri(uri)
        return SlotRow(slot_of(uri), server_name(self._home), "")

    def _answers(self, question: str) -> bool:
        try:
            self._client.call(question, {}, ANSWER_TIME)
        except Unavailable:
            return False
        return True


def relay_answers(home: Path) -> bool:
    """Whether a relay that is a process of its own greets whoever comes."""
    import socket

    from crs.home import RELAY_SOCKET

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_TIME)
        try:
            sock.connect(str(home / RELAY_SOCKET))
            return bool(sock.recv(1))
        except OSError:
            return False


def redis_problems(main: Main) -> dict[str, str]:
    """Why each Redis service that is in use does not serve us, or nothing, by its name. Blocks."""
    from rtlib.store import StoreError
    from rtlib.store.server import Login, examine, parse_place

    problems = dict.fromkeys(main.redis, "")
    for name, server in main.redis.items():
        try:
            login = Login(password=server.password or "")
            durable = name == "redis_high"
            examine(parse_place(server.place), login, ANSWER_TIME, durable=durable)
        except (OSError, ValueError, StoreError) as error:
            problems[name] = str(error)
    return problems


def server_name(home: Path) -> str:
    """This host's name in the configuration. Raises CommandError for files that cannot be read."""
    return read_settings(home).name


def read_settings(home: Path) -> Settings:
    """The configuration. Raises CommandError for files that cannot be read."""
    from crs.settings import load
    from rtlib.settings import SettingsError

    try:
        return load(home)
    except (SettingsError, OSError) as error:
        raise CommandError(str(error)) from error
