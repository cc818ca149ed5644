"""What a client remembers of its attachment."""

from __future__ import annotations

from crs.client.journal import CONFIRM_AFTER, CONFIRM_BYTES, MAX_ENTRIES, Journal
from crs.signaling.message import Attached, Resume


def attached(*, resumed: bool = False, received: int = 0, token: bytes | None = b"t") -> Attached:
    return Attached(
        id=1,
        uri="+1",
        account="a",
        server="s",
        instance="i",
        time=0.0,
        token=token,
        resumed=resumed,
        received=received,
    )


def begun() -> Journal:
    journal = Journal()
    assert journal.begin(attached()) == []
    return journal


def test_before_an_attachment_nothing_counts() -> None:
    journal = Journal()
    journal.ask(1, b"early")
    assert not journal.arrived(10**6)
    assert (journal.received, journal.resume) == (0, None)
    assert journal.begin(attached()) == []


def test_what_the_server_lacks_is_sent_again() -> None:
    journal = begun()
    for number in (5, 6, 8):
        journal.ask(number, b"%d" % number)
    journal.arrived(1)
    assert journal.resume == Resume(token=b"t", received=1)
    assert journal.begin(attached(resumed=True, received=1)) == [b"6", b"8"]
    journal.answered(6)
    assert journal.begin(attached(resumed=True, received=2)) == [b"8"]
    journal.answered(5)
    journal.answered(7)
    assert journal.begin(attached(resumed=True, received=2)) == [b"8"]
    assert journal.begin(attached(resumed=True, received=3)) == []


def test_a_new_attachment_begins_with_nothing() -> None:
    journal = begun()
    journal.ask(2, b"old")
    journal.arrived(1)
    assert journal.begin(attached()) == []
    assert journal.received == 0
    journal.ask(3, b"new")
    assert journal.begin(attached(resumed=True, received=0)) == [b"new"]


def test_confirmations_are_due_by_number_and_by_size() -> None:
    journal = begun()
    assert [journal.arrived(1) for _ in range(CONFIRM_AFTER)] == [False] * (CONFIRM_AFTER - 1) + [True]
    assert [journal.arrived(CONFIRM_BYTES // 2) for _ in range(3)] == [False, True, False]


def test_who_cannot_resume_need_not_confirm() -> None:
    journal = Journal()
    journal.begin(attached(token=None))
    assert not any(journal.arrived(1) for _ in range(100))
    assert journal.resume is None


def test_it_is_bounded() -> None:
    journal = begun()
    for number in range(MAX_ENTRIES):
        assert not journal.full
        journal.ask(number, b"")
    assert journal.full
    journal.answered(MAX_ENTRIES - 1)
    assert not journal.full


def test_an_end_is_final() -> None:
    journal = begun()
    journal.ask(1, b"x")
    journal.end()
    assert (journal.attached, journal.resume) == (False, None)
