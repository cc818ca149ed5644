"""Applied updates on disk, and how clients stand by them."""

import gc
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from crs.update import content
from crs.update.applied import Standing, Updates
from crs.update.archive import Archive
from crs.update.content import Head, TeamCode
from crs.update.error import ArchiveError, InvalidContent, OlderUpdate, WrongAccount, WrongTime
from crs.update.month import Month

SEPTEMBER, OCTOBER, NOVEMBER, DECEMBER = (Month(2026, number) for number in (9, 10, 11, 12))
NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
MADE = datetime(2026, 9, 20, 12, tzinfo=UTC)


def update(
    month: Month,
    uris: Iterable[str],
    made: datetime = MADE,
    account: str = "demo",
    *,
    listed_only: bool = False,
) -> bytes:
    head = Head(
        account=account,
        month=str(month),
        created=int(made.timestamp() * 1000),
        listed_only=listed_only,
        team_codes=(TeamCode("red", ("+461",)),),
        connected_domains=("blue",),
    )
    return content.build(head, {uri: f"{month} {uri} {made}".encode() for uri in uris})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "demo").mkdir()
    return tmp_path / "demo"


@pytest.fixture
def archive(folder: Path) -> Archive:
    return Archive(folder.parent)


def apply(archive: Archive, data: bytes, now: datetime = NOW) -> Updates:
    updates = archive.write(data, "demo", now)
    archive.put("demo", updates)
    return updates


def reloaded(archive: Archive, folder: Path) -> Updates:
    """As a server sees it that starts now; the running one must see the same."""
    fresh = Archive(folder.parent)
    fresh.load(["demo"])
    assert fresh["demo"].applied.keys() == archive["demo"].applied.keys()
    assert fresh["demo"].roster == archive["demo"].roster
    return fresh["demo"]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_is_applied_is_there_after_a_restart(archive: Archive, folder: Path) -> None:
    data = update(OCTOBER, ["+461", "+462"])
    apply(archive, data)
    file = folder / "2026-10.applied"
    assert file.read_bytes() == data and file.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == [file]
    for updates in (archive["demo"], reloaded(archive, folder)):
        applied = updates.get(OCTOBER)
        assert applied is not None and updates.get(NOVEMBER) is None
        assert applied.outline.created == MADE
        assert applied.outline.head.team_codes == (TeamCode("red", ("+461",)),)
        assert applied.outline.head.connected_domains == ("blue",)
        assert applied.blob("+462") == f"2026-10 +462 {MADE}".encode()
        assert applied.blob("+463") is None


def test_an_account_without_updates(archive: Archive) -> None:
    assert archive["demo"].in_force(OCTOBER) is None
    assert archive["nobody"].standing("+461", OCTOBER) is Standing.open


def test_current_and_next_month(archive: Archive, folder: Path) -> None:
    apply(archive, update(OCTOBER, ["+461"]))
    apply(archive, update(NOVEMBER, ["+462"]))
    updates = reloaded(archive, folder)
    assert [updates.in_force(month) for month in (OCTOBER, NOVEMBER, DECEMBER)] == [
        updates.get(OCTOBER),
        updates.get(NOVEMBER),
        updates.get(NOVEMBER),
    ]
    assert updates.in_force(SEPTEMBER) is None
    assert updates.standing("+462", OCTOBER) is Standing.observed, "listed from the next month on"
    assert updates.standing("+462", NOVEMBER) is Standing.listed
    assert updates.standing("+461", NOVEMBER) is Standing.removed


def test_who_is_admitted(archive: Archive, folder: Path) -> None:
    apply(archive, update(OCTOBER, ["+461", "+462"]))
    apply(archive, update(OCTOBER, ["+461", "+463"], MADE + timedelta(hours=1)))
    expected = {
        "+461": Standing.listed,
        "+462": Standing.removed,
        "+463": Standing.listed,
        "+464": Standing.observed,
        "urn:x-crs:client:test-0-ab12": Standing.exempt,
    }
    for updates in (archive["demo"], reloaded(archive, folder)):
        assert {uri: updates.standing(uri, OCTOBER) for uri in expected} == expected
    apply(archive, update(OCTOBER, ["+461", "+462"], MADE + timedelta(hours=2), listed_only=True))
    updates = reloaded(archive, folder)
    assert updates.standing("+462", OCTOBER) is Standing.listed, "listed again"
    assert updates.standing("+463", OCTOBER) is Standing.removed
    assert updates.standing("+464", OCTOBER) is Standing.unlisted
    assert updates.standing("urn:x-crs:client:test-0-ab12", OCTOBER) is Standing.exempt
    assert [each for each in Standing if not each.admitted] == [Standing.removed, Standing.unlisted]


