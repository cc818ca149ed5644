"""A proxy with SIPp on both of its sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing import script
from haproxy.testing.genproxy import Genproxy, Settings, Value, own_host
from haproxy.testing.sipp import Sipp

USERS = {"5000": "x", "5001": "x", "genesis_a": "x"}


class Peers:
    """A proxy that `listed` may use as a proxy, and SIPp at whatever address; all are ended with it."""

    def __init__(self, folder: Path, system: Mapping[str, Value] | None = None, *, host: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.listed = own_host()
        settings: Settings = {
            "proxy": {"enableAstFailover": False, "proxyList": [self.listed]},
            "system": system or {},
        }
        self.proxy = Genproxy(folder / "proxy", host=host, settings=settings, subscribers=USERS)
        self._numbers = count(1)
        self._running = ExitStack()

    def __enter__(self) -> Peers:
        self._running.enter_context(self.proxy)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            assert "Traceback" not in self.proxy.daemon.text
        finally:
            self._running.close()

    def callee(self, *steps: str, user: str = "far", host: str = "", **more: Any) -> Sipp:
        """SIPp that begins by listening."""
        return self._start(steps, user, host or own_host(), **more)

    def caller(self, *steps: str, user: str = "5000", host: str = "", **more: Any) -> Sipp:
        """SIPp that begins by sending, from the listed address."""
        return self._start(steps, user, host or self.listed, **more)

    def register(self, user: str, *headers: str, host: str = "") -> Sipp:
        """Register SIPp's address; whoever answers there must have the same host and port."""
        uri = f"sip:{script.PROXY}"
        to = f"To: <sip:{user}@{script.PROXY}>"
        steps = script.request("REGISTER", uri, to, *headers), script.heard(200)
        phone = self.caller(*steps, user=user, host=host or own_host())
        phone.finish()
        return phone

    def _start(
        self, steps: tuple[str, ...], user: str, host: str, *, arguments: Sequence[str] = (), **more: Any
    ) -> Sipp:
        path = script.write(self.folder, f"{user}-{next(self._numbers)}", *steps)
        words = ["-timeout", "60s", *arguments]
        sipp = Sipp(self.folder, path, self.proxy.server, user=user, host=host, arguments=words, **more)
        return self._running.enter_context(sipp)


def address(peer: Sipp) -> str:
    """HOST:PORT."""
    return f"{peer.host}:{peer.port}"


def talk(peers: Peers, callee: Sequence[str], caller: Sequence[str], **more: Any) -> tuple[Sipp, Sipp]:
    """A call of one SIPp to another, which goes as both scripts say. `more` is the caller's."""
    called = peers.callee(*callee)
    calling = peers.caller(*(to(called, step) for step in caller), **more)
    calling.finish()
    called.finish()
    return calling, called


def to(called: Sipp, step: str) -> str:
    """A caller's step, with the callee where the script has the usual number."""
    return step.replace(f"sip:100@{script.PROXY}", f"sip:far@{address(called)}")


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with Peers(tmp_path_factory.mktemp("peers")) as peers:
        yield peers
