"""The rows of `trace`, with the fields that the manual gives them (manual 5.4)."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

HEADER: Final = "event"
"""What every row begins with, but for those of `trace event`."""


class AttachEventRow(msgspec.Struct, frozen=True):
    """A client's registration changed."""

    header: str
    time: datetime
    connection_id: int
    type: str
    uri: str
    account: str
    ip: str
    port: int
    state: str
    description: str


class SessionEventRow(msgspec.Struct, frozen=True):
    """A call reached a state."""

    header: str
    time: datetime
    caller: str
    callee: str
    state: str
    account: str
    session_id: str


class MessageEventRow(msgspec.Struct, frozen=True):
    """Something happened to a message."""

    header: str
    time: datetime
    sender: str
    recipient: str
    state: str
    account: str
    message_id: str


class ObjectEventRow(msgspec.Struct, frozen=True):
    """Something that is kept of a client has changed."""

    header: str
    time: datetime
    sender: str
    event: str


class ConnectionEventRow(msgspec.Struct, frozen=True):
    """A connection reached a state."""

    header: str
    time: datetime
    id: int
    user_type: Literal["client", "unknown"]
    user: str
    ip: str
    port: int
    state: str


class StatisticsEventRow(msgspec.Struct, frozen=True):
    """Something that statistics count."""

    header: str
    time: datetime
    type: str
    uri: str
    account: str


class LogEventRow(msgspec.Struct, frozen=True):
    """A line of the log, and what the log leaves out."""

    module: str
    type: Literal["dbg"]
    time: datetime
    information: str
