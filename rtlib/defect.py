"""Faults of the program's own: whatever is logged with a traceback is one, and is counted."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.logger import ILogObserver, LogEvent, LogPublisher, globalLogPublisher
from zope.interface import implementer

from rtlib.metrics import Metrics


@implementer(ILogObserver)
class Defects(Service):
    """Counts them, whatever the log's level."""

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher
        self.count = 0

    def startService(self) -> None:
        """Begin to count."""
        super().startService()
        self._publisher.addObserver(self)

    def stopService(self) -> None:
        """Count no more."""
        super().stopService()
        self._publisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """See one event: Twisted's new and old logging have different names for a Failure."""
        if "log_failure" in event or "failure" in event:
            self.count += 1

    def add_to(self, metrics: Metrics) -> None:
        """Show it."""
        metrics.counter(
            "defects", "Faults of the program's own; the log has their tracebacks.", lambda: self.count
        )
