"""The doorway: who is connected, and how they are sent off."""

from __future__ import annotations

from dataclasses import dataclass, field

from crs.doorway import CLOSE_RECONNECT, Doorway
from crs.identity import Identity


@dataclass(eq=False)
class Line:
    """A `Connection`."""

    identity: Identity
    host: str = "192.0.2.1"
    port: int = 1024
    psk_identity: bytes = b""
    closes: list[tuple[int, str]] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        """Nobody sends here."""

    def close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))


class Board:
    """A `Receiver` that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def opened(self, connection: object) -> None:
        self.told.append(("opened", connection))

    def received(self, connection: object, data: bytes) -> None:
        self.told.append(("received", connection, data))

    def flush(self) -> None:
        self.told.append(("flush",))

    def closed(self, connection: object) -> None:
        self.told.append(("closed", connection))

    def offended(self, kind: str, host: str, reason: str) -> None:
        self.told.append(("offended", kind, host, reason))


def test_what_comes_is_passed_on() -> None:
    board = Board()
    doorway = Doorway(board, lambda event: None)
    line = Line(Identity("+1", "a"))
    doorway.opened(line)
    doorway.received(line, b"x")
    doorway.flush()
    doorway.closed(line)
    doorway.offended("kind", "host", "reason")
    assert board.told == [
        ("opened", line),
        ("received", line, b"x"),
        ("flush",),
        ("closed", line),
        ("offended", "kind", "host", "reason"),
    ]


def test_a_purged_connection_is_gone_at_once_and_told_once() -> None:
    board = Board()
    doorway = Doorway(board, lambda event: None)
    lines = [
        Line(Identity(uri, account)) for uri, account in (("+1", "a"), ("+1", "a"), ("+2", "a"), ("+1", "b"))
    ]
    for line in lines:
        doorway.opened(line)
    board.told.clear()
    assert doorway.purge(Identity("+1", "a").__eq__) == 2
    assert [line.closes for line in lines] == [[(CLOSE_RECONNECT, "reconnect")]] * 2 + [[], []]
    doorway.received(lines[0], b"too late")
    doorway.closed(lines[0])
    assert sorted(map(str, board.told)) == sorted(str(("closed", line)) for line in lines[:2])
    assert doorway.purge(Identity("+1", "a").__eq__) == 0
    assert doorway.purge(lambda client: client.account == "b") == 1
