"""Replies as text and JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from rtlib.command import render
from rtlib.command.render import Column


class State(StrEnum):
    up = "up"


class Attach(Struct):
    uri: Annotated[str, Column("URI", "the mobile number")]
    account_id: str
    state: State = State.up
    since: datetime | None = None
    ports: list[int] = []
    denied: bool = False


class Report(Struct):
    version: Annotated[str, Column("Version")]
    count: int
    clients: list[Attach]


class Event(Struct):
    header: Literal["event"]
    uri: str
    port: int | None


ROW = Attach("tel:+46701234567", "acme", since=datetime(2026, 11, 23, 3, 4, 5, tzinfo=UTC), ports=[1, 2])


def test_a_table_is_aligned_under_its_headings() -> None:
    assert render.text([ROW, Attach("tel:1", "x", denied=True)], list[Attach]) == (
        "URI               ACCOUNT ID  STATE  SINCE                 PORTS  DENIED\n"
        "tel:+46701234567  acme        up     2026-11-23T03:04:05Z  1,2    no\n"
        "tel:1             x           up                                  yes\n"
    )


def test_an_empty_table_is_its_heading() -> None:
    assert render.text([], list[Attach]) == "URI  ACCOUNT ID  STATE  SINCE  PORTS  DENIED\n"


def test_an_optional_column_is_there_when_a_row_has_it() -> None:
    class Row(Struct):
        uri: str
        token: Annotated[str | None, Column("TOKEN", optional=True)] = None

    assert render.text([Row("1"), Row("2")], list[Row]) == "URI\n1\n2\n"
    assert render.text([Row("1"), Row("2", "t")], list[Row]) == "URI  TOKEN\n1\n2    t\n"
    assert render.text(Row("1"), Row) == "URI  1\n"
    assert render.text(Row("1", "t"), Row) == "URI    1\nTOKEN  t\n"


def test_one_struct_is_vertical_and_its_rows_follow() -> None:
    assert render.text(Report("1.0", 1, [Attach("tel:1", "x")]), Report) == (
        "Version  1.0\n"
        "COUNT    1\n"
        "\nCLIENTS\n"
        "URI    ACCOUNT ID  STATE  SINCE  PORTS  DENIED\n"
        "tel:1  x           up                   no\n"
    )


def test_plain_replies() -> None:
    assert render.text("a\nb", str) == "a\nb\n"
    assert render.text(None, type(None)) == ""
    assert render.text(["a", "b"], list[str]) == "a\nb\n"


def test_what_a_peer_sent_cannot_move_the_cursor() -> None:
    assert render.cell("a\x1b[2J\nb\u2028\x9b") == "a\\x1b[2J\\nb\\u2028\\x9b"
    assert render.text("\x1b]0;x\x07", str) == "\\x1b]0;x\\x07\n"


def test_trace_lines_are_separated_by_commas() -> None:
    assert render.trace_line(Event("event", "tel:1", 5)) == "event, tel:1, 5\n"
    assert render.trace_line(Event("event", "tel:1", None)) == "event, tel:1, \n"


def test_json_reads_back() -> None:
    back = msgspec.json.decode(render.json([ROW]), type=list[Attach])
    assert back == [ROW]
    assert render.json_line(ROW).count("\n") == 1


def test_columns_say_what_they_mean() -> None:
    shown = render.columns(Attach)
    assert shown["uri"].description == "the mobile number"
    assert shown["account_id"].heading == "ACCOUNT ID"


class Account(Struct):
    name: str
    secret: Annotated[str, Column("SECRET", secret=True)]


def test_json_has_no_secrets() -> None:
    """A table is for whom they are meant, JSON goes on to other programs."""
    account = Account("red", "c2VjcmV0")
    assert render.text([account], list[Account]) == "NAME  SECRET\nred   c2VjcmV0\n"
    assert render.json([account]) == '[\n  {\n    "name": "red",\n    "secret": "***"\n  }\n]\n'
    assert render.json(account) == '{\n  "name": "red",\n  "secret": "***"\n}\n'


class Counts(Struct):
    first: Annotated[list[Account] | None, Column("")] = None
    second: Annotated[list[Account] | None, Column("")] = None


def test_tables_of_a_struct_may_be_absent_and_without_a_title() -> None:
    assert render.text(Counts(second=[]), Counts) == "NAME  SECRET\n"
    assert render.text(Counts([], []), Counts) == "NAME  SECRET\n\nNAME  SECRET\n"
