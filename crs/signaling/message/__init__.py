"""The messages of the client protocol `crs.v1` (docs/crs-protocol.md): one struct per message.

A message is one binary WebSocket frame holding one MessagePack map. Its `type` entry names
the struct; unknown entries are ignored, so a newer peer can add some. A request carries an
`id` chosen by its sender and gets exactly one reply with the same `id`: the reply named in
its docstring, or `Error`. Events carry no id and get no reply.

A module for each noun declares its structs, and the unions that the codec below knows them by.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from crs.signaling.message.attachment import *
from crs.signaling.message.attachment import AttachmentAnswer, AttachmentRequest
from crs.signaling.message.call import *
from crs.signaling.message.call import CallAnswer, CallRequest
from crs.signaling.message.change import *
from crs.signaling.message.change import ChangeAnswer, ChangeRequest
from crs.signaling.message.frame import *
from crs.signaling.message.frame import Error, Ok
from crs.signaling.message.group import *
from crs.signaling.message.group import GroupAnswer, GroupRequest
from crs.signaling.message.item import *
from crs.signaling.message.item import ItemAnswer, ItemRequest
from crs.signaling.message.mail import *
from crs.signaling.message.mail import MailAnswer, MailRequest
from crs.signaling.message.update import *
from crs.signaling.message.update import UpdateAnswer, UpdateRequest

ClientMessage: TypeAlias = (
    AttachmentRequest | CallRequest | ChangeRequest | GroupRequest | MailRequest | ItemRequest | UpdateRequest
)
ServerMessage: TypeAlias = (
    Ok
    | Error
    | AttachmentAnswer
    | CallAnswer
    | ChangeAnswer
    | GroupAnswer
    | MailAnswer
    | ItemAnswer
    | UpdateAnswer
)

decode_client_message: Final = msgspec.msgpack.Decoder(ClientMessage).decode
"""Bytes to a client's message. Raises msgspec.DecodeError or msgspec.ValidationError."""

decode_server_message: Final = msgspec.msgpack.Decoder(ServerMessage).decode
"""Bytes to a server's message. Raises msgspec.DecodeError or msgspec.ValidationError."""

encode: Final = msgspec.msgpack.Encoder().encode
"""Either side's message to bytes."""
