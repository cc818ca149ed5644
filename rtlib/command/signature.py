"""What a command is, read from its function: arguments, options, help, example and reply type."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from rtlib.command.file import File
from rtlib.command.stream import Stream

_NAME: Final = re.compile(r"[a-z][A-Za-z0-9-]*( [a-z][A-Za-z0-9-]*)*")
_EXAMPLE: Final = re.compile(r"^\s*Example:\s*(.+)$", re.MULTILINE)


class Role(IntEnum):
    """Who may call a command; a higher role may do all that a lower one may."""

    viewer = 1
    """Looks, changes nothing, sees no secrets."""
    operator = 2
    """Runs the service."""
    administrator = 3
    """Everything, secrets included; whoever may open the command socket."""


@dataclass(frozen=True)
class Argument:
    """In an Annotated parameter: what it means, for help and reference."""

    help: str
    completes: str = ""
    """The name of the completion that a shell offers for it; the program that is built knows its words."""


@dataclass(frozen=True, init=False)
class Option:
    """In an Annotated keyword-only parameter: its flags and what it means."""

    flags: tuple[str, ...]
    help: str

    def __init__(self, *flags: str, help: str = "") -> None:
        object.__setattr__(self, "flags", flags)
        object.__setattr__(self, "help", help)


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a command."""

    name: str
    """As in Python."""
    annotation: Any
    """The msgspec type that a value is converted to."""
    default: Any
    """`inspect.Parameter.empty` where it is required."""
    flags: tuple[str, ...]
    """Empty for an argument."""
    help: str
    completes: str = ""
    """As in `Argument`."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is inspect.Parameter.empty

    @property
    def label(self) -> str:
        """As operators read it: `account-id`, `--secret`."""
        long = [flag for flag in self.flags if flag.startswith("--")]
        return (long or list(self.flags) or [self.name.replace("_", "-")])[0]

    @property
    def variadic(self) -> bool:
        """Whether it takes any number of words."""
        return get_origin(plain(self.annotation)) is list

    @property
    def is_file(self) -> bool:
        """Whether it is a file that the caller hands over; a command has at most one."""
        return plain(self.annotation) is File

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words, where there are only some."""
        base = plain(self.annotation)
        if get_origin(base) is Literal:
            return tuple(map(str, get_args(base)))
        if isinstance(base, type) and issubclass(base, Enum):
            return tuple(str(member.value) for member in base)
        return ()


@dataclass(frozen=True)
class Spec:
    """A command: everything that help, completion, checks, rendering and reference are made from."""

    name: str
    role: Role
    local: bool
    """It runs in the command line program, also when no daemon runs."""
    help: str
    """One sentence."""
    description: str
    """Further paragraphs; may be empty."""
    example: str
    parameters: tuple[Parameter, ...]
    reply: Any
    """The type of the reply, or of one row of a stream."""
    stream: bool

    @property
    def words(self) -> tuple[str, ...]:
        """The words of its name."""
        return tuple(self.name.split())

    @property
    def usage(self) -> str:
        """Its name and parameters as they are typed."""
        return " ".join([self.name, *map(_usage, self.parameters)])


def plain(annotation: Any) -> Any:
    """A type without Annotated and without `| None`."""
    if get_origin(annotation) is Annotated:
        return plain(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        some = [item for item in get_args(annotation) if item is not type(None)]
        return plain(some[0]) if len(some) == 1 else annotation
    return annotation


def read(function: Callable[..., Any], name: str, role: Role, local: bool) -> Spec:
    """The spec of a function. Raises TypeError for what is missing: the author has to add it."""
    if _NAME.fullmatch(name) is None:
        raise TypeError(f"{name!r} is not a command name: words of letters, digits and dashes")
    text = inspect.cleandoc(function.__doc__ or "")
    example = _EXAMPLE.search(text)
    if not text or example is None:
        raise TypeError(f"command {name!r} needs a docstring with an `Example:` line")
    hints = get_type_hints(function, include_extras=True)
    summary, _, rest = _EXAMPLE.sub("", text).strip().partition("\n")
    reply, stream = _reply(name, hints)
    return Spec(
        name=name,
        role=role,
        local=local,
        help=summary.strip(),
        description=rest.strip(),
        example=example[1].strip(),
        parameters=tuple(_parameters(name, function, hints)),
        reply=reply,
        stream=stream,
    )


def _reply(name: str, hints: dict[str, Any]) -> tuple[Any, bool]:
    if "return" not in hints:
        raise TypeError(f"command {name!r} has no reply type")
    reply = hints["return"]
    if get_origin(reply) is Stream:
        return get_args(reply)[0], True
    return reply, False


def _parameters(name: str, function: Callable[..., Any], hints: dict[str, Any]) -> list[Parameter]:
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.name not in hints:
            raise TypeError(f"command {name!r}: parameter {parameter.name!r} has no type")
        found.append(_parameter(parameter, hints[parameter.name]))
    return found


def _parameter(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    note = next((item for item in notes if isinstance(item, Option | Argument)), None)
    flags: tuple[str, ...] = ()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        default = ("--" + parameter.name.replace("_", "-"),)
        flags = (note.flags if isinstance(note, Option) else ()) or default
    elif isinstance(note, Option) or parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise TypeError(f"parameter {parameter.name!r}: options are keyword-only, all else is an argument")
    completes = note.completes if isinstance(note, Argument) else ""
    return Parameter(
        parameter.name, annotation, parameter.default, flags, note.help if note else "", completes
    )


def _usage(parameter: Parameter) -> str:
    if parameter.flags:
        word = parameter.flags[0]
        value = "" if plain(parameter.annotation) is bool else f" {parameter.name.upper()}"
        text = f"{word}{value}"
    else:
        text = parameter.label.upper() + ("..." if parameter.variadic else "")
    return text if parameter.required else f"[{text}]"
