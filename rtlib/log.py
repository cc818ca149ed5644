"""The log: lines of `[<Time> | Type | Module(PID)] Information` (CRS manual 6.1), or JSON lines.

Time is ISO 8601 UTC; Type is DEBUG, INFO, WARN or INIT; there is no ERROR type, errors are WARN.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias

import msgspec
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    formatEvent,
    globalLogPublisher,
)
from zope.interface import implementer

Level: TypeAlias = Literal["debug", "info", "warn"]
Format: TypeAlias = Literal["text", "json"]
Write: TypeAlias = Callable[[str], object]
Watcher: TypeAlias = Callable[[str, float, str], None]
"""Is told module, time (UTC seconds) and information of an event."""

_TYPES: Final = {LogLevel.debug: "DEBUG", LogLevel.info: "INFO"}
_RANKS: Final = {"DEBUG": 0, "INFO": 1, "INIT": 1, "WARN": 2}
_GENERIC: Final = frozenset({"service", "server", "tap", "core"})
"""Module names that say nothing without their package."""

_CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
} | {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}

CHECK_INTERVAL: Final = 1.0
"""Seconds between two looks whether the file was rotated."""


def init(log: Logger, text: str, **values: object) -> None:
    """Log an event of the type INIT: start, stop, listening, loaded. `text` is a format like Logger's."""
    log.info(text, kind="INIT", **values)


class LogFile:
    """A file that lines are appended to; opened again when logrotate has moved it away.

    Raises OSError when it cannot be opened at first; later it goes on with the file that it has.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._file = self._open()
        self._checked = clock()

    def write(self, text: str) -> None:
        """Append the text, one or more whole lines. A full disk loses it: the log never stops a call."""
        if self._clock() - self._checked >= CHECK_INTERVAL:
            self._checked = self._clock()
            self._follow()
        try:
            os.write(self._file, text.encode(errors="backslashreplace"))
        except OSError:
            return

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _follow(self) -> None:
        try:
            there, ours = self.path.stat(), os.fstat(self._file)
            if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                return
        except FileNotFoundError:
            pass
        try:
            self._file, old = self._open(), self._file
        except OSError:
            return
        os.close(old)


@implementer(ILogObserver)
class LogObserver:
    """Formats events and hands the lines to each of `writes`. `level` and `format` may be changed."""

    def __init__(self, writes: Sequence[Write], level: Level = "info", format: Format = "text") -> None:
        self.level = level
        self.format = format
        self._writes = writes

    def change(self, level: Level, format: Format) -> None:
        """From now on write in this way."""
        self.level, self.format = level, format

    def __call__(self, event: LogEvent) -> None:
        """Write one event, if its level asks for it."""
        kind = _kind(event)
        if _RANKS[kind] < _RANKS[self.level.upper()]:
            return
        text = _FORMATS[self.format](event, kind)
        for write in self._writes:
            write(text)


@implementer(ILogObserver)
class Divided:
    """Hands the events of one namespace to an observer of their own, all others to another one."""

    def __init__(self, namespace: str, own: LogObserver, others: LogObserver) -> None:
        self._namespace = namespace
        self._own = own
        self._others = others

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        mine = event.get("log_namespace") == self._namespace
        (self._own if mine else self._others)(event)

    def change(self, level: Level, format: Format) -> None:
        """From now on write in this way."""
        for observer in (self._own, self._others):
            observer.change(level, format)


class LogWatch:
    """Tells a watcher of every event, whatever the log's level, for as long as there is one."""

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher
        self._observer: _Telling | None = None

    def set(self, watcher: Watcher | None) -> None:
        """Change who is told; None for nobody, which costs nothing."""
        if self._observer is not None:
            self._publisher.removeObserver(self._observer)
            self._observer = None
        if watcher is not None:
            self._observer = _Telling(watcher)
            self._publisher.addObserver(self._observer)


@implementer(ILogObserver)
class _Telling:
    """An observer for a watcher."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def __call__(self, event: LogEvent) -> None:
        module = module_of(event.get("log_namespace", ""))
        self._watcher(module, event.get("log_time", time.time()), _information(event))


def stream_writer(stream: IO[str]) -> Write:
    """A write to a terminal or pipe, seen at once; nobody reading it any more is no reason to stop."""

    def write(text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            return

    return write


def module_of(namespace: str) -> str:
    """A logger's namespace as operators see it: `crs.relay.allocation` is `allocation`."""
    parts = [part for part in namespace.split(".") if part]
    if not parts or parts[0] in {"twisted", "log_legacy", "stdout", "stderr"}:
        return "twisted"
    if parts[-1][0].isupper() or parts[-1] in _GENERIC:
        parts = parts[:-1] or parts
    return parts[-1]


def _kind(event: LogEvent) -> str:
    if event.get("kind") == "INIT":
        return "INIT"
    if event.get("log_namespace") == "log_legacy" and not event.get("isError"):
        return "DEBUG"  # what Twisted's own ports and factories tell of themselves
    return _TYPES.get(event.get("log_level", LogLevel.info), "WARN")


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", time.time()), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _information(event: LogEvent) -> str:
    """The event's text on one line; a failure without text says which exception it was."""
    text = formatEvent(event).strip()
    failure = event.get("log_failure")
    if failure is not None:
        text = ": ".join(filter(None, [text, f"{failure.type.__name__}: {failure.getErrorMessage()}"]))
    return text.translate(_CONTROLS)


def _traceback(event: LogEvent) -> list[str]:
    failure = event.get("log_failure")
    return (
        [] if failure is None else [line.translate(_CONTROLS) for line in failure.getTraceback().splitlines()]
    )


def _text(event: LogEvent, kind: str) -> str:
    module = module_of(event.get("log_namespace", ""))
    head = f"[{_time(event)} | {kind} | {module}({os.getpid()})] {_information(event)}"
    return "\n".join([head, *(f"    {line}" for line in _traceback(event))]) + "\n"


def _json(event: LogEvent, kind: str) -> str:
    line: dict[str, Any] = {
        "time": _time(event),
        "type": kind,
        "module": module_of(event.get("log_namespace", "")),
        "pid": os.getpid(),
        "information": _information(event),
    }
    if traceback := _traceback(event):
        line["traceback"] = traceback
    return msgspec.json.encode(line).decode() + "\n"


_FORMATS: Final = {"text": _text, "json": _json}
