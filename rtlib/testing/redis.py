"""A Redis server of one's own for tests and benchmarks: Debian's redis-server on a UNIX socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from twisted.internet.endpoints import UNIXClientEndpoint

from rtlib.store.resp import encode
from rtlib.testing.daemon import Daemon

DURABLE = {"appendonly": "yes", "appendfsync": "always", "aof-load-truncated": "no", "save": ""}
"""The settings of a server that keeps what it has acknowledged."""


class RedisServer(Daemon):
    """A server with these settings, which may be ended and started again; its folder goes with it."""

    def __init__(self, **settings: str) -> None:
        """`settings` are those of redis.conf, with _ for -, on top of DURABLE."""
        # The path of a UNIX socket has 107 bytes at most, which a test's own folder may exceed.
        self.directory = Path(mkdtemp(prefix="redis-"))
        self.socket = self.directory / "redis.sock"
        chosen = DURABLE | {name.replace("_", "-"): value for name, value in settings.items()}
        words = [word for name, value in chosen.items() for word in (f"--{name}", value)]
        places = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory)]
        super().__init__(["redis-server", *places, *words], "eady to accept connections")

    def __enter__(self) -> RedisServer:
        super().__enter__()
        return self

    @property
    def log_file(self) -> Path:
        """The file that it appends its writes to, as long as that was never rewritten."""
        return self.directory / "appendonlydir" / "appendonly.aof.1.incr.aof"

    def start(self) -> RedisServer:
        """Start it (again), as an operator must: what was not written to the end is cut off first."""
        manifest = self.log_file.with_name("appendonly.aof.manifest")
        if manifest.exists():
            repair = ["redis-check-aof", "--fix", str(manifest)]
            subprocess.run(repair, input=b"y\n", capture_output=True, check=True)
        super().start()
        return self

    def endpoint(self, reactor: object) -> UNIXClientEndpoint:
        """Where to connect."""
        return UNIXClientEndpoint(reactor, str(self.socket))

    def ask(self, *words: str | bytes) -> bytes:
        """What the server replies to one command, undecoded; it must fit into one packet."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(self.socket))
            sock.sendall(encode(tuple(word.encode() if isinstance(word, str) else word for word in words)))
            return sock.recv(65536)

    def close(self) -> None:
        """Kill it if it still runs, and delete its folder."""
        super().close()
        shutil.rmtree(self.directory, ignore_errors=True)
