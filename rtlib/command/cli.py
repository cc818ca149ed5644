"""The command line of a daemon, built from its commands' specs: `crs-cli show attach`.

Exit codes: 0, 1 when a command failed, 2 for wrong usage. Nothing of the daemon is imported.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from rtlib.command import render
from rtlib.command.client import Client
from rtlib.command.error import CommandError
from rtlib.command.registry import Registry
from rtlib.command.signature import Parameter, Spec, plain

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


@dataclass(frozen=True)
class _Context:
    """What the options before the command say."""

    directory: Path
    client: Client
    json: bool


def build(
    name: str,
    specs: Iterable[Spec],
    place: Place,
    *,
    help: str,
    local: Callable[[Path], Registry] = lambda directory: Registry(),
) -> click.Group:
    """The program `name`. `local` gives, for a directory, the registry that local commands run in."""
    root = click.Group(
        name, help=help, callback=_options(place), params=_root_parameters(place), no_args_is_help=True
    )
    for spec in sorted(specs, key=lambda spec: spec.name):
        group = root
        for word in spec.words[:-1]:
            group = _subgroup(group, word)
        group.add_command(_command(spec, local))
    return root


def main(group: click.Group) -> None:
    """Run the program on this process's arguments and exit. Output that nobody reads ends it quietly."""
    try:
        code = group.main(prog_name=group.name, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except CommandError as error:
        click.echo(f"{group.name}: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


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
        context.obj = _Context(directory, Client(place.daemon, socket or directory / place.socket), json)

    return options


def _subgroup(group: click.Group, word: str) -> click.Group:
    found = group.commands.get(word)
    if isinstance(found, click.Group):
        return found
    new = click.Group(word, help=f"Commands: {word} ...", no_args_is_help=True)
    group.add_command(new)
    return new


def _command(spec: Spec, local: Callable[[Path], Registry]) -> click.Command:
    @click.pass_obj
    def run(context: _Context, /, **values: Any) -> None:
        arguments = {key: _listed(value) for key, value in values.items() if value not in {None, ()}}
        if spec.local:
            _show(spec, local(context.directory).call_now(spec.name, arguments), context.json)
        elif spec.stream:
            _follow(spec, context.client.stream(spec.name, arguments), context.json)
        else:
            reply = msgspec.convert(context.client.call(spec.name, arguments), spec.reply)
            _show(spec, reply, context.json)

    return click.Command(
        spec.words[-1],
        callback=run,
        params=[_parameter(parameter) for parameter in spec.parameters],
        short_help=spec.help,
        help="\n\n".join(filter(None, [spec.help, spec.description, _arguments(spec)])),
        epilog=f"Example: {spec.example}",
    )


def _show(spec: Spec, reply: Any, as_json: bool) -> None:
    click.echo(render.json(reply) if as_json else render.text(reply, spec.reply), nl=False)


def _follow(spec: Spec, rows: Iterator[Any], as_json: bool) -> None:
    line = render.json_line if as_json else render.trace_line
    try:
        for row in rows:
            click.echo(line(msgspec.convert(row, spec.reply)), nl=False)
    except KeyboardInterrupt:
        return


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _arguments(spec: Spec) -> str:
    """What the arguments mean; click's own help has the options only."""
    lines = [
        f"  {parameter.label.upper()}  {parameter.help}"
        for parameter in spec.parameters
        if not parameter.flags and parameter.help
    ]
    return "\n".join(["\b", "Arguments:", *lines]) if lines else ""


def _parameter(parameter: Parameter) -> click.Parameter:
    """The parameter for click. What is not given stays None: the function has the default."""
    kind = _type(parameter)
    if not parameter.flags:
        return click.Argument(
            [parameter.name],
            type=kind,
            required=parameter.required,
            nargs=-1 if parameter.variadic else 1,
            metavar=_metavar(parameter),
        )
    flag = kind is click.BOOL
    return click.Option(
        [*parameter.flags, parameter.name],
        type=None if flag else kind,
        is_flag=flag,
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
    if parameter.choices:
        return click.Choice(parameter.choices)
    return _SCALARS.get(plain(parameter.annotation), click.STRING)
