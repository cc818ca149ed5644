"""Debian's dnsmasq as a name server with records of a test's own."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import Daemon

DNS_PORT: Final = 5353
TTL: Final = 1
"""Seconds."""


class NameServer(Daemon):
    """dnsmasq with these records, on an address of its own."""

    def __init__(self, folder: Path, *records: str) -> None:
        self.host = own_host()
        self.queries = folder / "queries.log"
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
        options += [f"--listen-address={self.host}", f"--port={DNS_PORT}"]
        options += ["--bind-interfaces", "--local=/test/"]
        options += [f"--local-ttl={TTL}", "--log-queries", f"--log-facility={self.queries}"]
        options += [f"--pid-file={folder / 'dnsmasq.pid'}", "--user=root", "--except-interface=none"]
        super().__init__(["dnsmasq", *options, *records], self.answers, timeout=20)

    def __enter__(self) -> NameServer:
        super().__enter__()
        return self

    def answers(self) -> bool:
        """Whether it is there."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex((self.host, DNS_PORT)) == 0

    def asked(self, name: str) -> int:
        """How often it was asked for a name."""
        return self.queries.read_text().count(f" {name} from ") if self.queries.exists() else 0
