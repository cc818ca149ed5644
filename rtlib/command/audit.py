"""The audit log: a line for each act, that is each command that changes something or prints secrets.

    2026-11-23T03:04:05.678Z uid=0 user="root" pid=4711 command="delete account" account_id="red" result="ok"

Strings are quoted as in JSON, secrets masked. A command that a viewer may call is no act.
"""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from rtlib.command.signature import Role, Spec

DONE: Final = "ok"
SECRET_WORDS: Final = ("secret", "key", "password")
"""An argument whose name has one of these is masked."""
MASK: Final = "***"

MAX_VALUE: Final = 200
"""Characters of an argument or a result that are written."""
MODE: Final = 0o640


class Caller(NamedTuple):
    """Who calls: a process on this host."""

    uid: int
    pid: int

    def __str__(self) -> str:
        return f"uid {self.uid}, process {self.pid}" if self.pid > 0 else "unknown"


def masked(name: str, value: object) -> object:
    """An argument's value, or a mask where its name says that it is secret."""
    return MASK if value is not None and any(word in name.lower() for word in SECRET_WORDS) else value


class AuditLog:
    """Appends to a file, which is opened for each line: logrotate may move it away at any time."""

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        """`wall` gives UTC seconds. The file's folder must be there."""
        self.path = path
        self._wall = wall

    def record(self, caller: Caller, spec: Spec, arguments: Mapping[str, Any], result: str) -> None:
        """Write what was called and how it ended, if that is an act. Raises OSError."""
        if spec.role > Role.viewer:
            self._append(_line(self._wall(), caller, spec.name, arguments, result))

    def _append(self, line: str) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            if os.geteuid() == 0:
                # A line of root's command must not leave a file that the daemon's user cannot write to.
                folder = self.path.parent.stat()
                os.fchown(descriptor, folder.st_uid, folder.st_gid)
            os.write(descriptor, line.encode(errors="backslashreplace"))
        finally:
            os.close(descriptor)


def _line(wall: float, caller: Caller, name: str, arguments: Mapping[str, Any], result: str) -> str:
    moment = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {
        "uid": caller.uid,
        "user": _user(caller.uid),
        "pid": caller.pid,
        "command": name,
        **{key: masked(key, value) for key, value in arguments.items()},
        "result": result,
    }
    return " ".join([moment, *(f"{key}={_quoted(value)}" for key, value in fields.items())]) + "\n"


def _quoted(value: object) -> str:
    if isinstance(value, str) and len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + "..."
    text = json.dumps(value)
    return text if len(text) <= 4 * MAX_VALUE else json.dumps(text[:MAX_VALUE] + "...")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
