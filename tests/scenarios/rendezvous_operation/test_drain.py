"""drain: the running call goes on, a new one is refused, and the server stops after the last."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import CrsServer
from rtlib.testing.loop import installed_reactor, run


def test_drain(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()

    async def story(server: CrsServer) -> None:
        alice, _ = await server.attached(reactor, "+1")
        bob, told = await server.attached(reactor, "+2")
        call = await alice.call("+2")
        incoming = await told.calls.get()
        await incoming.answer()
        await call.answered.wait()

        done = await deferToThread(server.cli, "drain")
        assert (done.returncode, done.stderr) == (0, "")
        assert "have ended: 1" in done.stdout
        again = await deferToThread(server.cli, "drain")
        assert (again.returncode, "already" in again.stderr) == (1, True)
        with pytest.raises(Refused, match="no new calls"):
            await bob.call("+1")
        await alice.post("+2", b"still delivered")
        assert (await told.messages.get()).payload == b"still delivered"

        cancelled = await deferToThread(server.cli, "drain", "--cancel")
        assert cancelled.stdout == "new calls are accepted again\n"
        other = await bob.call("+1")
        await other.hangup()
        await deferToThread(server.cli, "drain", "--patience", "600")
        assert server.daemon.process.poll() is None
        await call.hangup()
        assert await deferToThread(server.daemon.process.wait, 10) == 0
        await alice.close()
        await bob.close()

    with CrsServer(tmp_path / "crs") as server:
        run(lambda: story(server), timeout=60)
        assert "Traceback" not in server.daemon.output
