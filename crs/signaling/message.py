"""The messages of the client protocol `crs.v1` (docs/crs-protocol.md): one struct per message.

A message is one binary WebSocket frame holding one MessagePack map. Its `type` entry names
the struct; unknown entries are ignored, so a newer peer can add some. A request carries an
`id` chosen by its sender and gets exactly one reply with the same `id`: the reply named in
its docstring, or `Error`. Events carry no id and get no reply.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
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
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{0,64}$")]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
PushToken: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4096)]
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


class EndReason(StrEnum):
    """Why a session ended, as in `hangup(reason; who)` of the operator's commands."""

    hangup = "hangup"
    decline = "decline"
    busy = "busy"
    cancel = "cancel"
    timeout = "timeout"
    lost = "lost"
    """A party's connection stayed away longer than the grace period."""
    shutdown = "shutdown"


class Who(StrEnum):
    """Who ended a session."""

    caller = "caller"
    callee = "callee"
    server = "server"


class Kind(StrEnum):
    """What an item of a mailbox is."""

    content = "content"
    ack = "ack"


class RelayKind(StrEnum):
    """How the relay tells a stream's packets: by the SSRC of SRTP, or by the relay header."""

    rtp = "rtp"
    opaque = "opaque"


class Relay(Struct, kw_only=True, frozen=True):
    """One party's leg of one media stream through the UDP relay."""

    kind: RelayKind
    host: str
    """Where to send to; empty means the address that the client's connection goes to."""
    port: Annotated[int, Meta(ge=1, le=65535)]
    identifier: Annotated[int, Meta(ge=1, lt=2**32)]
    """This party's identifier: it must be the SSRC of the SRTP that it sends."""
    peer: Annotated[int, Meta(ge=1, lt=2**32)]
    """The other party's identifier: the SSRC of the SRTP that arrives."""
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Authenticates this leg's bind packets."""


class Request(Struct, kw_only=True, tag_field="type"):
    """What a client asks. `id` returns in the reply."""

    id: RequestId


class Resume(Struct, kw_only=True, frozen=True):
    """The attachment that a client had over a connection that it has lost."""

    token: Annotated[bytes, Meta(max_length=1024)]
    """That of the attachment's latest Attached."""
    received: Count
    """How many messages of the attachment have arrived."""


class Attach(Request, kw_only=True, tag="attach", omit_defaults=True):
    """Register this connection for its identity. Reply: Attached. A newer connection wins."""

    version: Annotated[str, Meta(min_length=1, max_length=64)]
    """Name and version of the client software, shown to the operator."""
    resumable: bool = False
    """Whether the client counts messages, confirms them with Seen, and may want to resume."""
    resume: Resume | None = None
    """Go on with this attachment if it is still there; else begin a new one."""


class Seen(Request, kw_only=True, tag="seen"):
    """Confirm what has arrived since the attachment began, so that it need not be kept. Reply: Ok."""

    count: Count
    """How many messages of the attachment have arrived."""


class Detach(Request, kw_only=True, tag="detach"):
    """Unregister; the connection stays open. Reply: Ok."""


class Invite(Request, kw_only=True, tag="invite"):
    """Call somebody. Reply: Inviting, once the callee has been told."""

    session: Label
    to: Uri
    account: AccountId | None = None
    """The callee's account; absent means the caller's own."""
    streams: Annotated[list[RelayKind], Meta(min_length=1, max_length=8)]
    """The media streams wanted; each gets a leg, in this order."""
    payload: Payload = b""


class Ringing(Request, kw_only=True, tag="ringing"):
    """Callee: the phone rings. Reply: Ok; the caller gets Rang."""

    session: Label
    caller: Uri
    payload: Payload = b""


class Answer(Request, kw_only=True, tag="answer"):
    """Callee: accept the call. Reply: Ok; the caller gets Answered."""

    session: Label
    caller: Uri
    payload: Payload = b""


class Hangup(Request, kw_only=True, tag="hangup"):
    """Either party: end, cancel or decline. Reply: Ok; the other party gets Ended."""

    session: Label
    caller: Uri
    """The session's caller: session ids are unique for a caller only."""
    reason: EndReason = EndReason.hangup
    """A caller before the answer: cancel; a callee before its answer: decline or busy; else hangup."""


class Post(Request, kw_only=True, tag="post"):
    """Leave a message for somebody. Reply: Posted, once it is on disk. Repeating it is harmless."""

    message: Label
    to: Uri
    account: AccountId | None = None
    payload: Payload
    ttl: Annotated[int, Meta(ge=1, le=31 * 86400)] | None = None
    """Seconds after which an undelivered message is dropped; absent means the server's default."""


class Ack(Request, kw_only=True, tag="ack"):
    """Confirm a delivered item, which then leaves the mailbox. Reply: Ok, once that is on disk.

    For `content`, an item of kind `ack` with this payload goes to the sender's mailbox.
    """

    kind: Kind
    message: Label
    sender: Uri
    """As in the Deliver that is confirmed."""
    account: AccountId
    """As in the Deliver that is confirmed."""
    payload: Payload = b""


class ClientInfo(Struct, kw_only=True, frozen=True, tag_field="kind", tag="info"):
    """What the operator sees of a client (`show client-info`)."""

    time: float
    """The client's own time: UTC, seconds since 1970."""
    scanned: float | None = None
    """When the client scanned its QR code, by its own time; null if it never did."""
    os: Word
    """Operating system."""
    os_version: Word
    version: Word
    """Version of the client software."""


class ClientToken(Struct, kw_only=True, frozen=True, tag_field="kind", tag="token"):
    """A token that the client keeps here."""

    token: Annotated[bytes, Meta(min_length=1, max_length=4096)]


