"""A Python shell inside the running daemon, over SSH (RFC 4252 public keys only) on a local socket.

Who is in the authorized keys file may do everything that the daemon may: the socket is a UNIX
socket or on loopback, and there are no passwords. To get in over a UNIX socket:

    ssh -o ProxyCommand='socat - UNIX-CONNECT:run/manhole.sock' crs
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.checkers import IAuthorizedKeysDB, SSHPublicKeyChecker, readAuthorizedKeyFile
from twisted.conch.insults.insults import ServerProtocol
from twisted.conch.interfaces import IConchUser
from twisted.conch.manhole import ColoredManhole
from twisted.conch.manhole_ssh import ConchFactory, TerminalRealm, TerminalSession
from twisted.conch.ssh.keys import BadKeyError, Key
from twisted.cred.portal import Portal
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

log = Logger()


def manhole_factory(namespace: Mapping[str, Any], authorized_keys: Path, host_key: Path) -> Factory:
    """A factory for SSH connections whose shells see `namespace`.

    `authorized_keys` is in OpenSSH's format and read for each login; `host_key` is made if missing.
    Raises OSError, or ValueError for a host key that is not one.
    """
    realm: Any = TerminalRealm()  # conch's own annotations are too narrow for its documented use
    realm.sessionFactory = _Session
    realm.chainedProtocolFactory = lambda: ServerProtocol(ColoredManhole, dict(namespace))
    portal = Portal(realm, [SSHPublicKeyChecker(AuthorizedKeys(authorized_keys))])
    factory: Any = ConchFactory(portal)
    key = load_host_key(host_key)
    factory.publicKeys = {key.sshType(): key.public()}
    factory.privateKeys = {key.sshType(): key}
    factory.noisy = False
    made: Factory = factory
    return made


def load_host_key(path: Path) -> Key:
    """The host's Ed25519 key; a new one, mode 0600, where there is none. Raises OSError, ValueError."""
    if not path.exists():
        _create_host_key(path)
    try:
        key: Key = Key.fromString(path.read_bytes())
    except BadKeyError as error:
        raise ValueError(f"{path}: {error}") from None
    return key


def _create_host_key(path: Path) -> None:
    data = Key(Ed25519PrivateKey.generate()).toString("OPENSSH")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


class _Session(TerminalSession):
    """Adds what conch leaves unimplemented, raising: end of input, a resized window, no terminal at all."""

    width, height = 80, 24
    _terminal: ServerProtocol | None = None
    _channel: Any = None

    def openShell(self, proto: Any) -> None:
        self._channel = proto
        self._terminal = self.chainedProtocolFactory()
        user = IConchUser(self.original)
        self.transportFactory(proto, self._terminal, user, self.width, self.height)

    def windowChanged(self, newWindowSize: Any) -> None:
        self.height, self.width = newWindowSize[:2]
        if self._terminal is not None and self._terminal.terminalProtocol is not None:
            self._terminal.terminalProtocol.terminalSize(self.width, self.height)

    def eofReceived(self) -> None:
        if self._channel is not None:
            self._channel.loseConnection()


@implementer(IAuthorizedKeysDB)
class AuthorizedKeys:
    """The keys of one file, for any user name; none while the file is missing or others may write it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def getAuthorizedKeys(self, avatarId: bytes) -> Iterator[Key]:
        """The keys that may log in now."""
        try:
            if self._path.stat().st_mode & 0o022:
                log.warn("{path} may be written by others: nobody may log in", path=str(self._path))
                return
            with self._path.open("rb") as file:
                yield from readAuthorizedKeyFile(file)
        except OSError as error:
            log.warn("{path}: {error}: nobody may log in", path=str(self._path), error=error.strerror)
