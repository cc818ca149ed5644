"""What the demonstration prints, and when it counts as failed."""

from io import StringIO

import pytest

from demo.report import NotHeld, Report, Skipped, Traffic, table


def make() -> tuple[Report, StringIO]:
    out = StringIO()
    ticks = iter(range(1000))
    return Report(out, lambda: float(next(ticks))), out


def test_a_step_that_holds() -> None:
    report, out = make()
    with report.step("the sun rises") as step:
        step.note("in the east\nas always")
    assert out.getvalue() == (
        "  ok      1.0 s  the sun rises\n                 in the east\n                 as always\n\n"
    )
    assert report.finish()
    assert out.getvalue().endswith("1 of 1 steps held, in 3.0 seconds.\n")


def test_a_step_that_does_not_hold_ends_the_chapter_and_fails_the_whole() -> None:
    report, out = make()
    with report.step("one"):
        pass
    with pytest.raises(Skipped), report.step("two"):
        raise NotHeld("it was three")
    assert not report.finish()
    assert "FAILED  1.0 s  two\n                 it was three" in out.getvalue()
    assert "1 of 2 steps held" in out.getvalue()


def test_an_unexpected_error_is_told_by_its_type() -> None:
    report, out = make()
    with pytest.raises(Skipped), report.step("one"):
        raise ValueError("odd")
    assert "ValueError: odd" in out.getvalue()


@pytest.mark.parametrize(
    ("sent", "received", "tone", "held"),
    [
        (100, 100, 1.0, True),
        (100, 95, 0.95, True),
        (100, 94, 1.0, False),
        (100, 100, 0.5, False),
        (0, 0, 1.0, False),
    ],
)
def test_traffic_must_arrive_and_be_the_right_sound(
    sent: int, received: int, tone: float, held: bool
) -> None:
    report, out = make()
    with report.step("one"):
        report.traffic(Traffic("call", "A to B", sent, received, tone))
    assert report.finish() is held
    assert ("FAILED" in out.getvalue()) is not held


def test_times_are_in_the_summary() -> None:
    report, out = make()
    with report.step("one") as step:
        step.note(report.time("the answer", 0.0421))
    assert report.finish()
    assert out.getvalue().count("42 ms") == 2
    assert "the answer  42 ms" in out.getvalue()


def test_nothing_done_is_not_a_success() -> None:
    report, _ = make()
    assert not report.finish()


def test_long_text_is_wrapped_under_itself() -> None:
    report, out = make()
    with report.step("word " * 40):
        pass
    lines = out.getvalue().splitlines()
    assert len(lines) > 1
    assert all(len(line) <= 96 for line in lines)
    assert all(line.startswith(" " * 17 + "word") for line in lines[1:])


def test_a_table_aligns_numbers_to_the_right() -> None:
    assert table(("name", "count"), [("a", "5"), ("bcdef", "150")]) == [
        "name   count",
        "-----  -----",
        "a          5",
        "bcdef    150",
    ]
