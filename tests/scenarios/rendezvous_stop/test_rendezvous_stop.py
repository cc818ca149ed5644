"""SIGTERM during a call: both parties are told, and the daemon ends within 2 s and starts again."""

from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from crs.client.testing import CrsServer
from crs.signaling.message import EndReason, Who
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine
from rtlib.testing.loop import installed_reactor, run


def test_stop_during_a_call(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+451")
        bob, told = await server.attached(reactor, "+452")
        outgoing = await alice.call("+452")
        incoming = await told.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        for call, tone in ((outgoing, 440), (incoming, 1000)):
            call.streams[0].play(frames(sine(tone)))
        while min(call.streams[0].reception.received for call in (outgoing, incoming)) < 10:
            await deferLater(reactor, 0.01)
        seconds = await deferToThread(server.daemon.stop, 2.0)
        assert seconds < 2.0
        for client, call in ((alice, outgoing), (bob, incoming)):
            end = await call.ended.wait()
            assert (end.reason, end.who) == (EndReason.shutdown, Who.server)
            assert "(4001)" in str(await client.lost.wait())

    with CrsServer(tmp_path / "home") as server:
        run(story, timeout=60)
        assert "Traceback" not in server.daemon.output
        server.daemon.start()
        run(again(server, reactor), timeout=60)


def again(server: CrsServer, reactor: Any) -> Any:
    """The same clients attach to the server that was started again."""

    async def story() -> None:
        client, _ = await server.attached(reactor, "+451")
        await client.close()

    return story
