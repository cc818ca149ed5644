"""Keeps account of messages: what was acknowledged must arrive, what was confirmed must not come again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

SHOWN: Final = 5
"""Messages that are named of each kind of problem."""


class Ledger:
    """The messages of one run by their ids, which no two of them share."""

    def __init__(self) -> None:
        self._recipients: dict[str, str] = {}
        self._delivered: set[str] = set()
        self._confirmed: set[str] = set()
        self._receipts: set[str] = set()
        self._confirmed_receipts: set[str] = set()
        self._wrong: list[str] = []
        self.repeated = 0
        """Items that came again before they were confirmed, as they may."""

    def __len__(self) -> int:
        return len(self._recipients)

    def acknowledged(self, message: str, recipient: str) -> None:
        """The server has taken a message."""
        self._recipients[message] = recipient

    def delivered(self, message: str, recipient: str) -> None:
        """Somebody got a message."""
        self._arrived(message, self._delivered, self._confirmed)
        if self._recipients.get(message, recipient) != recipient:
            self._wrong.append(f"{message} was delivered to {recipient}")

    def confirmed(self, message: str) -> None:
        """The server knows that a message has arrived."""
        self._confirmed.add(message)

    def receipt(self, message: str) -> None:
        """A sender was told that its message has arrived."""
        self._arrived(message, self._receipts, self._confirmed_receipts)

    def confirmed_receipt(self, message: str) -> None:
        """The server knows that a sender was told."""
        self._confirmed_receipts.add(message)

    @property
    def under_way(self) -> int:
        """Acknowledged messages that have not arrived, and those of which the sender was not told that."""
        return len(self._missing()) + len(self._untold())

    def problems(self) -> Iterator[str]:
        """What is wrong once everything should have arrived."""
        if missing := self._missing():
            yield f"{len(missing)} acknowledged messages are lost: {_some(missing)}"
        if untold := self._untold():
            yield f"{len(untold)} receipts are lost: {_some(untold)}"
        if self._wrong:
            yield f"{len(self._wrong)} deliveries are wrong: {_some(self._wrong)}"

    def _arrived(self, message: str, seen: set[str], confirmed: set[str]) -> None:
        if message in confirmed:
            self._wrong.append(f"{message} came again after it was confirmed")
        elif message in seen:
            self.repeated += 1
        seen.add(message)

    def _missing(self) -> set[str]:
        return self._recipients.keys() - self._delivered

    def _untold(self) -> set[str]:
        return (self._confirmed & self._recipients.keys()) - self._receipts


def _some(messages: list[str] | set[str]) -> str:
    return ", ".join(sorted(messages)[:SHOWN])
