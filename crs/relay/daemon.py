"""`twistd crs --role relay`: the media relay as a process of its own, the manual's crs_relay."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from socket import socket
from typing import Any, Final

from crs.relay.server import RelayControl
from crs.relay.service import RelayService
from rtlib.daemon import DaemonService
from rtlib.listen import StreamPort
from rtlib.log import LogObserver
from rtlib.media.choice import forwarder
from rtlib.offence import OffenceLog

NAME: Final = "crs_relay"


class RelayDaemon(DaemonService):
    """The relay and its control socket. `reactor` is the asyncio reactor."""

    def __init__(
        self,
        media: socket,
        commands: socket,
        limits: Mapping[str, int | None],
        *,
        reactor: Any,
        observer: LogObserver | None,
    ) -> None:
        super().__init__(NAME, reactor, observer)
        relay = RelayService(media, forwarder(reactor), reactor, limits=limits, offences=OffenceLog())
        accept = partial(StreamPort, commands, reactor=reactor)
        RelayControl(relay, accept, reactor).setServiceParent(self)
