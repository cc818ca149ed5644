"""The program `crs-cms`, the reference CMS (docs/update-files.md). Exit codes: 0, 1 failed, 2 wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from crs.cms.account import Folder
    from crs.update.month import Month

MAX_BLOB: Final = 32 * 2**10
"""As in crs.update.content, which is imported only when a command needs it."""

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_Command = Callable[..., Any]

_settings: Final = (
    click.option("--domain-token", metavar="TEXT", help="What `lookup client -v` shows of the domain."),
    click.option(
        "--connect",
        metavar="ACCOUNT",
        multiple=True,
        help="A connected domain; may be repeated. '' for none.",
    ),
)
_force: Final = click.option("--force", is_flag=True, help="Replace files that are there.")


def main() -> None:
    """Run crs-cms on this process's arguments."""
    try:
        code = _program.main(prog_name="crs-cms", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def _do(act: Callable[[], str]) -> None:
    """Print what a command gives, or say in one line why it could not."""
    from crs.cms.error import CmsError
    from crs.update.error import UpdateError

    try:
        click.echo(act())
    except (CmsError, UpdateError) as error:
        click.echo(f"crs-cms: {error}", err=True)
        sys.exit(1)


def _with_settings(command: _Command) -> _Command:
    for option in reversed(_settings):
        command = option(command)
    return command


def _server(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """HOST:PORT of HOST[:PORT], with an IPv6 address in brackets."""
    from crs.provisioning import ProvisioningError, join, split

    if value is None:
        return None
    try:
        return join(*split(value))
    except ProvisioningError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _month(context: click.Context, parameter: click.Parameter, value: str | None) -> Month | None:
    from crs.update.month import Month

    try:
        return None if value is None else Month.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that the command line has, by the names of `crs.cms.account.Account`."""
    connected = settings.pop("connect")
    if connected:
        settings["connected_domains"] = [domain for domain in connected if domain]
    return {name: value for name, value in settings.items() if value is not None}


@click.group("crs-cms", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    envvar="CRS_CMS",
    show_default=True,
    help="The account's folder.",
)
@click.pass_context
def _program(context: click.Context, directory: Path) -> None:
    """Reference CMS: keeps an account's clients, provisions them, and issues monthly updates.

    Example: crs-cms -d demo create demo --server 192.0.2.1
    """
    from crs.cms.account import Folder

    context.obj = Folder(directory)


@_program.command()
@click.argument("account")
@click.option("--server", callback=_server, required=True, metavar="HOST[:PORT]", help="For the clients.")
@click.option("--secret-file", type=_FILE, help="The shared secret in base64; one is made if there is none.")
@click.option("--listed-only", is_flag=True, help="Turn away clients that no update lists.")
@_with_settings
@click.pass_obj
def create(folder: Folder, /, account: str, server: str, secret_file: Path | None, **settings: Any) -> None:
    """Make an account in the folder.

    Example: crs-cms -d demo create demo --server 192.0.2.1
    """
    from crs.cms import program

    _do(lambda: program.create(folder, _given(id=account, server=server, **settings), secret_file))


@_program.command()
@click.option("--secret", is_flag=True, help="Show the shared secret, too.")
@click.pass_obj
def show(folder: Folder, secret: bool) -> None:
    """Show the account's settings.

    Example: crs-cms -d demo show --secret
    """
    from crs.cms import program

    _do(lambda: program.show(folder, secret=secret))


@_program.command()
@click.option("--server", callback=_server, metavar="HOST[:PORT]", help="For the clients.")
@click.option("--listed-only/--no-listed-only", default=None, help="Turn away clients that are not listed.")
@_with_settings
@click.pass_obj
def change(folder: Folder, /, **settings: Any) -> None:
    """Change settings of the account.

    Example: crs-cms -d demo change --listed-only --connect neighbour
    """
    from crs.cms import program

    given = _given(**settings)
    if not given:
        raise click.UsageError("say what to change")
    _do(lambda: program.change(folder, given))


@_program.command()
@click.option("--secret-file", type=_FILE, help="The new secret in base64; one is made if there is none.")
@click.pass_obj
def rotate(folder: Folder, secret_file: Path | None) -> None:
    """Give the account another shared secret.

    Update files are made with it from now on, so give it to the server first; the former one stays valid
    there for a while, in which the clients get their new keys.

    Example: crs-cms -d demo rotate
    """
    from crs.cms import program

    _do(lambda: program.rotate(folder, secret_file))


@_program.command("list")
@click.pass_obj
def list_clients(folder: Folder) -> None:
    """List the clients, as CSV.

    Example: crs-cms -d demo list > clients.csv
    """
    from crs.cms import program

    _do(lambda: program.listing(folder))


@_program.command()
@click.argument("file", type=_FILE)
@click.pass_obj
def add(folder: Folder, file: Path) -> None:
    """Add or replace the clients of a CSV file.

    The first line names the columns: uri, and if wanted name, team_codes, blob.

    Example: crs-cms -d demo add clients.csv
    """
    from crs.cms import program

    _do(lambda: program.add(folder, file))


@_program.command()
@click.argument("uris", metavar="[URI]...", nargs=-1)
@click.option("--csv", "file", type=_FILE, help="Remove the clients of this file.")
@click.pass_obj
def remove(folder: Folder, uris: tuple[str, ...], file: Path | None) -> None:
    """Remove clients.

    Example: crs-cms -d demo remove +46701234567
    """
    from crs.cms import program

    if not uris and file is None:
        raise click.UsageError("say whom to remove: URIs or --csv")
    _do(lambda: program.remove(folder, uris, file))


@_program.command()
@click.option("--month", callback=_month, metavar="YYYY-MM", help="Default: the current month.")
@click.option("--blob-size", type=click.IntRange(1, MAX_BLOB), default=32, show_default=True, help="Bytes.")
@click.option("--keep", type=_FILE, metavar="FILE", help="An update for the same month: blobs in it stay.")
@click.option("-o", "--output", type=_FILE, help="Default: ACCOUNT-YYYY-MM.upd in the folder.")
@_force
@click.pass_obj
def issue(folder: Folder, /, **options: Any) -> None:
    """Issue the update file of a month.

    It is protected, and made for `crs-cli apply`. A client's blob comes from the file in its CSV
    column blob, else it is random.

    Example: crs-cms -d demo issue --month 2026-10
    """
    from crs.cms import program

    _do(lambda: program.issue_update(folder, **options))


@_program.command()
@click.argument("file", type=_FILE)
@click.pass_obj
def inspect(folder: Folder, file: Path) -> None:
    """Check an update file and show what it holds.

    Example: crs-cms -d demo inspect demo/demo-2026-10.upd
    """
    from crs.cms import program

    _do(lambda: program.inspect(folder, file))


@_program.command()
@click.argument("uri")
@click.option("--e2e-secret-file", type=_FILE, help="Add the end-to-end secret of this file, in base64.")
@click.option("--qr", is_flag=True, help="Show a QR code, too.")
@click.option("-o", "--output", type=_FILE, help="Write the text to this file instead.")
@click.option("--png", type=_FILE, help="Write the QR code to this file.")
@click.option("--svg", type=_FILE, help="Write the QR code to this file.")
@_force
@click.pass_obj
def provision(folder: Folder, /, uri: str, e2e_secret_file: Path | None, **outputs: Any) -> None:
    """Print what a client needs to connect.

    Its key is part of it, so show it to nobody else.

    Example: crs-cms -d demo provision +46701234567 --png key.png
    """
    from crs.cms import program
    from crs.cms.output import Outputs

    _do(lambda: program.provision(folder, uri, e2e_secret_file, Outputs(**outputs)))


if __name__ == "__main__":
    main()
