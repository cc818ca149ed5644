"""The log's lines and its file."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.logger import LogPublisher as TwistedPublisher
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher

from rtlib.log import CHECK_INTERVAL, LogFile, LogObserver, LogWatch, init, module_of, stream_writer

LINE = re.compile(
    r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \| (DEBUG|INFO|WARN|INIT) \| ([\w-]+)\((\d+)\)\] (.*)\n"
)


class Written(list[str]):
    """What an observer has written, and a logger that feeds it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.observer = LogObserver([self.append], **options)
        self.log = Logger(namespace="crs.relay.service", observer=self.observer)


def test_the_manuals_format() -> None:
    written = Written()
    written.log.info("{n} clients", n=3)
    match = LINE.fullmatch(written[0])
    assert match is not None
    assert match.groups() == ("INFO", "relay", str(os.getpid()), "3 clients")


def test_the_time_is_that_of_the_event_in_utc() -> None:
    written = Written()
    written.observer({"log_time": 1795403045.6789, "log_format": "x", "log_level": LogLevel.info})
    assert written[0].startswith("[2026-11-23T03:04:05.678Z | INFO | ")


def test_types_and_levels() -> None:
    written = Written(level="debug")
    for level in ("debug", "info", "warn", "error", "critical"):
        written.log.emit(LogLevel.levelWithName(level), "x")
    init(written.log, "{name} started", name="crs")
    assert [LINE.fullmatch(line)[1] for line in written] == [  # type: ignore[index]  # all match
        "DEBUG",
        "INFO",
        "WARN",
        "WARN",
        "WARN",
        "INIT",
    ]
    written.clear()
    written.observer.level = "warn"
    written.log.info("no")
    init(written.log, "no")
    written.log.warn("yes")
    assert len(written) == 1


def test_what_twisted_tells_of_itself_is_for_debugging_but_not_its_errors() -> None:
    written = Written()
    legacy = LogPublisher(observerPublisher=written.observer, publishPublisher=written.observer)
    legacy.msg("Port starting on 17")
    legacy.msg("it broke", isError=1)
    assert len(written) == 1
    assert "| WARN | twisted(" in written[0]


def test_a_failure_is_one_line_and_its_traceback_indented() -> None:
    written = Written()
    try:
        raise KeyError("a\nb")
    except KeyError:
        written.log.failure("it broke")
    first, *rest = written[0].splitlines()
    assert first.endswith("] it broke: KeyError: 'a\\nb'")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)


@given(st.text())
def test_no_text_breaks_out_of_its_line(text: str) -> None:
    written = Written()
    written.log.info("{text}", text=text)
    assert len(written) == 1
    assert len(written[0].splitlines()) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", written[0])


def test_json_lines() -> None:
    written = Written(format="json")
    init(written.log, "line\nbreak")
    written.log.failure("broken", Failure(ValueError("x")))
    first, second = (msgspec.json.decode(line) for line in written)
    assert (first["type"], first["module"], first["pid"]) == ("INIT", "relay", os.getpid())
    assert first["information"] == "line\\nbreak"
    assert second["information"] == "broken: ValueError: x"
    assert second["traceback"]
    assert all(line.count("\n") == 1 for line in written)


@pytest.mark.parametrize(
    ("namespace", "module"),
    [
        ("crs.signaling.attachment", "attachment"),
        ("crs.relay.service", "relay"),
        ("crs.service", "crs"),
        ("rtlib.command.server", "command"),
        ("haproxy.sip.transaction.Layer", "transaction"),
        ("crs", "crs"),
        ("service", "service"),
        ("twisted.web.http", "twisted"),
        ("log_legacy", "twisted"),
        ("", "twisted"),
    ],
)
def test_modules_as_operators_know_them(namespace: str, module: str) -> None:
    assert module_of(namespace) == module


def test_the_file_is_appended_to_and_followed_when_rotated(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "crs.log"
    path.write_text("old\n")
    file = LogFile(path, lambda: now[0])
    file.write("one\n")
    path.rename(tmp_path / "crs.log.1")
    file.write("two\n")
    now[0] += CHECK_INTERVAL
    file.write("three\n")
    assert (tmp_path / "crs.log.1").read_text() == "old\none\ntwo\n"
    assert path.read_text() == "three\n"
    path.unlink()
    tmp_path.chmod(0o755)
    now[0] += CHECK_INTERVAL
    file.write("four\n")
    assert path.read_text() == "four\n"
    file.close()


def test_a_file_that_cannot_be_opened_again_is_kept(tmp_path: Path) -> None:
    now = [0.0]
    folder = tmp_path / "log"
    folder.mkdir()
    file = LogFile(folder / "crs.log", lambda: now[0])
    folder.rename(tmp_path / "moved")
    now[0] += CHECK_INTERVAL
    file.write("still\n")
    assert (tmp_path / "moved" / "crs.log").read_text() == "still\n"
    file.close()
    with pytest.raises(OSError, match="No such file"):
        LogFile(folder / "crs.log")


def test_secrets_of_others_stay_out_of_reach(tmp_path: Path) -> None:
    LogFile(tmp_path / "crs.log").close()
    assert (tmp_path / "crs.log").stat().st_mode & 0o007 == 0


def test_a_stream_that_is_gone_does_not_stop_the_daemon() -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    stream = io.StringIO()
    stream_writer(stream)("x\n")
    assert stream.getvalue() == "x\n"
    stream_writer(Gone())("x\n")


def test_a_watcher_is_told_of_everything_while_it_is_there() -> None:
    publisher, told = TwistedPublisher(), []
    watch = LogWatch(publisher)
    log = Logger(namespace="crs.relay.service", observer=publisher)
    log.info("nobody listens")
    watch.set(lambda module, wall, information: told.append((module, information)))
    log.debug("{n} packets", n=3)
    watch.set(lambda module, wall, information: told.append(("second", information)))
    log.warn("late")
    watch.set(None)
    log.warn("nobody listens")
    assert told == [("relay", "3 packets"), ("second", "late")]
