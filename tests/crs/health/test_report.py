"""The three forms of a health check's result."""

from __future__ import annotations

import json

import pytest

from crs.health.report import Format, Test, Verdict, report

OK = Test("one", Verdict.ok, "all is well")
WARNING = Test("two", Verdict.warning, "little\tspace\nis left")
ERROR = Test("three", Verdict.error, "it is down")


@pytest.mark.parametrize(
    ("tests", "summary", "code"),
    [
        ([OK], "ok", 0),
        ([OK, WARNING], "warning", 3),
        ([WARNING, ERROR, OK], "error", 1),
    ],
)
def test_the_gravest_test_counts(tests: list[Test], summary: str, code: int) -> None:
    for form in Format:
        assert report(tests, form).exit_code == code
    assert report(tests, Format.summary).text == f"{summary}\n"
    assert json.loads(report(tests, Format.json).text) == {
        "summary": summary,
        "tests": [
            {"name": test.name, "result": test.result, "description": test.description} for test in tests
        ],
    }


def test_tsv_has_a_line_for_each_test() -> None:
    assert (
        report([OK, WARNING], Format.tsv).text == "one\tok\tall is well\ntwo\twarning\tlittle space is left\n"
    )
