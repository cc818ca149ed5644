"""The command line of a daemon, built from its commands' specs: `crs-cli show attach`.

Exit codes: 0, 1 when a command failed, 2 for wrong usage. Nothing of the daemon is imported.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import msgspec

from rtlib.command import render
from rtlib.command.audit import DONE, AuditLog, Caller
from rtlib.command.client import Client
from rtlib.command.error import BadArgument, CommandError
from rtlib.command.file import File
from rtlib.command.registry import Registry
from rtlib.command.report import Report
from rtlib.command.signature import Parameter, Spec, plain

Local: TypeAlias = Callable[[Path, Client], Registry]
Complete: TypeAlias = Callable[[Client, Mapping[str, Any]], Iterable[str]]
"""The words for an argument, from the daemon and the arguments before it. May raise CommandError."""

LISTENING: Final = "listening; ctrl-c ends it"
"""What a trace says on standard error once it is sent what happens."""

_SCALARS: Final = {int: click.INT, float: click.FLOAT, str: click.STRING, bool: click.BOOL}


@dataclass(frozen=True)
class Place:
    """How the command line finds the daemon: a directory, by option, environment or default."""

    daemon: str
    """Its name in messages."""
    option: str = "--home"
    variable: str = ""
    default: str = "."
    socket: str = "run/command.sock"
    """Under the directory."""
    help: str = "The daemon's directory."
    audit: Callable[[Path], Path] | None = None
    """The file of the audit log, for the acts of local commands; None for none."""


@dataclass(frozen=True)
class _Context:
    """What the options before the command say."""

    directory: Path
    client: Client
    json: bool
    audit: AuditLog | None


@dataclass(frozen=True)
class _Program:
    """What its commands need to know of it."""

    place: Place
    local: Local
    complete: Mapping[str, Complete]


def build(
    name: str,
    specs: Iterable[Spec],
    place: Place,
    *,
    help: str,
    local: Local = lambda directory, client: Registry(),
    complete: Mapping[str, Complete] = {},
) -> click.Group:
    """The program `name`.

    `local` gives, for a directory and a client of its daemon, the registry that local commands run in.
    `complete` has, by the names in `Argument.completes`, what a shell is offered for an argument.
    """
    program = _Program(place, local, complete)
    root = click.Group(
        name, help=help, callback=_options(place), params=_root_parameters(place), no_args_is_help=True
    )
    for spec in sorted(specs, key=lambda spec: spec.name):
        group = root
        for word in spec.words[:-1]:
            group = _subgroup(group, word)
        group.add_command(_command(spec, program))
    return root


def main(group: click.Group) -> None:
    """Run the program on this process's arguments and exit. Output that nobody reads ends it quietly."""
    try:
        code = group.main(prog_name=group.name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except CommandError as error:
        _complain(group, str(error))
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _complain(group, _sentence(group, error))
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def _complain(group: click.Group, text: str) -> None:
    click.echo(f"{group.name}: {render.sentence(text)}", err=True)


def _sentence(group: click.Group, error: click.ClickException) -> str:
    """A wrong usage on one line, with where to look."""
    text = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None and isinstance(context.command, click.Group) and text == "Missing command":
        text = f"Missing word, one of {', '.join(sorted(context.command.commands))}"
    return f"{text}; see {group.name if context is None else context.command_path} --help"


def _root_parameters(place: Place) -> list[click.Parameter]:
    directory = click.Path(path_type=Path)
    return [
        click.Option(
            [place.option, "directory"],
            type=directory,
            default=place.default,
            envvar=place.variable or None,
            show_default=True,
            help=place.help,
        ),
        click.Option(["--socket"], type=directory, help=f"The command socket, if not {place.socket} there."),
        click.Option(["--json"], is_flag=True, help="Print replies as JSON."),
    ]


def _options(place: Place) -> Callable[..., None]:
    @click.pass_context
    def options(context: click.Context, directory: Path, socket: Path | None, json: bool) -> None:
        client = Client(place.daemon, socket or directory / place.socket)
        audit = AuditLog(place.audit(directory)) if place.audit is not None else None
        context.obj = _Context(directory, client, json, audit)

    return options


class _Words(click.Group):
    """Commands that begin with the same word; a list of commands names what may follow it."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The words that may follow, however many."""
        return ", ".join(sorted(self.commands))


def _subgroup(group: click.Group, word: str) -> click.Group:
    found = group.commands.get(word)
    if isinstance(found, click.Group):
        return found
    new = _Words(word, help=f"Commands that begin with `{word}`.", no_args_is_help=False)
    group.add_command(new)
    return new


def _command(spec: Spec, program: _Program) -> click.Command:
    @click.pass_obj
    def run(context: _Context, /, **values: Any) -> int:
        files = {each.name for each in spec.parameters if each.is_file}
        arguments = {key: _listed(value) for key, value in values.items() if _is_given(value)}
        for key in arguments.keys() - files:
            _check_text(key, arguments[key])
        arguments.update({key: _opened(arguments[key]) for key in files & arguments.keys()})
        if spec.local:
            return _show(spec, _call_here(context, spec, arguments, program.local), context.json)
        if spec.stream:
            rows = context.client.stream(spec.name, arguments, _left_out, _listening)
            return _follow(spec, rows, context.json)
        reply = msgspec.convert(context.client.call(spec.name, arguments), spec.reply)
        return _show(spec, reply, context.json)

    return click.Command(
        spec.words[-1],
        callback=run,
        params=[_parameter(parameter, program) for parameter in spec.parameters] + _json_option(spec),
        short_help=spec.help,
        help="\n\n".join(filter(None, [spec.help, spec.description, _arguments(spec)])),
        epilog=f"Example: {spec.example}",
    )


def _json_option(spec: Spec) -> list[click.Parameter]:
    """`--json` behind the command's words as before them; a report has forms of its own."""

    def switch(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value and isinstance(context.obj, _Context):
            context.obj = replace(context.obj, json=True)

    if spec.reply is Report:
        return []
    help = "Print the reply as JSON, without its secrets."
    return [click.Option(["--json"], is_flag=True, expose_value=False, callback=switch, help=help)]


def _call_here(context: _Context, spec: Spec, arguments: dict[str, Any], local: Local) -> Any:
    """Run a local command; if it is an act, the audit log hears of it."""
    result = DONE
    try:
        return local(context.directory, context.client).call_now(spec.name, arguments)
    except CommandError as error:
        result = str(error)
        raise
    finally:
        _record(context.audit, spec, arguments, result)


def _record(audit: AuditLog | None, spec: Spec, arguments: dict[str, Any], result: str) -> None:
    if audit is None:
        return
    try:
        audit.record(Caller(os.getuid(), os.getpid()), spec, arguments, result)
    except OSError as error:
        if result == DONE:
            click.echo(f"not in the audit log: {audit.path}: {error.strerror or error}", err=True)


def _show(spec: Spec, reply: Any, as_json: bool) -> int:
    """Print a reply; the exit code."""
    if isinstance(reply, Report):
        _print(reply.text)
        return reply.exit_code
    _print(render.json(reply) if as_json else render.text(reply, spec.reply))
    return 0


def _print(text: str) -> None:
    """Put text on standard output, at once. Raises CommandError where that cannot take it: a full disk."""
    try:
        click.echo(text, nl=False)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        # What could not be written is still buffered: the interpreter would try, and fail, once more.
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        raise CommandError(f"standard output: {error.strerror or error}") from None


def _follow(spec: Spec, rows: Iterator[Any], as_json: bool) -> int:
    line = render.json_line if as_json else render.trace_line
    try:
        for row in rows:
            _print(line(msgspec.convert(row, spec.reply)))
    except KeyboardInterrupt:
        pass
    return 0


def _listening() -> None:
    click.echo(LISTENING, err=True)


def _left_out(count: int) -> None:
    click.echo(f"{count} events were left out: they came too fast", err=True)


def _is_given(value: Any) -> bool:
    """Whether click has a value for it; a flag that is off has none."""
    return value is not None and value is not False and value != ()


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_text(name: str, value: Any) -> None:
    """Raises BadArgument for what the command line has that is no text."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise BadArgument(f"{name.replace('_', '-')}: is not UTF-8") from None


def _opened(path: str) -> File:
    try:
        return File.open(Path(path))
    except OSError as error:
        raise BadArgument(f"{path}: {error.strerror or error}") from None


def _arguments(spec: Spec) -> str:
    """What the arguments mean; click's own help has the options only."""
    lines = [
        f"  {parameter.label.upper()}  {parameter.help}"
        for parameter in spec.parameters
        if not parameter.flags and parameter.help
    ]
    return "\n".join(["\b", "Arguments:", *lines]) if lines else ""


def _completion(parameter: Parameter, program: _Program) -> dict[str, Any]:
    """What click is told about completing this parameter. Without a daemon no words are known."""
    words = program.complete.get(parameter.completes)
    if words is None:
        return {}

    def offer(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        try:
            found = words(_client(context, program.place), context.params)
        except CommandError:
            return []
        return sorted({word for word in found if word.startswith(incomplete)})

    return {"shell_complete": offer}


def _client(context: click.Context, place: Place) -> Client:
    """The daemon's client while a command line is completed: no callback has made one."""
    values = context.find_root().params
    return Client(place.daemon, values["socket"] or values["directory"] / place.socket)


def _parameter(parameter: Parameter, program: _Program) -> click.Parameter:
    """The parameter for click. What is not given stays None: the function has the default."""
    kind = _type(parameter)
    if not parameter.flags:
        return click.Argument(
            [parameter.name],
            type=kind,
            required=parameter.required,
            nargs=-1 if parameter.variadic else 1,
            metavar=_metavar(parameter),
            **_completion(parameter, program),
        )
    flag = kind is click.BOOL
    return click.Option(
        [*parameter.flags, parameter.name],
        type=None if flag else kind,
        # None and not False: with that click would take an option without its value for one that is absent.
        is_flag=flag or None,
        required=parameter.required,
        multiple=parameter.variadic,
        help=parameter.help + _default(parameter),
    )


def _metavar(parameter: Parameter) -> str:
    text = parameter.label.upper() + ("..." if parameter.variadic else "")
    return text if parameter.required else f"[{text}]"


def _default(parameter: Parameter) -> str:
    value = getattr(parameter.default, "value", parameter.default)
    return "" if value in {inspect.Parameter.empty, None, False} else f"  [default: {value}]"


def _type(parameter: Parameter) -> Any:
    if parameter.is_file:
        return click.Path(dir_okay=False)
    if parameter.choices:
        return click.Choice(parameter.choices)
    return _SCALARS.get(plain(parameter.annotation), click.STRING)
