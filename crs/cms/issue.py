"""Issuing the update of a month: a blob for each client, the content, and its protection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from crs.cms.account import Account
from crs.cms.clients import Client
from crs.cms.error import CmsError
from crs.update import content, protection
from crs.update.content import MAX_BLOB, MAX_CONTENT, Head, Outline, TeamCode
from crs.update.error import UpdateError
from crs.update.month import Month


class Blobs:
    """Where the clients' blobs come from: an earlier update, a file of their own, or randomness."""

    def __init__(self, random: Callable[[int], bytes], size: int, kept: Mapping[str, bytes]) -> None:
        """`size` is that of random blobs; whoever is in `kept` keeps that one."""
        self._random = random
        self._size = size
        self._kept = kept

    def __call__(self, clients: Iterable[Client]) -> dict[str, bytes]:
        """Each client's blob. Raises CmsError."""
        blobs: dict[str, bytes] = {}
        total = 0
        for client in clients:
            blobs[client.uri] = blob = self._of(client)
            total += len(blob)
            if total > MAX_CONTENT:
                raise CmsError(
                    f"the blobs have more than {MAX_CONTENT:,} bytes, which is what an update may have"
                )
        return blobs

    def _of(self, client: Client) -> bytes:
        if client.blob is not None:
            return _read(client.blob, client.uri)
        kept = self._kept.get(client.uri)
        return self._random(self._size) if kept is None else kept


def build(
    account: Account, clients: Mapping[str, Client], blobs: Mapping[str, bytes], month: Month, created: int
) -> bytes:
    """The content of the update, made at `created` (UTC, milliseconds). Raises UpdateError."""
    head = Head(
        account=account.id,
        month=str(month),
        created=created,
        listed_only=account.listed_only,
        team_codes=tuple(_teams(clients.values())),
        domain_token=account.domain_token,
        connected_domains=account.connected_domains,
    )
    return content.build(head, blobs)


def creation_time(account: Account, now: datetime) -> int:
    """Now, but later than that of every earlier update: UTC, milliseconds since 1970."""
    return max(int(now.timestamp() * 1000), account.issued + 1)


def kept_blobs(path: Path, account: Account, secrets: Sequence[bytes], month: Month) -> dict[str, bytes]:
    """The blobs of an earlier update for the same month. Raises CmsError."""
    data, outline = open_update(path, account, secrets)
    if outline.month != month:
        raise CmsError(f"{path}: it is for {outline.month}, and blobs are kept within {month} only")
    spans = ((uri, outline.span(uri)) for uri in outline)
    return {uri: bytes(data[span[0] : sum(span)]) for uri, span in spans if span is not None}


def open_update(path: Path, account: Account, secrets: Sequence[bytes]) -> tuple[memoryview, Outline]:
    """The content of a protected update of this account, and its outline. Raises CmsError."""
    try:
        with path.open("rb") as file:
            data = file.read(protection.MAX_FILE + 1)
        plain = protection.unprotect(data, account.id, secrets)
        return plain, content.parse(plain)
    except OSError as error:
        raise CmsError(f"{path}: {error.strerror}") from error
    except UpdateError as error:
        raise CmsError(f"{path}: {error}") from error


def _teams(clients: Iterable[Client]) -> list[TeamCode]:
    teams: dict[str, list[str]] = {}
    for client in clients:
        for code in client.team_codes:
            teams.setdefault(code, []).append(client.uri)
    return [TeamCode(code, tuple(members)) for code, members in sorted(teams.items())]


def _read(path: Path, uri: str) -> bytes:
    try:
        with path.open("rb") as file:
            blob = file.read(MAX_BLOB + 1)
    except OSError as error:
        raise CmsError(f"the blob of {uri}: {path}: {error.strerror}") from error
    if len(blob) > MAX_BLOB:
        raise CmsError(f"the blob of {uri}: {path}: more than {MAX_BLOB:,} bytes")
    return blob
