"""`twistd crs --role relay`: the media relay as a process of its own, the manual's crs_relay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

from crs.relay.inside import NAME
from crs.relay.server import RelayControl
from crs.relay.service import RelayService
from rtlib.daemon import DaemonService
from rtlib.listen import StreamPort
from rtlib.log import Format, Level, LogObserver
from rtlib.media.choice import forwarder
from rtlib.notify import Announcer, ScriptNotifier
from rtlib.offence import OffenceLog


class RelayDaemon(DaemonService):
    """The relay and its control socket. `reactor` is the asyncio reactor."""

    def __init__(
        self,
        media: socket,
        commands: socket,
        limits: Mapping[str, int | None],
        *,
        pause: float,
        log: Callable[[], tuple[Level, Format]],
        script: Path,
        reactor: Any,
        observer: LogObserver | None,
    ) -> None:
        """`pause`: seconds between two drains of the port under load.

        `log` reads level and format from the settings again; it may raise SettingsError. `script` is told
        of start and stop.
        """
        super().__init__(NAME, reactor, observer, self._reread)
        self._log_observer = observer
        self._log = log
        notifier = ScriptNotifier(reactor, script)
        notifier.setServiceParent(self)
        relay = RelayService(media, forwarder(reactor, pause), reactor, limits=limits, offences=OffenceLog())
        accept = partial(StreamPort, commands, reactor=reactor)
        RelayControl(relay, accept, reactor).setServiceParent(self)
        Announcer(notifier, NAME).setServiceParent(self)

    def _reread(self) -> None:
        """Limits wait for a restart, as the manual says (4.1.2.3)."""
        level, format = self._log()
        if self._log_observer is not None:
            self._log_observer.change(level, format)
