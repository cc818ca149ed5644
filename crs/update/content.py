"""What an update holds once unprotected: a head in MessagePack, then blobs (docs/update-files.md section 3).

The head gives the length of each blob, so that the blobs, by far the larger part, can stay on disk.
Everything is bounded and checked, also when it is authentic: an account's CMS is not the server's operator.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate, chain
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crs.identity import MAX_URI, is_account, is_uri
from crs.update.error import Damaged, InvalidContent, NotAnUpdate, TooLarge, UnknownVersion
from crs.update.month import Month

MAGIC: Final = b"crs-upc"
VERSION: Final = 1
PREFIX: Final = struct.Struct(">7sBI")
"""Magic, version, length of the head."""

MAX_CONTENT: Final = 256 * 2**20
MAX_HEAD: Final = 16 * 2**20
MAX_CLIENTS: Final = 100_000
MAX_BLOB: Final = 32 * 2**10
"""What fits into one payload of the client protocol."""
MAX_TEAM_CODES: Final = 10_000
MAX_MEMBERS: Final = 10_000
"""Of one team code."""
MAX_CODE: Final = 64
MAX_TOKEN: Final = 1024
MAX_DOMAINS: Final = 1000
MAX_CREATED: Final = 253_402_300_799_999
"""The end of the year 9999."""

Buffer = bytes | memoryview


class Listed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A client of the month, and the length of its blob; 0 means that there is nothing to offer it."""

    uri: Annotated[str, Meta(min_length=1, max_length=MAX_URI)]
    size: Annotated[int, Meta(ge=0, le=MAX_BLOB)]


class TeamCode(msgspec.Struct, frozen=True):
    """A team: its code, and the numbers (URIs) of its members."""

    code: Annotated[str, Meta(min_length=1, max_length=MAX_CODE)]
    members: Annotated[tuple[str, ...], Meta(max_length=MAX_MEMBERS)]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """All of an update but the blobs. Unknown entries are ignored."""

    account: str
    month: str
    created: Annotated[int, Meta(ge=0, le=MAX_CREATED)]
    """UTC, milliseconds since 1970."""
    listed_only: bool = False
    """Whether clients that are not listed are turned away."""
    clients: Annotated[tuple[Listed, ...], Meta(max_length=MAX_CLIENTS)] = ()
    team_codes: Annotated[tuple[TeamCode, ...], Meta(max_length=MAX_TEAM_CODES)] = ()
    domain_token: Annotated[str, Meta(max_length=MAX_TOKEN)] = ""
    connected_domains: Annotated[tuple[str, ...], Meta(max_length=MAX_DOMAINS)] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Head).decode


class Outline:
    """An update without its blobs: who is listed, and where in the content each one's blob is."""

    def __init__(self, head: Head, start: int) -> None:
        """The blobs begin `start` bytes into the content."""
        self.head: Final = msgspec.structs.replace(head, clients=())
        """With `clients` empty: they are in the outline itself, in less memory."""
        self.month: Final = Month.parse(head.month)
        self.domains: Final = frozenset(head.connected_domains)
        self.teams: Final = {team.code: team.members for team in head.team_codes}
        self._positions = {client.uri: position for position, client in enumerate(head.clients)}
        sizes = (client.size for client in head.clients)
        self._offsets = array("Q", accumulate(chain((start,), sizes)))

    @property
    def created(self) -> datetime:
        """When the CMS made the update."""
        return when(self.head.created)

    @property
    def size(self) -> int:
        """Bytes of the whole content."""
        return self._offsets[-1]

    def __contains__(self, uri: str) -> bool:
        return uri in self._positions

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def span(self, uri: str) -> tuple[int, int] | None:
        """First byte and length of a client's blob; None for a client that is not listed."""
        position = self._positions.get(uri)
        if position is None:
            return None
        return self._offsets[position], self._offsets[position + 1] - self._offsets[position]


def when(milliseconds: int) -> datetime:
    """A creation time as a date."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def build(head: Head, blobs: Mapping[str, bytes]) -> bytes:
    """The content with these clients and their blobs; `head.clients` is replaced. Raises UpdateError."""
    listed = tuple(Listed(uri, len(blob)) for uri, blob in blobs.items())
    encoded = _encode(msgspec.structs.replace(head, clients=listed))
    content = b"".join((PREFIX.pack(MAGIC, VERSION, len(encoded)), encoded, *blobs.values()))
    parse(content)
    return content


def parse(content: Buffer) -> Outline:
    """The outline of a whole content. Raises UpdateError."""
    length = head_length(content[: PREFIX.size])
    return outline(content[PREFIX.size : PREFIX.size + length], len(content))


def head_length(prefix: Buffer) -> int:
    """The bytes of the head, which follows these first PREFIX.size bytes. Raises UpdateError."""
    if len(prefix) < PREFIX.size:
        raise Damaged("the update's content is cut off before its head")
    magic, version, length = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise NotAnUpdate("this is no content of an update file")
    if version != VERSION:
        raise UnknownVersion(f"the update's content has version {version}; this program knows {VERSION}")
    if length > MAX_HEAD:
        raise TooLarge(f"the update's head has {length:,} bytes; at most {MAX_HEAD:,} are allowed")
    return int(length)


def outline(encoded: Buffer, size: int) -> Outline:
    """The outline from an encoded head, of a content that has `size` bytes in all. Raises UpdateError."""
    if size > MAX_CONTENT:
        raise TooLarge(f"the update's content has {size:,} bytes; at most {MAX_CONTENT:,} are allowed")
    try:
        head = _decode(encoded)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidContent(f"the update's head: {error}") from error
    _check(head)
    result = Outline(head, PREFIX.size + len(encoded))
    if len(result) != len(head.clients):
        raise InvalidContent(f"the update lists {_twice([client.uri for client in head.clients])} twice")
    if result.size != size:
        raise InvalidContent(f"the update's content has {size:,} bytes; its head speaks of {result.size:,}")
    return result


def _check(head: Head) -> None:
    """What the types do not say. Raises InvalidContent."""
    try:
        Month.parse(head.month)
    except ValueError as error:
        raise InvalidContent(f"the update's month: {error}") from error
    _check_each("account", [head.account], is_account)
    _check_each("client", [client.uri for client in head.clients], is_uri)
    _check_each("connected domain", head.connected_domains, is_account)
    _check_each("team code", [team.code for team in head.team_codes], is_code)
    for team in head.team_codes:
        _check_each(f"member of team {team.code}", team.members, is_member)
    if not head.domain_token.isprintable():
        raise InvalidContent("the update's domain token has characters that cannot be printed")
    codes = [team.code for team in head.team_codes]
    if len(set(codes)) != len(codes):
        raise InvalidContent(f"the update has the team code {_twice(codes)} twice")


def is_code(text: str) -> bool:
    """Whether `text` may be a team code: printable, without spaces and commas."""
    return is_uri(text) and len(text) <= MAX_CODE and "," not in text


def is_member(text: str) -> bool:
    """Whether `text` may be a member's number: a URI without commas (`list team-code` puts them between)."""
    return is_uri(text) and "," not in text


def _check_each(what: str, values: Sequence[str], valid: Callable[[str], bool]) -> None:
    for value in values:
        if not valid(value):
            raise InvalidContent(f"the update's {what} {value[:MAX_URI]!a} is not valid")


def _twice(values: Sequence[str]) -> str:
    return Counter(values).most_common(1)[0][0]
