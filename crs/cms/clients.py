"""The CSV file of an account's clients (RFC 4180; columns in docs/update-files.md section 5)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crs.cms.error import CmsError
from crs.identity import is_uri
from crs.update.content import MAX_CLIENTS, is_code, is_member

COLUMNS: Final = ("uri", "name", "team_codes", "blob")
MAX_FILE: Final = 64 * 2**20
MAX_NAME: Final = 100


@dataclass(frozen=True)
class Client:
    """One client: a line of the file."""

    uri: str
    name: str = ""
    """For people; stays in the CMS."""
    team_codes: tuple[str, ...] = ()
    blob: Path | None = None
    """Where its blob is read from when an update is issued; None for a random one."""


def read(path: Path) -> list[Client]:
    """The clients of a file. Raises CmsError with the first wrong line, and how many more there are."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise CmsError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise CmsError(f"{path}: more than {MAX_FILE:,} bytes")
    try:
        # Spreadsheets put a byte order mark in front.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CmsError(f"{path}:{line}: not UTF-8") from error
    return _parse(path, text)


def text(clients: Iterable[Client]) -> str:
    """The file of these clients."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(COLUMNS)
    for client in clients:
        blob = str(client.blob) if client.blob else ""
        writer.writerow((client.uri, client.name, " ".join(client.team_codes), blob))
    return output.getvalue()


def _parse(path: Path, text: str) -> list[Client]:
    rows = _rows(path, text)
    _, columns = next(rows, (1, []))
    columns = [column.strip().lower() for column in columns]
    _check_columns(path, columns)
    clients: dict[str, Client] = {}
    problems: list[str] = []
    for line, row in rows:
        try:
            client = _client(columns, row, path.parent)
            if client.uri in clients:
                raise ValueError(f"uri: {client.uri} is there twice")
            clients[client.uri] = client
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CmsError(problems[0] + more)
    if len(clients) > MAX_CLIENTS:
        raise CmsError(f"{path}: more than {MAX_CLIENTS:,} clients")
    return list(clients.values())


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise CmsError(f"{path}:{line}: {error}") from error


def _check_columns(path: Path, columns: list[str]) -> None:
    for column in columns:
        if column not in COLUMNS:
            allowed = ", ".join(COLUMNS)
            raise CmsError(f"{path}:1: {column!a}: unknown column (allowed: {allowed}; separated by commas)")
    if "uri" not in columns:
        raise CmsError(f"{path}:1: the first line must name the columns, with uri among them")
    if len(set(columns)) != len(columns):
        raise CmsError(f"{path}:1: a column is there twice")


def _client(columns: list[str], row: list[str], folder: Path) -> Client:
    """The client of a row. Raises ValueError with the column."""
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} cells under {len(columns)} columns")
    cells = {column: cell.strip() for column, cell in zip(columns, row, strict=True)}
    uri, name, blob = cells["uri"], cells.get("name", ""), cells.get("blob", "")
    codes = tuple(dict.fromkeys(cells.get("team_codes", "").split()))
    if not is_uri(uri):
        raise ValueError(f"uri: {uri[:300]!a} is no valid URI" if uri else "uri: is missing")
    if len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"name: not up to {MAX_NAME} printable characters")
    for code in codes:
        if not is_code(code):
            raise ValueError(f"team_codes: {code[:300]!a} is no valid team code")
    if codes and not is_member(uri):
        raise ValueError(f"team_codes: {uri} has a comma, so it cannot be a member")
    if "\0" in blob:
        raise ValueError("blob: is no file name")
    return Client(uri, name, codes, folder.absolute() / blob if blob else None)
