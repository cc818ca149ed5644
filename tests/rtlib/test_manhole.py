"""The manhole, entered with OpenSSH's client over a UNIX socket."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from twisted.conch.avatar import ConchUser
from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.interfaces import IConchUser
from twisted.conch.manhole import ColoredManhole
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.python.components import Componentized

from rtlib.manhole import AuthorizedKeys, _Session, load_host_key, manhole_factory
from rtlib.testing.loop import installed_reactor, run

PROXY = """\
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def up():
    while data := os.read(0, 4096):
        s.sendall(data)
    # ssh has ended; the signal that it sends us is ignored where the suite runs under nohup.
    s.shutdown(socket.SHUT_RDWR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(4096):
    os.write(1, data)
"""


def make_key(path: Path) -> str:
    """A new key pair; the public key's line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def ssh(folder: Path, key: str, words: str) -> subprocess.CompletedProcess[str]:
    """Type these words into the manhole with this key."""
    (folder / "proxy.py").write_text(PROXY)
    command: list[str | Path] = ["ssh", "-tt", "-F", "none", "-i", folder / key]
    for option in (
        f"ProxyCommand={sys.executable} -S {folder}/proxy.py {folder}/manhole.sock",
        "StrictHostKeyChecking=no",
        f"UserKnownHostsFile={folder}/known",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey,password,keyboard-interactive",
        "BatchMode=yes",
        "LogLevel=ERROR",
    ):
        command += ["-o", option]
    return subprocess.run(
        [*command, "crs"], input=words, capture_output=True, text=True, timeout=20, check=False
    )


@contextlib.asynccontextmanager
async def manhole(folder: Path) -> AsyncIterator[None]:
    factory = manhole_factory({"answer": 41}, folder / "authorized_keys", folder / "host_key")
    port = installed_reactor().listenUNIX(str(folder / "manhole.sock"), factory)
    try:
        yield
    finally:
        await port.stopListening()


@pytest.mark.peer("ssh")
@pytest.mark.peer("ssh-keygen")
def test_authorized_keys_get_a_shell_in_the_daemon_and_nobody_else(tmp_path: Path) -> None:
    authorized = tmp_path / "authorized_keys"
    authorized.write_text(make_key(tmp_path / "known_key"))
    authorized.chmod(0o600)
    make_key(tmp_path / "other_key")

    async def main() -> None:
        async with manhole(tmp_path):
            inside = await deferToThread(ssh, tmp_path, "known_key", "answer + 1\r\x04")
            assert "42" in inside.stdout, inside.stderr
            refused = await deferToThread(ssh, tmp_path, "other_key", "answer + 1\r\x04")
            assert refused.returncode == 255
            assert "Permission denied (publickey)" in refused.stderr
            authorized.chmod(0o666)
            loose = await deferToThread(ssh, tmp_path, "known_key", "answer + 1\r\x04")
            assert loose.returncode == 255

    run(main, timeout=30)


@pytest.mark.parametrize("opened", [False, True])
def test_no_message_of_a_session_raises(opened: bool) -> None:
    components = Componentized()
    components.setComponent(IConchUser, ConchUser())
    session: Any = _Session(components)
    terminal: Any = ServerProtocol(ColoredManhole, {})
    channel = StringTransport()
    session.chainedProtocolFactory = lambda: terminal
    if opened:
        session.openShell(Process(channel))
    session.windowChanged((50, 132, 0, 0))
    session.eofReceived()
    assert channel.disconnecting is opened
    if opened:
        assert (terminal.terminalProtocol.width, terminal.terminalProtocol.height) == (132, 50)


class Process:
    """The side of conch's session channel that a shell writes to."""

    def __init__(self, transport: StringTransport) -> None:
        self.session = None
        self.write = transport.write
        self.loseConnection = transport.loseConnection
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport


def test_the_host_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    first = load_host_key(tmp_path / "key")
    assert load_host_key(tmp_path / "key") == first
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").write_text("nonsense")
    with pytest.raises(ValueError, match=f"{tmp_path}/key: "):
        load_host_key(tmp_path / "key")


def test_no_file_means_nobody(tmp_path: Path) -> None:
    assert list(AuthorizedKeys(tmp_path / "none").getAuthorizedKeys(b"root")) == []
