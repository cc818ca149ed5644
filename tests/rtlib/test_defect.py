"""What is logged with a traceback is counted."""

from __future__ import annotations

import io

from twisted.logger import Logger, LogPublisher, globalLogPublisher
from twisted.python import log as legacy

from rtlib.defect import Defects
from rtlib.log import LogObserver, stream_writer
from rtlib.metrics import Metrics


def fail(log: Logger) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.failure("it failed")


def test_defects_are_counted_while_the_service_runs() -> None:
    publisher = LogPublisher()
    log, defects = Logger("crs.test", observer=publisher), Defects(publisher)
    metrics = Metrics("x", "1")
    defects.add_to(metrics)
    fail(log)
    defects.startService()
    fail(log)
    log.warn("the network is away")
    log.error("that too")
    assert b"x_defects_total 1.0" in metrics.text()
    defects.stopService()
    fail(log)
    assert defects.count == 1


def test_what_twisted_reports_in_its_old_way_counts() -> None:
    defects = Defects(globalLogPublisher)
    defects.startService()
    try:
        legacy.err(ZeroDivisionError(), "Unhandled error in Deferred")
        legacy.msg("nothing")
    finally:
        defects.stopService()
    assert defects.count == 1


def test_the_level_of_the_log_does_not_matter() -> None:
    publisher, out = LogPublisher(), io.StringIO()
    publisher.addObserver(LogObserver([stream_writer(out)], "warn"))
    defects = Defects(publisher)
    defects.startService()
    fail(Logger("crs.test", observer=publisher))
    defects.stopService()
    assert defects.count == 1
    assert "ZeroDivisionError" in out.getvalue()
