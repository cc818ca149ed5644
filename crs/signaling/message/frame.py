"""What all messages of `crs.v1` share: types of entries, and what a request, reply, event and error are."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

SUBPROTOCOL: Final = "crs.v1"
"""The WebSocket subprotocol that a client must offer."""

MAX_PAYLOAD: Final = 32 * 1024
"""Bytes of one opaque payload."""

MAX_MESSAGE: Final = 40 * 1024
"""Bytes of one WebSocket message; a longer one closes the connection with code 1009."""

RequestId: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]
Uri: TypeAlias = Annotated[str, Meta(min_length=1, max_length=255)]
AccountId: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,20}$")]
Label: TypeAlias = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}$")]
"""A session or message id chosen by a client: printable ASCII without spaces, unique for that client."""
Payload: TypeAlias = Annotated[bytes, Meta(max_length=MAX_PAYLOAD)]
"""Opaque to the server: clients encrypt it for each other."""
Count: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]
Text: TypeAlias = Annotated[str, Meta(max_length=255)]


class ErrorCode(StrEnum):
    """Why a request was refused. A client acts on the code and shows or logs the reason."""

    bad_message = "bad-message"
    """Not a MessagePack map, no such type, or a field is missing or wrong; the reason names the field."""
    not_attached = "not-attached"
    """Only `attach` is answered before a successful attach."""
    denied = "denied"
    """This identity may not attach."""
    not_found = "not-found"
    """No client of that URI is known."""
    not_connected = "not-connected"
    """The called client is known but not attached."""
    unknown_session = "unknown-session"
    """There is no such session, or the sender is not a party of it."""
    wrong_state = "wrong-state"
    """The session is not in a state that allows this request."""
    ambiguous = "ambiguous"
    """The number stands for several things; the reason names the accounts to choose from."""
    conflict = "conflict"
    """The id is already in use for something else."""
    too_large = "too-large"
    """The payload is over a limit."""
    quota = "quota"
    """The recipient's mailbox, or the client's own storage, is full."""
    limit = "limit"
    """A limit of this server is reached: sessions per client, relays, requests per second."""
    unavailable = "unavailable"
    """The server cannot do this now (storage, shutdown); try again later."""


class Request(Struct, kw_only=True, tag_field="type", gc=False):
    """What a client asks. `id` returns in the reply."""

    id: RequestId


class Reply(Struct, kw_only=True, tag_field="type", gc=False):
    """The server's answer to the request of the same id."""

    id: RequestId


class Ok(Reply, kw_only=True, tag="ok"):
    """Done."""


class Error(Struct, kw_only=True, tag_field="type", tag="error"):
    """The request failed; nothing has changed."""

    id: RequestId | None
    """The request's id; null where it could not be read."""
    code: ErrorCode
    reason: str


class Event(Struct, kw_only=True, tag_field="type", gc=False):
    """What the server tells on its own."""
