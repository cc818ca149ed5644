"""Which forwarder there is: the native one if its C extension was built, else the one in pure Python."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from rtlib.media import native_forwarder
from rtlib.media.forwarder import PAUSE, Forwarder
from rtlib.media.reactor_forwarder import ReactorForwarder

log = Logger(namespace="media")


def forwarder(reactor: Any, pause: float = PAUSE) -> Forwarder:
    """Make the best forwarder that this installation has, and log which. `reactor` provides IReactorFDSet.

    `pause`: seconds that it waits between two drains under load.
    """
    if native_forwarder.available():
        log.info("media is forwarded by the native forwarder, in a thread of its own")
        return native_forwarder.NativeForwarder(reactor, pause)
    log.warn(
        "media is forwarded in Python, because the native forwarder was not built; "
        "it takes several times less CPU: install a C compiler and Python's headers, then install again"
    )
    return ReactorForwarder(reactor, pause=pause)
