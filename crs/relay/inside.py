"""The relay as a part of the server: a service all the same, with a log of its own (manual 6.2)."""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from crs.relay.allocation import Allocation
from crs.relay.control import POLL
from crs.relay.interface import Resource, Statistics
from crs.relay.service import RelayService
from rtlib.log import init

NAME: Final = "crs_relay"
"""Of the service, and of its events, which go to crs_relay.log."""

log = Logger(namespace=NAME)


class InsideRelay(RelayService):
    """Also tells what it does, as the relay's own process would."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._heartbeat = LoopingCall(log.info, "Command poll")
        self._heartbeat.clock = self._clock

    def startService(self) -> None:
        """Open the port."""
        super().startService()
        init(log, "crs_relay started, a part of crs, process {pid}", pid=os.getpid())
        log.info("CONNECTION of crs")
        self._heartbeat.start(POLL, now=False)

    def stopService(self) -> Deferred[None] | None:
        """Close the port."""
        if self._heartbeat.running:
            self._heartbeat.stop()
        log.info("CLOSE of crs")
        stopped = super().stopService()
        init(log, "crs_relay stopped")
        return stopped

    async def statistics(self) -> Statistics:
        """What the relay has done."""
        log.info("Command poll")
        return await super().statistics()

    async def resources(self) -> list[Resource]:
        """All allocations."""
        log.info("Command poll")
        return await super().resources()

    def _added(self, allocation: Allocation) -> None:
        log.info(
            "Command add: {kind}, identifiers {identifiers}",
            kind=allocation.kind,
            identifiers=", ".join(str(leg.identifier) for leg in allocation.legs) or "none yet",
        )
        super()._added(allocation)
