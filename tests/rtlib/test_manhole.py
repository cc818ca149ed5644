"""The manhole, entered with OpenSSH's client over a UNIX socket."""

from __future__ import annotations

import contextlib
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
from rtlib.testing.ssh import make_key, ssh


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
