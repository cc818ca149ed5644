"""Known scanners, by the names that they give as User-Agent or as caller (guide 1.2.2). Sans-IO."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

NAMES: Final = (
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sundayddr",
    "sipcli",
    "sip-scan",
    "siparmyknife",
    "sivus",
    "iwar",
    "pplsip",
    "VaxSIPUserAgent",
)
"""Parts of the names under which tools of attackers introduce themselves, as they are most often met."""

REMEMBERED: Final = 4096
"""Names whose answer is kept: there are few User-Agents, and each comes with every message."""

_AGENT: Final = b"\nUser-Agent:"
_CALLER: Final = b'\nFrom: "'
_QUOTE: Final = ord('"')
_AGENT_LENGTH: Final = len(_AGENT)
_CALLER_LENGTH: Final = len(_CALLER)
_ANY_AGENT: Final = re.compile(rb"\n(?i:user-agent)[ \t]*:")


class Scanners:
    """Recognizes a request of theirs in its bytes, before it is parsed."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        self.replace(names)

    def replace(self, names: Iterable[str]) -> None:
        """Look for other names, in lower or upper case; none at all switches it off."""
        parts = [re.escape(name.encode()) for name in names]
        self._pattern = re.compile(b"|".join(parts), re.IGNORECASE) if parts else None
        self._known: dict[bytes, str] = {}

    def recognize(self, data: bytes) -> str:
        """The name by which a request gives itself away; empty for all others."""
        if self._pattern is None:
            return ""
        # Headers as they are usually written: others cost a search of their own.
        start = data.find(_AGENT)
        if start < 0:
            match = _ANY_AGENT.search(data)
            start = match.end() if match is not None else -1
        else:
            start += _AGENT_LENGTH
        if start >= 0:
            value = data[start : data.find(b"\n", start)]
            found = self._known.get(value)
            if found is None:
                found = self._search(value)
            if found:
                return found if _in_header(data, start) else ""
        # Many requests have no quotes, and to look for one byte, given as a number, costs next to nothing.
        start = data.find(_CALLER) if _QUOTE in data else -1
        if start < 0:
            return ""
        start += _CALLER_LENGTH
        value = data[start : data.find(b'"', start)]
        found = self._known.get(value)
        if found is None:
            found = self._search(value)
        return found if found and _in_header(data, start) else ""

    def _search(self, value: bytes) -> str:
        assert self._pattern is not None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        match = self._pattern.search(value)
        found = self._known[value] = match[0].decode(errors="replace") if match is not None else ""
        return found


def _in_header(data: bytes, position: int) -> bool:
    return data.find(b"\r\n\r\n", 0, position) < 0