class PushTokens(Struct, kw_only=True, frozen=True, tag_field="kind", tag="push"):
    """How to wake a client that is not attached."""

    client_type: Word
    """Which push service the tokens are for."""
    tokens: Annotated[list[PushToken], Meta(min_length=1, max_length=8)]
    created: float
    """When the client got them, by its own time: UTC, seconds since 1970."""


class ClientData(Struct, kw_only=True, frozen=True, tag_field="kind", tag="data"):
    """Anything that a client keeps here, such as an encrypted list of its contacts."""

    name: Label
    """What it is; a client has one item of each name."""
    data: Payload


class TeamCode(Struct, kw_only=True, frozen=True, tag_field="kind", tag="team-code"):
    """The client's settings for a team code."""

    name: Label
    """The code."""
    settings: Annotated[str, Meta(max_length=1024)]
    """Shown to the operator (`show team-code`)."""


Item: TypeAlias = ClientInfo | ClientToken | PushTokens | ClientData | TeamCode


class ItemKind(StrEnum):
    """What a client can keep at its server."""

    info = "info"
    token = "token"  # noqa: S105  a name and no secret
    push = "push"
    data = "data"
    team_code = "team-code"


class Store(Request, kw_only=True, tag="store"):
    """Keep an item, in place of the one of the same kind and name. Reply: Ok, once it is on disk."""

    item: Item


class Fetch(Request, kw_only=True, tag="fetch"):
    """Ask for an item of one's own. Reply: Fetched."""

    kind: ItemKind
    name: Name = ""
    """The item's name; empty for the kinds that have none."""


class Delete(Request, kw_only=True, tag="delete"):
    """Remove an item of one's own, whether it is there or not. Reply: Ok, once that is on disk."""

    kind: ItemKind
    name: Name = ""
    """The item's name; empty for the kinds that have none."""


class Reply(Struct, kw_only=True, tag_field="type"):
    """The server's answer to the request of the same id."""

    id: RequestId


class Attached(Reply, kw_only=True, tag="attached"):
    """The connection now receives its identity's calls and messages."""

    uri: Uri
    account: AccountId
    server: str
    """Name and version of the server."""
    instance: str
    """This run of the server: a random id. Calls do not outlive it."""
    time: float
    """The server's time: UTC, seconds since 1970."""
    token: bytes | None
    """Resumes this attachment; null if it is not resumable."""
    resumed: bool
    """Whether this is the attachment that was to be resumed."""
    received: Count
    """How many messages of the attachment the server has; the client sends the later ones again."""


class Ok(Reply, kw_only=True, tag="ok"):
    """Done."""


class Inviting(Reply, kw_only=True, tag="inviting"):
    """The callee has been told. The caller's legs, in the order of the invite's streams."""

    session: Label
    relays: list[Relay]


class Posted(Reply, kw_only=True, tag="posted"):
    """The message is on disk and will be delivered."""

    message: Label


class Fetched(Reply, kw_only=True, tag="fetched"):
    """An item that the client has stored."""

    item: Item | None
    """Null if there is none."""
    saved: float
    """When the server took it: UTC, seconds since 1970; 0 if there is none."""


class Error(Struct, kw_only=True, tag_field="type", tag="error"):
    """The request failed; nothing has changed."""

    id: RequestId | None
    """The request's id; null where it could not be read."""
    code: ErrorCode
    reason: str


class Event(Struct, kw_only=True, tag_field="type"):
    """What the server tells on its own."""


class Invited(Event, kw_only=True, tag="invited"):
    """To the callee: somebody calls."""

    session: Label
    caller: Uri
    account: AccountId
    relays: list[Relay]
    payload: bytes


class Rang(Event, kw_only=True, tag="rang"):
    """To the caller: the callee's phone rings."""

    session: Label
    payload: bytes


class Answered(Event, kw_only=True, tag="answered"):
    """To the caller: the callee has accepted."""

    session: Label
    payload: bytes


class Ended(Event, kw_only=True, tag="ended"):
    """To the party that did not end it, or to both: the session is over and its relays are released."""

    session: Label
    caller: Uri
    reason: EndReason
    who: Who


class Deliver(Event, kw_only=True, tag="deliver"):
    """An item of the mailbox. Sent again at the next attach until it is confirmed with Ack."""

    kind: Kind
    message: Label
    sender: Uri
    """For content: who posted it. For ack: who confirmed it."""
    account: AccountId
    """The account of `sender`."""
    time: float
    """When the server took the item: UTC, seconds since 1970."""
    payload: bytes


class Detached(Event, kw_only=True, tag="detached"):
    """This connection is no longer registered, and why: superseded, removed, denied."""

    reason: str


ClientMessage: TypeAlias = (
    Attach | Detach | Seen | Invite | Ringing | Answer | Hangup | Post | Ack | Store | Fetch | Delete
)
ServerMessage: TypeAlias = (
    Attached
    | Ok
    | Inviting
    | Posted
    | Fetched
    | Error
    | Invited
    | Rang
    | Answered
    | Ended
    | Deliver
    | Detached
)

decode_client_message: Final = msgspec.msgpack.Decoder(ClientMessage).decode
"""Bytes to a client's message. Raises msgspec.DecodeError or msgspec.ValidationError."""

decode_server_message: Final = msgspec.msgpack.Decoder(ServerMessage).decode
"""Bytes to a server's message. Raises msgspec.DecodeError or msgspec.ValidationError."""

encode: Final = msgspec.msgpack.Encoder().encode
"""Either side's message to bytes."""
