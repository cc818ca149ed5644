"""`crs-client`: the reference client on the command line."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from crs.client.credentials import Credentials, Server
    from crs.client.program import Access, Audio

DEFAULT_PORT: Final = 5223
PROVISIONING_LIMIT: Final = 65536
"""Characters of a file that are looked at."""

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_SECONDS: Final = click.FloatRange(min=0)

_Command = Callable[..., Any]
_Value = TypeVar("_Value")


def _server(context: click.Context, parameter: click.Parameter, value: str | None) -> Server | None:
    """HOST[:PORT], with an IPv6 address in brackets."""
    from crs.client.credentials import Server

    if value is None:
        return None
    host, separator, port = value.rpartition(":")
    if not separator or value.endswith("]"):
        host, port = value, str(DEFAULT_PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", context, parameter)
    return Server(host.strip("[]"), int(port))


def _options(*options: _Command) -> Callable[[_Command], _Command]:
    """Several click options as one decorator, in the order in which `--help` lists them."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_provisioned = click.option(
    "--provisioning",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("~/.config/crs-client/provisioning"),
    envvar="CRS_CLIENT_PROVISIONING",
    show_default=True,
    help="What `crs-client provision` has kept: who this is, where the server is. Used without --uri.",
)
_who = _options(
    click.option("--uri", help="The client's URI, usually a mobile number."),
    click.option("--account", help="The client's account ID."),
    click.option("--key-file", type=_FILE, help="File with this client's key in base64."),
    click.option("--secret-file", type=_FILE, help="File with the account's shared secret in base64."),
)
_where = _options(
    click.option(
        "--server",
        callback=_server,
        metavar="HOST[:PORT]",
        help=f"The server.  [default: as provisioned, else 127.0.0.1:{DEFAULT_PORT}]",
    ),
    click.option("--e2e-secret-file", type=_FILE, help="File with the end-to-end secret, in base64."),
    _provisioned,
)
_audio = _options(
    click.option("--tone", type=click.FloatRange(20, 4000), default=440, show_default=True, help="Play: Hz."),
    click.option("--wav", type=_FILE, help="Play this file instead: 16 bits, mono, 8000 Hz."),
)


