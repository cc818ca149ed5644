"""mosquitto, to be measured beside crs: Debian's package, TLS-PSK, MQTT without a WebSocket."""

from __future__ import annotations

import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.forwarder.load import favoured
from bench.signaling.load import Party
from bench.sip.load import Server, alone
from crs.client.testing import ACCOUNT
from crs.identity import client_key
from rtlib.testing.daemon import Daemon, free_port

PROGRAM = "mosquitto"
SETTINGS = """\
per_listener_settings false
log_type error
persistence true
persistence_location {folder}/
allow_anonymous true
max_queued_messages 10000
set_tcp_nodelay true
user root
psk_file {folder}/keys
listener {port} 127.0.0.1
psk_hint crs
"""


def installed() -> bool:
    """Whether mosquitto is on this machine."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def mosquitto(core: int, folder: Path, clients: int) -> Iterator[Party]:
    """Run mosquitto with the keys that so many clients of a crs account would have."""
    folder.mkdir()
    port, secret = free_port(), secrets.token_bytes(16)
    names = [f"c{number:05}" for number in range(clients)]
    keys = "".join(f"{name}@{ACCOUNT}:{client_key(secret, name).hex()}\n" for name in names)
    (folder / "keys").write_text(keys)
    config = folder / "mosquitto.conf"
    config.write_text(SETTINGS.format(folder=folder, port=port))
    with Daemon(alone(favoured(core, PROGRAM, "-c", str(config))), lambda: _listens(port)) as daemon:
        yield Party(Server(PROGRAM, daemon.pid, port), "mqtt", secret)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
