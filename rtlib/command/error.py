"""Why a command failed: a small family that every front end maps, the command line to exit codes."""

from __future__ import annotations

from typing import ClassVar, Final


class CommandError(Exception):
    """The command could not be done; the text is a sentence for the operator."""

    kind: ClassVar[str] = "failed"
    """Its name on the wire."""
    exit_code: ClassVar[int] = 1


class BadArgument(CommandError):
    """The command was called wrongly; the text names the argument."""

    kind = "bad-argument"
    exit_code = 2


class NotFound(CommandError):
    """What the arguments name does not exist."""

    kind = "not-found"


class Conflict(CommandError):
    """It exists already, or its state does not allow this."""

    kind = "conflict"


class Unavailable(CommandError):
    """It cannot be done now: storage, shutdown, a limit, or nobody answers."""

    kind = "unavailable"


class Denied(CommandError):
    """The caller's role does not allow this command."""

    kind = "denied"


_KINDS: Final = {
    error.kind: error for error in (CommandError, BadArgument, NotFound, Conflict, Unavailable, Denied)
}


def from_kind(kind: str, message: str) -> CommandError:
    """The error that the other end of the socket raised."""
    return _KINDS.get(kind, CommandError)(message)