def _connecting(command: _Command) -> _Command:
    """Add the options of every command that connects; the command gets them as its first argument."""

    @_who
    @_where
    @wraps(command)
    def packed(
        *,
        server: Server | None,
        uri: str | None,
        account: str | None,
        key_file: Path | None,
        secret_file: Path | None,
        e2e_secret_file: Path | None,
        provisioning: Path,
        **options: Any,
    ) -> None:
        from crs.client.credentials import Server, provisioned, read_base64
        from crs.client.program import Access

        secret = _checked(lambda: read_base64(e2e_secret_file)) if e2e_secret_file is not None else None
        if any((uri, account, key_file, secret_file)) or not provisioning.expanduser().exists():
            credentials = _credentials(uri, account, key_file, secret_file)
            access = Access(server or Server("127.0.0.1", DEFAULT_PORT), credentials, secret)
        else:
            known = _checked(lambda: provisioned(provisioning.expanduser()))
            access = Access(server or known.server, known.credentials, secret or known.end_to_end_secret)
        command(access, **options)

    return packed


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Reference client of a crs server.

    Example: crs-client call +4670111 --uri +4670222 --account demo --key-file key --tone 440
    """


@main.command()
@_connecting
@click.option("--seconds", type=_SECONDS, default=0, help="Stay attached this long.")
def attach(access: Access, seconds: float) -> None:
    """Attach, to see whether server, identity and key fit.

    Example: crs-client attach --server 192.0.2.1 --uri +4670111 --account demo --key-file key
    """
    from crs.client import program

    program.run(lambda reactor: program.attach(reactor, access, seconds))


@main.command()
@click.argument("to")
@click.argument("text")
@_connecting
@click.option("--to-account", help="The recipient's account; default: the client's own.")
@click.option("--also", multiple=True, metavar="URI", help="A further recipient, of the same account.")
@click.option("--ttl", type=click.IntRange(1, 31 * 86400), help="Seconds to keep it for the recipient.")
def send(
    access: Access, *, to: str, text: str, to_account: str | None, also: tuple[str, ...], ttl: int | None
) -> None:
    """Send the message TEXT to the URI TO, who gets it now or when it attaches; with --also to a group.

    Example: crs-client send +4670111 "good morning" --uri +4670222 --account demo --key-file key
    """
    from crs.client import program
    from crs.identity import Identity

    account = to_account or access.credentials.account
    recipients = [Identity(uri, account) for uri in (to, *also)]
    program.run(lambda reactor: program.send(reactor, access, recipients, text, ttl))


@main.command()
@click.argument("name")
@click.argument("file", type=_FILE)
@_connecting
def put(access: Access, *, name: str, file: Path) -> None:
    """Keep the content of FILE, at most 32 KiB, at the server under NAME.

    Example: crs-client put contacts contacts.bin --uri +4670111 --account demo --key-file key
    """
    from crs.client import program

    data = file.read_bytes()
    program.run(lambda reactor: program.put(reactor, access, name, data))


@main.command()
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_connecting
def get(access: Access, *, name: str, file: Path) -> None:
    """Write what the server keeps under NAME into FILE.

    Example: crs-client get contacts contacts.bin --uri +4670111 --account demo --key-file key
    """
    from crs.client import program

    program.run(lambda reactor: program.get(reactor, access, name, file))


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@_provisioned
@click.option("--force", is_flag=True, help="Replace what is kept there.")
def provision(*, file: str, provisioning: Path, force: bool) -> None:
    """Keep the provisioning of FILE (- for standard input), so that other commands need no options.

    It is what `crs-cms provision` prints, or what its QR code holds. It holds this client's key.

    Example: crs-client provision anna.crs
    """
    from crs.client.credentials import keep_provisioning

    with click.open_file(file) as source:
        text = source.read(PROVISIONING_LIMIT)
    known = _checked(lambda: keep_provisioning(text, provisioning.expanduser(), force=force))
    who = known.credentials
    click.echo(f"{who.uri}@{who.account} at {known.server}, kept in {provisioning}")


@main.command()
@click.argument("directory", type=_DIRECTORY)
@_connecting
@click.option("--seconds", type=_SECONDS, default=0, help="Stay attached this long for further ones.")
def updates(access: Access, *, directory: Path, seconds: float) -> None:
    """Fetch the monthly updates that are offered, keep them in DIRECTORY, and confirm them.

    Example: crs-client updates ~/updates
    """
    from crs.client import program

    program.run(lambda reactor: program.take_updates(reactor, access, directory, seconds))


@main.command()
@click.argument("to")
@_connecting
@_audio
@click.option("--to-account", help="The callee's account; default: the client's own.")
@click.option("--record", type=click.Path(dir_okay=False, path_type=Path), help="WAV file for what arrives.")
@click.option("--seconds", type=_SECONDS, default=5, show_default=True, help="Hang up after this long.")
@click.option(
    "--add-streams",
    type=click.IntRange(0, 7),
    default=0,
    help="Add so many audio streams once the callee has answered.",
)
def call(
    access: Access,
    *,
    to: str,
    tone: float,
    wav: Path | None,
    to_account: str | None,
    record: Path | None,
    seconds: float,
    add_streams: int,
) -> None:
    """Call the URI TO, play a tone or a WAV file, and count or record what arrives.

    Example: crs-client call +4670111 --uri +4670222 --account demo --key-file key --record heard.wav
    """
    from crs.client import program
    from crs.identity import Identity

    account = to_account or access.credentials.account
    audio = _playable(tone, wav, seconds)
    callee = Identity(to, account)
    program.run(lambda reactor: program.call(reactor, access, callee, audio, record, add_streams=add_streams))


@main.command()
@click.argument("to", nargs=-1, required=True)
@_connecting
@_audio
@click.option("--to-account", help="The account of those called; default: the client's own.")
@click.option("--record-dir", type=_DIRECTORY, help="Directory for a WAV file of each party.")
@click.option("--seconds", type=_SECONDS, default=5, show_default=True, help="Leave after this long.")
def group(
    access: Access,
    *,
    to: tuple[str, ...],
    tone: float,
    wav: Path | None,
    to_account: str | None,
    record_dir: Path | None,
    seconds: float,
) -> None:
    """Begin a group call with all URIs TO, play a tone or a WAV file, and count or record each party.

    All need the same end-to-end secret, for the media are sealed with it.

    Example: crs-client group +4670111 +4670333 --uri +4670222 --account demo --key-file key
    """
    from crs.client import program
    from crs.identity import Identity

    account = to_account or access.credentials.account
    parties = [Identity(uri, account) for uri in to]
    audio = _playable(tone, wav, seconds)
    program.run(lambda reactor: program.group(reactor, access, parties, audio, record_dir))


@main.command()
@click.argument("room")
@_connecting
@_audio
@click.option("--room-account", help="The account of the room; default: any that can be reached.")
@click.option("--record-dir", type=_DIRECTORY, help="Directory for a WAV file of each party.")
@click.option("--seconds", type=_SECONDS, default=5, show_default=True, help="Leave after this long.")
def join(
    access: Access,
    *,
    room: str,
    tone: float,
    wav: Path | None,
    room_account: str | None,
    record_dir: Path | None,
    seconds: float,
) -> None:
    """Dial the conference room ROOM, play a tone or a WAV file, and count or record each party.

    Example: crs-client join 123456 --uri +4670222 --account demo --key-file key
    """
    from crs.client import program

    audio = _playable(tone, wav, seconds)
    program.run(lambda reactor: program.join(reactor, access, (room, room_account), audio, record_dir))


@main.command()
@_connecting
@_audio
@click.option("--answer", is_flag=True, help="Answer calls; without it they are refused as busy.")
@click.option("--record-dir", type=_DIRECTORY, help="Directory for a WAV file of each call.")
@click.option(
    "--update-dir", type=_DIRECTORY, help="Take monthly updates that are offered, and keep them there."
)
@click.option("--seconds", type=_SECONDS, help="Listen this long; default: until interrupted.")
def listen(
    access: Access,
    *,
    tone: float,
    wav: Path | None,
    answer: bool,
    record_dir: Path | None,
    update_dir: Path | None,
    seconds: float | None,
) -> None:
    """Attach and print messages and calls as they arrive; stop with ctrl-c.

    Example: crs-client listen --answer --uri +4670111 --account demo --key-file key
    """
    from crs.client import program

    audio = _playable(tone, wav, None) if answer else None
    folders = program.Folders(record_dir, update_dir)
    program.run(lambda reactor: program.listen(reactor, access, audio, folders, seconds))


@main.command()
@_who
def key(uri: str | None, account: str | None, key_file: Path | None, secret_file: Path | None) -> None:
    """Print a client's key in base64, derived from the account's shared secret.

    A client needs its key only: the secret opens every client of the account.

    Example: crs-client key --uri +4670111 --account demo --secret-file secret > key
    """
    click.echo(b64encode(_credentials(uri, account, key_file, secret_file).key).decode())


def _credentials(
    uri: str | None, account: str | None, key_file: Path | None, secret_file: Path | None
) -> Credentials:
    from crs.client.credentials import Credentials, read_base64

    if uri is None or account is None:
        missing = "--uri" if uri is None else "--account"
        raise click.UsageError(f"{missing} is missing (crs-client provision makes it unnecessary)")
    if (key_file is None) == (secret_file is None):
        raise click.UsageError("give either --key-file or --secret-file")
    if key_file is not None:
        return _checked(lambda: Credentials(uri, account, read_base64(key_file)))
    assert secret_file is not None
    return _checked(lambda: Credentials.derived(uri, account, read_base64(secret_file)))


def _playable(tone: float, wav: Path | None, seconds: float | None) -> Audio:
    from crs.client.program import Audio

    audio = Audio(tone, wav, seconds)
    _checked(audio.frames)
    return audio


def _checked(read: Callable[[], _Value]) -> _Value:
    """What `read` gives; what is wrong with the user's files or names is an error of usage."""
    from crs.client.error import ClientError

    try:
        return read()
    except ClientError as error:
        raise click.UsageError(str(error)) from error
