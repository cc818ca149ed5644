"""`health-check system` and `health-check account`: a look from outside (manual 5.4).

Everything that a check needs is imported when it runs, for the sake of all other commands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from crs.commands.files import AccountId, check_account
from crs.commands.services import redis_problems
from crs.health.report import Format, Test, report
from rtlib.command.client import Client
from rtlib.command.registry import CommandError, Conflict, NotFound, Option, Role, command
from rtlib.command.report import Report

if TYPE_CHECKING:
    from crs.client.credentials import Server
    from crs.health.account import Subject
    from crs.settings import Settings

OutputFormat = Annotated[
    Format,
    Option("--output-format", help="summary: ok, warning or error; json: all tests; tsv: a line for each."),
]
LocalOnly = Annotated[
    bool,
    Option(
        "--local-only", help="Connect to this host only, over the loopback interface if it listens there."
    ),
]


class HealthCommands:
    """Checks the server in `home`; `client` is its command socket's."""

    def __init__(self, home: Path, client: Client) -> None:
        self._home = home
        self._client = client

    @command("health-check system", role=Role.viewer, local=True)
    def system(
        self,
        *,
        output_format: OutputFormat = Format.json,
        local_only: LocalOnly = False,
    ) -> Report:
        """Check that the services run, that clients can connect, and that there is room on the disk.

        Exit code: 0 when all is well, 1 for an error, 3 for a warning.

        Example: crs-cli health-check system --output-format summary
        """
        from crs.health.system import check

        settings = self._settings()
        tests = check(self._home, self._client, _local(settings), redis_problems(settings.main))
        return report(list(tests), output_format)

    @command("health-check account", role=Role.operator, local=True)
    def account(
        self,
        account_id: AccountId,
        *,
        output_format: OutputFormat = Format.json,
        local_only: LocalOnly = False,
    ) -> Report:
        """Check an account: two temporary test clients attach, send a message and make a call.

        Exit code: 0 when all is well, 1 for an error, 3 for a warning.

        Example: crs-cli health-check account example --output-format tsv
        """
        from crs.health import update

        check_account(account_id)
        settings = self._settings()
        servers = _local(settings), _local(settings)
        if not local_only:
            servers = _public(settings)
        with _alone(self._home / "accounts" / account_id):
            tests = _run(self._subject(account_id, servers, settings))
        tests.append(update.check(self._home / "accounts", account_id, datetime.now(UTC)))
        return report(tests, output_format)

    def _subject(self, account: str, servers: tuple[Server, Server], settings: Settings) -> Subject:
        from crs.accounts import AccountError, Accounts
        from crs.health.account import Subject

        try:
            found = Accounts(self._home / "accounts").read().get(account)
        except AccountError as error:
            raise CommandError(str(error)) from error
        if found is None:
            raise NotFound(f"there is no account {account}")
        return Subject(account, found.secret, servers, settings.name.replace(".", "-"))

    def _settings(self) -> Settings:
        from crs.settings import load
        from rtlib.settings import SettingsError

        try:
            return load(self._home)
        except (SettingsError, OSError) as error:
            raise CommandError(str(error)) from error


def _local(settings: Settings) -> Server:
    """This host, by the loopback interface unless the server does not listen there."""
    from crs.client.credentials import Server

    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what is listened on, not by us
    return Server(loopback.get(settings.listen_ip, settings.listen_ip), settings.main.client_listen_port)


def _public(settings: Settings) -> tuple[Server, Server]:
    """The first and the last host of the pool by their public addresses; this host where none are given."""
    from crs.client.credentials import Server

    port = settings.main.client_listen_port
    servers = [Server(ip.address, port) for ip in settings.main.ips] or [_local(settings)]
    return servers[0], servers[-1]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second check of this account out: both would use the same test clients."""
    import fcntl
    import os

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no account {folder.name}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict(f"another health check of {folder.name} is running") from None
    finally:
        os.close(descriptor)


def _run(subject: Subject) -> list[Test]:
    """Make the tests on a reactor of our own, which this program runs once."""
    from crs.health.account import AccountCheck

    return _on_reactor(lambda reactor: AccountCheck(reactor, subject).run())


def _on_reactor(work: Callable[[Any], Awaitable[list[Test]]]) -> list[Test]:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    tests: list[Test] = []

    async def main(reactor: Any) -> None:
        tests.extend(await work(reactor))

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        if ended.code:
            raise CommandError("the check was not finished") from None
    return tests
