"""`twistd crs --role relay`: the media relay as a process of its own, the manual's crs_relay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, Final

from crs.relay.server import RelayControl
from crs.relay.service import RelayService
from rtlib.daemon import DaemonService
from rtlib.listen import StreamPort
from rtlib.log import Level, LogObserver
from rtlib.media.choice import forwarder
from rtlib.notify import Announcer, ScriptNotifier
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
        pause: float,
        log_level: Callable[[], Level],
        script: Path,
        reactor: Any,
        observer: LogObserver | None,
    ) -> None:
        """`pause`: seconds between two drains of the port under load.

        `log_level` reads it from the settings again; it may raise SettingsError. `script` is told of start
        and stop.
        """
        super().__init__(NAME, reactor, observer, self._reread)
        self._log_observer = observer
        self._log_level = log_level
        notifier = ScriptNotifier(reactor, script)
        notifier.setServiceParent(self)
        relay = RelayService(media, forwarder(reactor, pause), reactor, limits=limits, offences=OffenceLog())
        accept = partial(StreamPort, commands, reactor=reactor)
        RelayControl(relay, accept, reactor).setServiceParent(self)
        Announcer(notifier, NAME).setServiceParent(self)

    def _reread(self) -> None:
        """Limits wait for a restart, as the manual says (4.1.2.3)."""
        level = self._log_level()
        if self._log_observer is not None:
            self._log_observer.level = level
