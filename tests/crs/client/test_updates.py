"""Taking monthly updates, from a client whose server a test plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from crs.client.client import Client
from crs.client.error import ClientError
from crs.client.updates import Keeper
from crs.signaling.message import Offer, Update

OFFER = Offer(month="2026-11", created=5, size=3)


class Server:
    """Gives one answer to each fetch, and notes what is confirmed."""

    def __init__(self, *answers: Update | ClientError) -> None:
        self.answers = list(answers)
        self.confirmed: list[Update] = []

    async def fetch_update(self, month: str) -> Update:
        answer = self.answers.pop(0)
        if isinstance(answer, ClientError):
            raise answer
        return answer

    async def confirm_update(self, update: Update) -> None:
        self.confirmed.append(update)


def update(payload: bytes, created: int = 5, month: str = "2026-11") -> Update:
    return Update(id=1, month=month, created=created, payload=payload)


def taken(server: Any, folder: Path) -> list[str]:
    """What the user is told."""
    told: list[str] = []
    keeper = Keeper(folder, told.append)
    keeper.take(cast("Client", server), OFFER)
    waiting = Deferred.fromCoroutine(keeper.settle())
    assert waiting.called
    return told


@pytest.mark.parametrize("created", [5, 6])
def test_what_is_kept_is_confirmed(tmp_path: Path, created: int) -> None:
    server = Server(update(b"abc", created))
    [line] = taken(server, tmp_path)
    assert line == f"update for 2026-11: 3 bytes in {tmp_path}/2026-11.update, confirmed"
    assert (tmp_path / "2026-11.update").read_bytes() == b"abc"
    assert server.confirmed == [update(b"abc", created)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (update(b"ab"), "it has 2 bytes instead of 3"),
        (update(b"abc", 4), "another one than it has offered"),
        (update(b"abc", month="2026-12"), "another one than it has offered"),
        (ClientError("gone"), "gone"),
    ],
)
def test_what_is_wrong_is_neither_kept_nor_confirmed(
    tmp_path: Path, answer: Update | ClientError, reason: str
) -> None:
    server = Server(answer)
    [line] = taken(server, tmp_path)
    assert line.startswith("update for 2026-11 not taken: ") and reason in line
    assert not list(tmp_path.iterdir()) and not server.confirmed