def test_an_expired_update_stays_in_force(archive: Archive, folder: Path) -> None:
    apply(archive, update(SEPTEMBER, ["+461"]))
    updates = reloaded(archive, folder)
    assert updates.get(OCTOBER) is None
    assert updates.standing("+461", OCTOBER) is Standing.listed


def test_expired_files_go_and_who_was_in_them_is_remembered(archive: Archive, folder: Path) -> None:
    apply(archive, update(SEPTEMBER, ["+460", "+461"]))
    apply(archive, update(NOVEMBER, ["+463"]))
    assert names(folder) == ["2026-09.applied", "2026-11.applied"], "September is in force"
    apply(archive, update(OCTOBER, ["+461", "+462"]))
    assert names(folder) == ["2026-10.applied", "2026-11.applied", "listed.txt"]
    assert (folder / "listed.txt").stat().st_mode & 0o777 == 0o600
    updates = reloaded(archive, folder)
    assert updates.standing("+460", OCTOBER) is Standing.removed
    assert [updates.standing(uri, NOVEMBER) for uri in ("+461", "+462", "+463")] == [
        Standing.removed,
        Standing.removed,
        Standing.listed,
    ]


def test_an_older_file_is_refused(archive: Archive, folder: Path) -> None:
    newer, older = (
        update(OCTOBER, ["+461"], MADE),
        update(OCTOBER, ["+462"], MADE - timedelta(milliseconds=1)),
    )
    apply(archive, newer)
    with pytest.raises(OlderUpdate, match="made at 2026-09-20T11:59:59Z; the one of 2026-09-20T12:00:00Z"):
        archive.write(older, "demo", NOW)
    with pytest.raises(OlderUpdate, match="is applied already"):
        archive.write(update(OCTOBER, ["+462"], MADE), "demo", NOW)
    with pytest.raises(OlderUpdate, match="is for 2026-09; the one for 2026-10 is in force already"):
        archive.write(update(SEPTEMBER, ["+462"], MADE + timedelta(days=1)), "demo", NOW)
    assert (folder / "2026-10.applied").read_bytes() == newer
    assert list(folder.iterdir()) == [folder / "2026-10.applied"]


def test_the_same_file_again_changes_nothing(archive: Archive, folder: Path) -> None:
    data = update(OCTOBER, [f"+46{number:06}" for number in range(50_000)])
    assert len(data) > 2 * 2**20, "more than one piece to compare"
    before = apply(archive, data)
    inode = (folder / "2026-10.applied").stat().st_ino
    assert archive.write(data, "demo", NOW) is before
    assert (folder / "2026-10.applied").stat().st_ino == inode


def test_the_wrong_account(archive: Archive) -> None:
    with pytest.raises(WrongAccount, match="is for the account other, not for demo"):
        archive.write(update(OCTOBER, ["+461"], account="other"), "demo", NOW)


def test_the_wrong_time(archive: Archive, folder: Path) -> None:
    with pytest.raises(WrongTime, match="for 2026-12; only those for 2026-10 and 2026-11 can be applied now"):
        archive.write(update(DECEMBER, ["+461"]), "demo", NOW)
    with pytest.raises(WrongTime, match="2026-10-16T12:00:01Z, which is still to come"):
        archive.write(update(OCTOBER, ["+461"], NOW + timedelta(days=1, seconds=1)), "demo", NOW)
    assert list(folder.iterdir()) == []
    apply(archive, update(OCTOBER, ["+461"], NOW + timedelta(hours=23)))


def test_damaged_content_is_refused(archive: Archive, folder: Path) -> None:
    with pytest.raises(InvalidContent):
        archive.write(update(OCTOBER, ["+461"])[:-1], "demo", NOW)
    assert list(folder.iterdir()) == []


def test_stray_files_are_ignored(archive: Archive, folder: Path) -> None:
    apply(archive, update(OCTOBER, ["+461"]))
    for name in (
        "2014-09.upd",
        "2026-10.upd",
        "2026-10.applied~",
        "x.applied",
        "2026-13.applied",
        ".2026-10.applied.tmp",
    ):
        (folder / name).write_bytes(b"stray")
        (folder.parent / name).write_bytes(b"stray")
    (folder / "2026-11.applied").mkdir()
    (folder.parent / "not an account").mkdir()
    assert list(reloaded(archive, folder).applied) == [OCTOBER]


