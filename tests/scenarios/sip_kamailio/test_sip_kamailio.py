"""Kamailio, record-routing, between the phones and genproxy, and between genproxy and a provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from haproxy.testing.call import Call, Refused
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from haproxy.testing.kamailio import Kamailio, record_routing
from haproxy.testing.phone import Phone
from haproxy.testing.stage import PASSWORD, PATIENCE, SUBSCRIBERS, Stage, play

pytestmark = pytest.mark.peer("kamailio")


def routes(call: Call) -> str:
    """The Record-Route of the INVITE that reached the callee."""
    assert call.invite is not None
    return b" ".join(call.invite.all(b"record-route")).decode()


def behind(stage: Stage, kamailio: Kamailio, user: str, transport: str = "udp") -> Phone:
    """A phone whose outbound proxy is Kamailio."""
    phone = Phone(
        stage.reactor,
        user,
        kamailio.address,
        password=PASSWORD,
        domain=stage.proxy.host,
        host=own_host(),
        transport=transport,
        answering=True,
    )
    stage.keep(phone)
    return phone


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_kamailio_in_front(tmp_path: Path, transport: str) -> None:
    settings: Settings = {"proxy": {"enableRegAuth": True}}
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers=SUBSCRIBERS) as proxy:
        address = (proxy.host, proxy.port)
        with Kamailio(tmp_path / "kamailio", record_routing(address, ("127.0.0.1", 9))) as kamailio:

            async def story(stage: Stage) -> None:
                (genesis,) = await stage.registered("genesis_a")
                phone = behind(stage, kamailio, "5000", transport)
                await stage.within(phone.register())
                for _ in range(2):
                    call, answered = await stage.connect(phone, stage.uri("100"), genesis)
                    assert kamailio.host in routes(answered)
                    assert proxy.host in routes(answered)
                    await stage.hang_up(answered, call)
                    # The registration's Path leads back through Kamailio (RFC 3327).
                    call, answered = await stage.connect(genesis, stage.uri("5000"), phone)
                    assert kamailio.host in routes(answered)
                    await stage.hang_up(call, answered)
                    await stage.hang_up(*reversed(await stage.connect(genesis, stage.uri("5000"), phone)))

            play(proxy, story)
        assert "Traceback" not in proxy.daemon.text


def test_kamailio_behind(tmp_path: Path) -> None:
    far = (own_host(), 5070)
    settings: Settings = {"proxy": {"enableRegAuth": True}}
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers=SUBSCRIBERS) as proxy:
        with Kamailio(tmp_path / "kamailio", record_routing((proxy.host, proxy.port), far)) as kamailio:

            async def story(stage: Stage) -> None:
                (genesis,) = await stage.registered("genesis_a")
                callee = Phone(stage.reactor, "far", far, host=far[0], port=far[1], answering=True)
                stage.keep(callee)
                for transport in ("", ";transport=tcp"):
                    uri = f"sip:far@{kamailio.host}{transport}"
                    call, answered = await stage.connect(genesis, uri, callee)
                    assert kamailio.host in routes(answered)
                    assert proxy.host in routes(answered)
                    await stage.hang_up(answered, call)
                    await stage.hang_up(*await stage.connect(genesis, uri, callee))
                callee.answering = False
                call = genesis.dial(f"sip:far@{kamailio.host}")
                ringing = await callee.calls.get().addTimeout(PATIENCE, stage.reactor)
                ringing.ring()
                await call.rang.wait().addTimeout(PATIENCE, stage.reactor)
                call.cancel()
                with pytest.raises(Refused, match="487"):
                    await call.answered.wait().addTimeout(PATIENCE, stage.reactor)
                assert await ringing.ended.wait().addTimeout(PATIENCE, stage.reactor) == "there"

            play(proxy, story)
        assert "Traceback" not in proxy.daemon.text
