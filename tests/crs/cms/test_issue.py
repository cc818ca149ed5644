"""Issuing updates."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from crs.cms import issue
from crs.cms.account import Account
from crs.cms.clients import Client
from crs.cms.error import CmsError
from crs.cms.issue import Blobs
from crs.update import content, protection
from crs.update.content import TeamCode
from crs.update.month import Month

ACCOUNT = Account("demo", "192.0.2.1:5223", True, "token", ("blue",))
OCTOBER = Month(2026, 10)
SECRET = b"secret"


def numbered(size: int) -> bytes:
    return b"r" * size


def test_where_blobs_come_from(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(b"own")
    clients = [Client("+461"), Client("+462", blob=tmp_path / "own"), Client("+463")]
    assert Blobs(numbered, 3, {"+463": b"kept", "+462": b"not this"})(clients) == {
        "+461": b"rrr",
        "+462": b"own",
        "+463": b"kept",
    }


def test_what_is_wrong_with_a_blob(tmp_path: Path) -> None:
    with pytest.raises(CmsError, match=r"the blob of \+461: .*/none: No such file"):
        Blobs(numbered, 3, {})([Client("+461", blob=tmp_path / "none")])
    (tmp_path / "large").write_bytes(bytes(content.MAX_BLOB + 1))
    with pytest.raises(CmsError, match=r"the blob of \+461: .*/large: more than 32,768 bytes"):
        Blobs(numbered, 3, {})([Client("+461", blob=tmp_path / "large")])


def test_too_many_bytes_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue, "MAX_CONTENT", 10)
    made: list[int] = []

    def random(size: int) -> bytes:
        made.append(size)
        return bytes(size)

    with pytest.raises(CmsError, match="more than 10 bytes"):
        Blobs(random, 4, {})(Client(f"+{number}") for number in range(1000))
    assert made == [4, 4, 4]


def test_the_content() -> None:
    clients = {
        each.uri: each
        for each in (Client("+461", "Anna", ("red", "blue")), Client("+462", "Bo", ("red",)), Client("+463"))
    }
    outline = content.parse(issue.build(ACCOUNT, clients, dict.fromkeys(clients, b"x"), OCTOBER, 1))
    assert list(outline) == ["+461", "+462", "+463"]
    head = outline.head
    assert head.team_codes == (TeamCode("blue", ("+461",)), TeamCode("red", ("+461", "+462")))
    assert (head.account, head.month, head.listed_only) == ("demo", "2026-10", True)
    assert (head.domain_token, head.connected_domains) == ("token", ("blue",))


def test_each_update_is_newer_whatever_the_clock_says() -> None:
    now = datetime(2026, 10, 1, 0, 0, 0, 5000, UTC)
    made = issue.creation_time(ACCOUNT, now)
    assert made == int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 1000 + 5
    later = Account("demo", "192.0.2.1:5223", issued=made + 7)
    assert issue.creation_time(later, now) == made + 8


def test_blobs_of_an_earlier_update(tmp_path: Path) -> None:
    clients = {"+461": Client("+461"), "+462": Client("+462")}
    blobs = {"+461": b"one", "+462": b""}
    data = protection.protect(issue.build(ACCOUNT, clients, blobs, OCTOBER, 1), "demo", SECRET, bytes(32))
    file = tmp_path / "demo-2026-10.upd"
    file.write_bytes(data)
    assert issue.kept_blobs(file, ACCOUNT, [SECRET], OCTOBER) == blobs
    assert issue.kept_blobs(file, ACCOUNT, [b"new", SECRET], OCTOBER) == blobs
    with pytest.raises(CmsError, match="is for 2026-10, and blobs are kept within 2026-11 only"):
        issue.kept_blobs(file, ACCOUNT, [SECRET], OCTOBER.next)
    with pytest.raises(CmsError, match=r"2026-10\.upd: .* another shared secret"):
        issue.kept_blobs(file, ACCOUNT, [b"other"], OCTOBER)
    with pytest.raises(CmsError, match=r"2026-10\.upd: .* for the account demo, not for other"):
        issue.kept_blobs(file, Account("other", "192.0.2.1:5223"), [SECRET], OCTOBER)
    with pytest.raises(CmsError, match="No such file"):
        issue.kept_blobs(tmp_path / "none", ACCOUNT, [SECRET], OCTOBER)
