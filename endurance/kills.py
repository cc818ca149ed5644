"""Kills the server again and again under load: no acknowledged message may be lost, none delivered twice.

    python -m endurance.kills [KILLS [sqlite | redis]]

Four clients post to four others while the server is killed with SIGKILL at random moments, now and then
while it starts. Each client comes back, and repeats under the same id what was not acknowledged. With redis
its Redis server is killed as often.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from crs.client.lasting import LastingClient
from crs.client.testing import CrsServer
from endurance.ledger import Ledger
from endurance.phone import Mailbox, Sender, pause, phone
from endurance.report import Report, conclude
from rtlib.testing.daemon import Daemon, DaemonError
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.redis import RedisServer

SETTINGS: Final = (
    "limit requests-per-second 10000",
    "limit requests-per-address 1000000",
    "limit mailbox-items 100000",
)
PAIRS: Final = 4
POSTS_AT_ONCE: Final = 4
LONGEST_LIFE: Final = 1.0
"""Seconds that the server runs between two kills, at most."""
KILLED_IN_START: Final = 0.1
"""Share of the starts that are interrupted by another kill."""
PATIENCE: Final = 60.0
"""Seconds for everything to arrive after the last kill."""


class Trial:
    """One server, its clients, and what became of their messages."""

    def __init__(self, server: CrsServer, victims: Sequence[Daemon], dice: random.Random) -> None:
        """`server` runs, and so do those who are to be killed."""
        self._server = server
        self._victims = victims
        self._dice = dice
        self._reactor: Any = installed_reactor()
        self._stopping = False
        self.ledger = Ledger()
        self.sender = Sender(self._reactor, self.ledger, dice)
        self.kills = 0

    async def run(self, kills: int, report: Report) -> list[str]:
        """Kill the server so many times; what is wrong afterwards."""
        senders = [await self._attached(f"+100{number}") for number in range(PAIRS)]
        recipients = [await self._attached(f"+200{number}") for number in range(PAIRS)]
        uris = [each.credentials.uri for each in recipients]
        busy = [sender for sender in senders for _ in range(POSTS_AT_ONCE)]
        posting = [Deferred.fromCoroutine(self._post(sender, uris)) for sender in busy]
        while self.kills < kills:
            await pause(self._reactor, self._dice.uniform(0, LONGEST_LIFE))
            await self._restart()
            if self.kills % 20 == 0:
                report(f"{self.kills} kills, {len(self.ledger)} messages acknowledged")
        self._stopping = True
        await gatherResults(posting)
        await self._settled()
        clients = [*senders, *recipients]
        problems = [*self.ledger.problems()]
        problems += [f"{each.credentials.uri} gave up" for each in clients if each.lost.decided]
        for client in clients:
            await client.close()
        return problems

    async def _attached(self, uri: str) -> LastingClient:
        client = phone(self._reactor, self._server, Mailbox(uri, self.ledger), self._dice)
        await client.connect()
        await client.attach()
        return client

    async def _post(self, sender: LastingClient, recipients: list[str]) -> None:
        while not self._stopping:
            await self.sender.post(lambda: sender, self._dice.choice(recipients))
            await pause(self._reactor, self._dice.uniform(0, 0.02))

    async def _restart(self) -> None:
        """Kill one and start it again, which may take several attempts."""
        daemon = self._dice.choice(self._victims)
        while True:
            daemon.kill()
            self.kills += 1
            starting = deferToThread(daemon.start)
            killer = None
            if self._dice.random() < KILLED_IN_START:
                killer = self._reactor.callLater(self._dice.uniform(0.1, 1.0), partial(_kill, daemon))
            try:
                await starting
            except DaemonError:
                if killer is None:
                    raise
                continue
            if killer is None or killer.active():
                if killer is not None:
                    killer.cancel()
                return

    async def _settled(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.ledger.under_way and time.monotonic() < deadline:
            await pause(self._reactor, 0.1)
        # Whatever would come twice has a moment to do so.
        await pause(self._reactor, 0.5)


def trial(home: Path, kills: int, report: Report, seed: int, store: str) -> list[str]:
    """Run one and give what is wrong, if anything. Blocks."""
    with ExitStack() as running:
        settings, victims = [*SETTINGS], []
        if store == "redis":
            redis = running.enter_context(RedisServer())
            settings += ["store redis", f"redis-high unix:{redis.socket}"]
            victims.append(redis)
        server = running.enter_context(CrsServer(home, settings))
        test = Trial(server, [server.daemon, *victims], random.Random(seed))
        started = time.monotonic()
        problems = run(lambda: test.run(kills, report), timeout=120 + 20 * kills, clean=False)
    ledger, refusals = test.ledger, dict(test.sender.refusals)
    report(
        f"{test.kills} kills in {time.monotonic() - started:.0f} s: {len(ledger)} messages acknowledged,"
        f" {ledger.repeated} items came again before they were confirmed; posts repeated after: {refusals}"
    )
    return problems


def _kill(daemon: Daemon) -> None:
    """Kill what runs now, which may be what ran before it was started again."""
    daemon.process.kill()


def main() -> None:
    """Run and report; exit code 1 if something was lost or came twice."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    kills = int(sys.argv[1]) if sys.argv[1:] else 200
    store = sys.argv[2] if sys.argv[2:] else "sqlite"
    if store not in {"sqlite", "redis"}:
        sys.exit(f"{store} is no store: there are sqlite and redis")
    seed = random.randrange(2**32)
    print(f"{kills} kills, {store}, seed {seed}")
    with TemporaryDirectory() as folder:
        problems = trial(Path(folder) / "home", kills, lambda text: print(text, flush=True), seed, store)
    conclude(problems)


if __name__ == "__main__":
    main()
