"""Where a Redis server is, and whether it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtlib.store import StoreError
from rtlib.store.server import Login, Place, examine, parse_place
from rtlib.testing.redis import RedisServer


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("unix:/run/redis.sock", Place("/run/redis.sock")),
        ("127.0.0.1:6379", Place("", "127.0.0.1", 6379)),
        ("redis.example:1", Place("", "redis.example", 1)),
        ("[::1]:6379", Place("", "::1", 6379)),
    ],
)
def test_a_place_and_its_text(text: str, place: Place) -> None:
    assert parse_place(text) == place and str(place) == text


@pytest.mark.parametrize("text", ["", "unix:", "unix:redis.sock", "host", ":6379", "host:", "host:0", "h:x"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match=r"socket begins with /|neither unix"):
        parse_place(text)


@pytest.mark.peer("redis-server")
def test_a_server_that_answers_and_one_that_does_not() -> None:
    with RedisServer(requirepass="secret") as server:
        place = Place(str(server.socket))
        examine(place, Login(password="secret"), 5, durable=True)
        for login, reason in ((Login(), "NOAUTH"), (Login(password="wrong"), "WRONGPASS")):
            with pytest.raises(StoreError, match=reason):
                examine(place, login, 5, durable=False)
        server.kill()
        with pytest.raises(OSError, match="refused"):
            examine(place, Login(), 5, durable=False)


@pytest.mark.peer("redis-server")
def test_a_server_that_would_lose_what_it_acknowledged() -> None:
    with RedisServer(appendfsync="everysec") as server:
        place = Place(str(server.socket))
        examine(place, Login(), 5, durable=False)
        with pytest.raises(StoreError, match="will not do: its setting appendfsync is everysec, not always"):
            examine(place, Login(), 5, durable=True)


def test_a_socket_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        examine(Place(str(tmp_path / "none")), Login(), 5, durable=False)
