"""Clients are offered their part of this and the next month's update, fetch it, and confirm it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer
from crs.cms.testing import Cms
from crs.signaling.message import ErrorCode
from crs.update.month import Month
from rtlib.testing.loop import run

THIS = Month.of(datetime.now(UTC))


def numbers(server: CrsServer) -> list[list[str]]:
    """Listed, offered and confirmed of each month, as `show update` has them."""
    return [line.split()[-3:] for line in server.ok("show", "update", ACCOUNT).splitlines()[1:]]


def test_this_month_and_the_next(server: CrsServer, cms: Cms, reactor: Any) -> None:
    (cms.folder / "largest").write_bytes(bytes(range(256)) * 128)
    (cms.folder / "clients.csv").write_text("uri,blob\n+4601,largest\n+4602,\n")

    async def story() -> None:
        await deferToThread(server.ok, "apply", await deferToThread(cms.issue))
        alice, told = await server.attached(reactor, "+4601")
        offer = await told.offers.get()
        assert (offer.month, offer.size) == (str(THIS), 32768)
        update = await alice.fetch_update(offer.month)
        assert update.payload == bytes(range(256)) * 128 and update.created == offer.created
        assert await deferToThread(numbers, server) == [["2", "2", "0"]]
        await alice.attach()
        assert await told.offers.get() == offer, "not confirmed yet"
        await alice.confirm_update(update)
        await alice.confirm_update(update)
        assert await deferToThread(numbers, server) == [["2", "2", "1"]]

        await deferToThread(server.ok, "apply", await deferToThread(cms.issue, "--month", str(THIS.next)))
        await alice.attach()
        offer = await told.offers.get()
        assert offer.month == str(THIS.next), "only what is not confirmed; without notifications only now"
        stranger, nothing = await server.attached(reactor, "+4609")
        with pytest.raises(Refused, match=f"no update for {THIS} for this client") as refused:
            await stranger.fetch_update(str(THIS))
        assert refused.value.code is ErrorCode.not_found
        assert not nothing.offers.pending

        await deferToThread(server.ok, "update-notification", "enable", ACCOUNT)
        await deferToThread(server.ok, "apply", await deferToThread(cms.issue, "--month", str(THIS.next)))
        newer = await told.offers.get()
        assert newer.month == offer.month and newer.created > offer.created
        await alice.confirm_update(await alice.fetch_update(newer.month))
        assert await deferToThread(numbers, server) == [["2", "2", "1"], ["2", "2", "1"]]
        counted = await deferToThread(server.counted, "updates", "step")
        assert counted == {"offered": 4, "fetched": 2, "confirmed": 3}
        await alice.close()
        await stranger.close()

    run(story, timeout=120)
    conf = (server.home / "accounts" / ACCOUNT / "account.conf").read_text()
    assert "update-notification enabled\n" in conf
    server.daemon.stop()
    with server.daemon:
        assert numbers(server) == [["2", "2", "1"], ["2", "2", "1"]], "confirmations survive a restart"

        async def again() -> None:
            alice, told = await server.attached(reactor, "+4601")
            bob, offered = await server.attached(reactor, "+4602")
            assert [(await offered.offers.get()).month for _ in range(2)] == [str(THIS), str(THIS.next)]
            assert not told.offers.pending
            await alice.close()
            await bob.close()

        run(again, timeout=60)
        server.ok("update-notification", "disable", ACCOUNT)
        assert "update-notification" not in (server.home / "accounts" / ACCOUNT / "account.conf").read_text()


def test_a_listed_client_is_looked_up(server: CrsServer, cms: Cms, reactor: Any) -> None:
    cms.list_clients("+4601")
    server.ok("apply", cms.issue())

    async def story() -> None:
        text = await deferToThread(server.ok, "lookup", "client", ACCOUNT, "+4601")
        assert text.splitlines()[1].split("  ") == ["not connected", "+4601", ACCOUNT]
        alice, _ = await server.attached(reactor, "+4601")
        text = await deferToThread(server.ok, "lookup", "client", ACCOUNT, "+4601")
        assert text.splitlines()[1].split() == ["local", "+4601", ACCOUNT]
        await alice.close()

    run(story, timeout=60)
