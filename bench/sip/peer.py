"""Kamailio, to be measured beside genproxy: Debian's package, one worker, the same job (`kamailio.cfg`)."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.forwarder.load import favoured
from bench.sip.load import Load, Server, alone
from rtlib.testing.daemon import Daemon, free_port

PROGRAM = "kamailio"
CONFIG = Path(__file__).with_name("kamailio.cfg")
MEMORY = 2048, 32
"""MiB of shared memory, most of it for transactions that wait for their timers, and of each process's own."""
OPTIONS = (
    "OPTIONS sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP {host};rport;branch=z9hG4bKready\r\n"
    "From: <sip:{host}>;tag=1\r\nTo: <sip:{host}>;tag=2\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def installed() -> bool:
    """Whether Kamailio is on this machine."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def kamailio(
    core: int, folder: Path, load: Load, *, digest: bool, protected: bool = False
) -> Iterator[Server]:
    """Run Kamailio, with the load's sink as its only destination.

    `protected`: from floods, but for the load.
    """
    folder.mkdir()
    port = free_port("udp")
    config = folder / "kamailio.cfg"
    config.write_text(CONFIG.read_text().replace("@FOLDER@", str(folder)))
    genesis = load.genesis.getsockname()[1]
    (folder / "dispatcher.list").write_text(f"1 sip:127.0.0.1:{genesis} 0 0\n")
    (folder / "address.list").write_text("1 127.0.0.2 32 0 allowed\n2 127.0.0.3 32 0 denied\n")
    shared, own = MEMORY
    words = [PROGRAM, "-DD", "-E", "-f", str(config), "-l", f"udp:127.0.0.1:{port}", "-x", "tlsf"]
    words += ["-m", str(shared), "-M", str(own), "-A", f"USERS={load.users}", "-Y", str(folder)]
    words += ["-P", str(folder / "pid"), *(("-A", "WITH_DIGEST") if digest else ())]
    words += ["-A", "WITH_ANTIFLOOD"] if protected else []
    with Daemon(alone(favoured(core, *words)), lambda: _answers(port), directory=folder) as daemon:
        try:
            yield Server(PROGRAM, daemon.pid, port)
        finally:
            # Killed instead, it would leave its children behind, and they would keep the port.
            daemon.stop(10.0)


def _answers(port: int) -> bool:
    """Whether something at this port speaks SIP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        sock.sendto(OPTIONS.format(host="{}:{}".format(*sock.getsockname())).encode(), ("127.0.0.1", port))
        try:
            return sock.recv(65536).startswith(b"SIP/2.0")
        except OSError:
            return False
