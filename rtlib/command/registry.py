"""The command registry: one decorated function is one command, on every front end.

    class Accounts:
        @command("list account")
        def list(self) -> list[AccountRow]:
            \"\"\"List the accounts.

            Example: crs-cli list account
            \"\"\"

Positional parameters are arguments, keyword-only ones options. The reply is a msgspec type, or a
`Stream` of one. Import-light: the command line program reads the specs without the daemon's modules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from rtlib.command.error import (
    BadArgument,
    CommandError,
    Conflict,
    Denied,
    NotFound,
    Unavailable,
)
from rtlib.command.signature import Argument, Option, Parameter, Role, Spec, read
from rtlib.command.stream import Feed, Stream

__all__ = [
    "Argument",
    "BadArgument",
    "CommandError",
    "Conflict",
    "Denied",
    "Feed",
    "NotFound",
    "Option",
    "Parameter",
    "Registry",
    "Role",
    "Spec",
    "Stream",
    "Unavailable",
    "command",
    "declared",
]

Function = TypeVar("Function", bound=Callable[..., Any])

_MARK: Final = "__command__"


def command(name: str, *, role: Role = Role.operator, local: bool = False) -> Callable[[Function], Function]:
    """Make a function or method the command `name`. Raises TypeError when it lacks types or help."""

    def mark(function: Function) -> Function:
        setattr(function, _MARK, read(function, name, role, local))
        return function

    return mark


def declared(*owners: object) -> list[Spec]:
    """The specs of all commands of these modules, classes or instances, without binding them."""
    return [spec for owner in owners for spec, _ in _members(owner)]


class Registry:
    """The commands of one process."""

    def __init__(self) -> None:
        self._commands: dict[str, tuple[Spec, Callable[..., Any]]] = {}

    def add(self, owner: object) -> None:
        """Take every command of an instance or module. Raises ValueError for a name that is taken."""
        for spec, function in _members(owner):
            if spec.name in self._commands:
                raise ValueError(f"there are two commands {spec.name!r}")
            self._commands[spec.name] = spec, function

    @property
    def specs(self) -> list[Spec]:
        """All commands, by name."""
        return [self._commands[name][0] for name in sorted(self._commands)]

    def spec(self, name: str) -> Spec:
        """The spec of a command. Raises BadArgument when there is none."""
        return self._find(name)[0]

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        role: Role = Role.administrator,
    ) -> Any:
        """Run a command and return its reply, or its `Stream`.

        `arguments` are by Python name, their values as JSON has them. Raises CommandError; any
        other exception is a defect of the command.
        """
        reply = self._start(name, arguments or {}, role)
        return await reply if inspect.isawaitable(reply) else reply

    def call_now(self, name: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command that does not wait, without a reactor: the local ones. Raises CommandError."""
        reply = self._start(name, arguments or {}, Role.administrator)
        if inspect.iscoroutine(reply):
            reply.close()
            raise CommandError(f"{name} works only inside the daemon")
        return reply

    def _start(self, name: str, arguments: Mapping[str, Any], role: Role) -> Any:
        spec, function = self._find(name)
        if role < spec.role:
            raise Denied(f"{name} needs the role {spec.role.name}")
        positional, keywords = _bind(spec, arguments)
        return function(*positional, **keywords)

    def _find(self, name: str) -> tuple[Spec, Callable[..., Any]]:
        try:
            return self._commands[name]
        except KeyError:
            raise BadArgument(f"there is no command {name!r}") from None


def _members(owner: object) -> Iterator[tuple[Spec, Callable[..., Any]]]:
    for attribute in dir(owner):
        function = inspect.getattr_static(owner, attribute)
        spec = getattr(function, _MARK, None)
        if isinstance(spec, Spec):
            yield spec, getattr(owner, attribute)


def _bind(spec: Spec, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments as the function takes them. Raises BadArgument, which names the culprit."""
    unknown = set(arguments) - {parameter.name for parameter in spec.parameters}
    if unknown:
        raise BadArgument(f"{spec.name} has no argument {', '.join(sorted(unknown))}")
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in spec.parameters:
        value = _value(parameter, arguments)
        if parameter.flags:
            keywords[parameter.name] = value
        else:
            positional.append(value)
    return positional, keywords


def _value(parameter: Parameter, arguments: Mapping[str, Any]) -> Any:
    if parameter.name not in arguments:
        if parameter.required:
            raise BadArgument(f"{parameter.label} is missing")
        return parameter.default
    try:
        return msgspec.convert(arguments[parameter.name], parameter.annotation)
    except msgspec.ValidationError as error:
        raise BadArgument(f"{parameter.label}: {error}") from None
