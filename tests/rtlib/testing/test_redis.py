"""A Redis server of one's own: it keeps its data over a restart, and leaves nothing behind."""

from __future__ import annotations

import pytest

from rtlib.testing.redis import RedisServer


@pytest.mark.peer("redis-server")
def test_it_keeps_its_data_when_it_is_killed_and_its_folder_goes_in_the_end() -> None:
    with RedisServer(maxmemory="7mb") as server:
        assert server.ask("SET", "k", b"v\0") == b"+OK\r\n"
        assert server.ask("CONFIG", "GET", "maxmemory").endswith(b"7340032\r\n")
        server.kill()
        server.start()
        assert server.ask("GET", "k") == b"$2\r\nv\0\r\n"
        assert server.directory.exists()
    assert not server.directory.exists() and server.returncode is not None
