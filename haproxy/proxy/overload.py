"""What is refused while more comes in than can be worked on: local overload control. Sans-IO.

RFC 6357 section 4; RFC 7339 is the version that neighbours take part in.

Messages that have waited longer than T1 are sent again by their senders, so that the more there is to do, the
more comes in: left alone, a proxy that was held up for a second works on repetitions only. What belongs to
calls and transactions goes on; something new is refused, which takes a tenth of the time of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request

BEHIND: Final = 0.25
"""Seconds that messages may wait for long: what has waited less is not sent again before its answer, which
waits as long, is there (T1 is 0.5). It is about how long they wait while there is an overload.
"""

LASTING: Final = 1.0
"""Seconds for which messages wait so long before something is refused: a short pause is made up for."""

REPEATED: Final = 0.5
"""Seconds of waiting with which it is refused at once: all is sent again by then (T1)."""

FAR_BEHIND: Final = 1.0
"""With that, new requests of Genesis systems are refused, too: most belong to calls that were let in."""

QUIET: Final = 5.0
"""Seconds after the last delay for an overload to be over: refusing comes and goes while it lasts."""


class OverloadBegan(NamedTuple):
    """Something is refused from now on."""

    waited: float
    """Seconds that messages had waited."""
    lost: bool
    """Datagrams found no room."""


class OverloadEnded(NamedTuple):
    """Nothing is refused any more."""

    seconds: float
    """From the first delay to the last."""
    refused: int


Event: TypeAlias = OverloadBegan | OverloadEnded


class Overload:
    """Judges by how long the messages at hand have waited, and whether some were lost behind them.

    `trusted` says of a source that its new requests mostly belong to calls that were let in.
    """

    def __init__(self, trusted: Callable[[Flow], bool], tell: Callable[[Event], None]) -> None:
        self._trusted = trusted
        self._tell = tell
        self.refusing = False
        """Whether what is new is refused among the messages at hand."""
        self._far_behind = False
        self._long_since = self._long_at = float("-inf")
        """When messages began to wait for long, and when they last did."""
        self._began: float | None = None
        self._behind_at = float("-inf")
        self._refused_before = 0
        self.times = 0
        """Overloads so far."""
        self.refused = 0
        """Requests that were refused for this."""
        self._longest = 0.0

    @property
    def lasts(self) -> bool:
        """Whether there is an overload: refusing comes and goes meanwhile."""
        return self._began is not None

    def take_longest(self) -> float:
        """Seconds that a message had waited at most since this was asked last."""
        longest, self._longest = self._longest, 0.0
        return longest

    def behind_since(self, when: float) -> bool:
        """Whether messages have waited too long or were lost since then: answers may be among them."""
        return self._behind_at >= when

    def note(self, waited: float, lost: bool, now: float) -> None:
        """What is worked on next has waited so long, 0 if nothing is left behind it; some was `lost`."""
        self._longest = max(self._longest, waited)
        if waited > BEHIND:
            if now > self._long_at + REPEATED:
                self._long_since = now
            self._long_at = now
        lasting = waited > BEHIND and now >= self._long_since + LASTING
        self.refusing = lost or lasting or waited > REPEATED
        self._far_behind = waited >= FAR_BEHIND
        if self.refusing:
            self._behind_at = now
            if self._began is None:
                self._begin(waited, lost, now)

    def refuses(self, request: Request, source: Flow) -> bool:
        """Whether to refuse a request that belongs to no transaction. What belongs to a call never is."""
        if not self.refusing or request.to_tag is not None or request.method == b"CANCEL":
            return False
        if not self._far_behind and self._trusted(source):
            return False
        self.refused += 1
        return True

    def handle_timer(self, now: float) -> None:
        """See, about once a second, whether it is over, for all sockets."""
        if self._began is None or now < self._behind_at + QUIET:
            return
        seconds, self._began = self._behind_at - self._began, None
        self.refusing = False
        self._tell(OverloadEnded(seconds, self.refused - self._refused_before))

    def _begin(self, waited: float, lost: bool, now: float) -> None:
        self._began = now
        self._refused_before = self.refused
        self.times += 1
        self._tell(OverloadBegan(waited, lost))
