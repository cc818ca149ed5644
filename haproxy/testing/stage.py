"""Phones around one running genproxy, for a scenario: each has an address of its own, and all are stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from haproxy.testing.call import IncomingCall, OutgoingCall
from haproxy.testing.genproxy import TLS_PORT, Genproxy, own_host
from haproxy.testing.phone import Phone
from haproxy.tls.store import TlsStore
from rtlib.testing import loop

PATIENCE: Final = 15.0
"""Seconds to wait for anything that should come at once."""

PASSWORD: Final = "stage-secret"  # noqa: S105  of the subscribers of a test
SUBSCRIBERS: Final = dict.fromkeys(("genesis_a", "genesis_a-2", "genesis_b", "5000", "5001"), PASSWORD)
"""For `Genproxy(subscribers=...)`: two systems in the primary set, one in the secondary, two phones."""

TONES: Final = {"genesis_a": 440, "genesis_a-2": 550, "genesis_b": 660, "5000": 880, "5001": 990}


class Stage:
    """Makes phones and waits for what they should see."""

    def __init__(self, reactor: Any, proxy: Genproxy, tls: TlsStore | None = None) -> None:
        """`tls` is what phones over TLS use."""
        self._tls = tls
        self.reactor = reactor
        self.proxy = proxy
        self._phones: list[Phone] = []

    def phone(
        self, user: str, *, host: str = "", transport: str = "udp", server: tuple[str, int] | None = None
    ) -> Phone:
        """A phone that is not registered; it answers every call."""
        phone = Phone(
            self.reactor,
            user,
            server or (self.proxy.host, TLS_PORT if transport == "tls" else self.proxy.port),
            password=PASSWORD,
            host=host or own_host(),
            transport=transport,
            tone=TONES.get(user, 330),
            answering=True,
            tls=self._tls,
        )
        self._phones.append(phone)
        return phone

    async def registered(self, *users: str, transport: str = "udp") -> list[Phone]:
        """Registered phones."""
        phones = [self.phone(user, transport=transport) for user in users]
        for phone in phones:
            await self.within(phone.register())
        return phones

    def uri(self, user: str) -> str:
        """A user at the proxy's own domain."""
        return f"sip:{user}@{self.proxy.host}"

    async def connect(self, caller: Phone, uri: str, callee: Phone) -> tuple[OutgoingCall, IncomingCall]:
        """A call that reaches `callee`, answered; both of its ends."""
        call = await self.within(caller.call(uri))
        answered: IncomingCall = await callee.calls.get().addTimeout(PATIENCE, self.reactor)
        await answered.answered.wait().addTimeout(PATIENCE, self.reactor)
        return call, answered

    async def hang_up(self, ending: OutgoingCall | IncomingCall, other: OutgoingCall | IncomingCall) -> None:
        """End a call, and see the other end notice."""
        await self.within(ending.hang_up())
        assert await other.ended.wait().addTimeout(PATIENCE, self.reactor) == "there"

    async def within(self, work: Any) -> Any:
        """A coroutine's result; twisted's TimeoutError when it takes too long."""
        return await Deferred.fromCoroutine(work).addTimeout(PATIENCE, self.reactor)

    async def until(self, predicate: Callable[[], object]) -> None:
        """Wait for something that no event tells."""
        begin = self.reactor.seconds()
        while not predicate():
            assert self.reactor.seconds() - begin < PATIENCE
            await deferLater(self.reactor, 0.02)

    def keep(self, phone: Phone) -> None:
        """Take a phone that somebody else made, to stop it in the end."""
        self._phones.append(phone)

    def close(self) -> None:
        """Stop all phones."""
        for phone in self._phones:
            phone.stop()


def play(
    proxy: Genproxy,
    story: Callable[[Stage], Awaitable[None]],
    timeout: float = 45.0,
    tls: TlsStore | None = None,
) -> None:
    """Run a story with a proxy that is up."""

    async def run() -> None:
        stage = Stage(loop.installed_reactor(), proxy, tls)
        try:
            await story(stage)
        finally:
            stage.close()

    loop.run(run, timeout)