def test_a_running_reader_keeps_its_blobs(archive: Archive) -> None:
    """Also after the file's name has gone to a newer one; the old file is closed with its last reader."""
    first = apply(archive, update(OCTOBER, ["+460", "+461"])).get(OCTOBER)
    second = apply(archive, update(OCTOBER, ["+461"], MADE + timedelta(hours=1))).get(OCTOBER)
    assert first is not None and second is not None
    assert first.blob("+461") == f"2026-10 +461 {MADE}".encode()
    assert second.blob("+461") == f"2026-10 +461 {MADE + timedelta(hours=1)}".encode()
    descriptor = first._descriptor
    del first
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_every_truncation_and_a_wrong_place_are_named_at_start(archive: Archive, folder: Path) -> None:
    data = update(OCTOBER, ["+461"])
    apply(archive, data)
    file = folder / "2026-10.applied"
    for size in range(len(data)):
        file.write_bytes(data[:size])
        with pytest.raises(ArchiveError, match=r"demo/2026-10\.applied: "):
            archive.load(["demo"])
    file.write_bytes(update(NOVEMBER, ["+461"]))
    with pytest.raises(ArchiveError, match="it is for account demo, 2026-11"):
        archive.load(["demo"])
    file.write_bytes(update(OCTOBER, ["+461"], account="other"))
    with pytest.raises(ArchiveError, match="it is for account other, 2026-10"):
        archive.load(["demo"])
    assert archive["demo"].standing("+461", OCTOBER) is Standing.listed, "what was loaded goes on counting"
    (folder / "listed.txt").write_bytes(b"nonsense\n")
    file.write_bytes(data)
    with pytest.raises(ArchiveError, match=r"listed\.txt: line 1: 'nonsense' is not a month"):
        archive.load(["demo"])


def test_a_file_that_shrinks_while_in_use(archive: Archive, folder: Path) -> None:
    applied = apply(archive, update(OCTOBER, ["+461"])).get(OCTOBER)
    assert applied is not None
    os.truncate(folder / "2026-10.applied", 20)
    with pytest.raises(ArchiveError, match=r"demo 2026-10.* has become shorter"):
        applied.blob("+461")


def test_loose_modes_are_tightened_and_told(archive: Archive, folder: Path) -> None:
    """As the manual's restore leaves them (4.15.2)."""
    apply(archive, update(SEPTEMBER, ["+461"]))
    apply(archive, update(OCTOBER, ["+461"]))
    with capturedLogs() as told:
        for name in ("2026-10.applied", "listed.txt"):
            (folder / name).chmod(0o644)
            archive.load(["demo"])
            assert (folder / name).stat().st_mode & 0o777 == 0o600
        archive.load(["demo"])
    assert [Path(event["path"]).name for event in told] == ["2026-10.applied", "listed.txt"]


def test_a_place_that_cannot_be_written(archive: Archive, folder: Path) -> None:
    folder.rmdir()
    with pytest.raises(ArchiveError, match=r"2026-10\.applied: No such file or directory"):
        archive.write(update(OCTOBER, ["+461"]), "demo", NOW)


def test_a_crash_between_roster_and_update_turns_nobody_away(archive: Archive, folder: Path) -> None:
    """The roster is written first; without the update it names only clients that are still listed."""
    apply(archive, update(OCTOBER, ["+461", "+462"]))
    blocked = folder / ".2026-10.applied.tmp"
    blocked.mkdir()
    with pytest.raises(ArchiveError, match="2026-10"):
        archive.write(update(OCTOBER, ["+461"], MADE + timedelta(hours=1)), "demo", NOW)
    assert (folder / "listed.txt").exists()
    archive.load(["demo"])
    assert archive["demo"].standing("+462", OCTOBER) is Standing.listed
    blocked.rmdir()
    apply(archive, update(OCTOBER, ["+461"], MADE + timedelta(hours=1)))
    assert archive["demo"].standing("+462", OCTOBER) is Standing.removed


def test_a_removed_account_is_forgotten(archive: Archive) -> None:
    apply(archive, update(OCTOBER, ["+461"], listed_only=True))
    archive.remove("demo")
    archive.remove("demo")
    assert archive["demo"].standing("+462", OCTOBER) is Standing.open
