"""Calls to names: NAPTR and SRV of a real name server, failover, cache, and a name server that dies."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.call import Refused
from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.nameserver import DNS_PORT, NameServer
from haproxy.testing.phone import Phone
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from haproxy.tls.section import TlsSection
from haproxy.tls.store import TlsStore
from rtlib.testing.daemon import wait_until

pytestmark = pytest.mark.peer("dnsmasq")


class World:
    """The addresses of two servers, and a proxy that asks the name server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first, self.second = own_host(), own_host()

    def names(self, *records: str) -> NameServer:
        """A name server; two hosts have their addresses already."""
        hosts = [f"--host-record=one.test,{self.first}", f"--host-record=two.test,{self.second}"]
        return NameServer(self.folder, *hosts, *records)

    def proxy(self, names: NameServer, tables: Any = None, **proxy: Any) -> Genproxy:
        """The proxy."""
        settings: Any = {
            "system": {"nameServers": [f"{names.host}:{DNS_PORT}"], "tlsKeyPath": str(self.folder / "pki")},
            "proxy": {"enableRegAuth": True, **proxy},
        }
        return Genproxy(self.folder / "proxy", settings=settings, subscribers=SUBSCRIBERS, tables=tables)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def far_phone(stage: Stage, host: str, port: int, **more: Any) -> Phone:
    """A phone that is registered nowhere: one finds it by name."""
    phone = Phone(stage.reactor, "far", (host, port), host=host, port=port, answering=True, **more)
    stage.keep(phone)
    return phone


SRV = ("--srv-host=_sip._udp.trunk.test,one.test,5062,1", "--srv-host=_sip._udp.trunk.test,two.test,5063,2")


def test_the_second_server_when_the_first_is_dead(world: World) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        second = far_phone(stage, world.second, 5063)
        for _ in range(3):  # over and over: the answers are cached
            call, answered = await stage.connect(genesis, "sip:far@trunk.test", second)
            await stage.hang_up(call, answered)
        first = far_phone(stage, world.first, 5062)
        call, answered = await stage.connect(genesis, "sip:far@trunk.test", first)
        await stage.hang_up(answered, call)

    with world.names(*SRV) as names, world.proxy(names) as proxy:
        play(proxy, story)
        assert proxy.metric("decisions_total", 'kind="other_places"') == 3
        assert proxy.metric("dns_hits_total") > 0
        assert "Traceback" not in proxy.daemon.text


def test_the_second_server_when_the_first_is_silent(world: World) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        second = far_phone(stage, world.second, 5063)
        call, answered = await stage.connect(genesis, "sip:far@trunk.test", second)
        await stage.hang_up(answered, call)

    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        world.names(*SRV) as names,
        world.proxy(names) as proxy,
    ):
        silent.bind((world.first, 5062))
        play(proxy, story)


@pytest.mark.parametrize(
    ("service", "transport", "port"), [("SIP+D2T", "tcp", 5064), ("SIPS+D2T", "tls", 5065)]
)
def test_naptr_chooses_the_transport(world: World, service: str, transport: str, port: int) -> None:
    authority = Authority(world.folder / "pki")
    authority.issue("far", ["trunk.test"])
    pair = authority.folder / "far.pem"
    tls = TlsStore([TlsSection("default", "client", pair, pair), TlsSection("default", "server", pair, pair)])

    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        far = far_phone(stage, world.second, port, transport=transport, tls=tls)
        call, answered = await stage.connect(genesis, "sip:far@trunk.test", far)
        assert call.dialog is not None
        await stage.hang_up(answered, call)

    records = [
        f"--naptr-record=trunk.test,10,10,S,{service},,_srv.trunk.test",
        "--naptr-record=trunk.test,20,10,S,SIP+D2U,,_sip._udp.trunk.test",
        f"--srv-host=_srv.trunk.test,two.test,{port}",
    ]
    trust = {"tlsVerify": "on", "tlsCaList": str(authority.certificate)}
    client = {"tlsDomain": "default", "tlsRole": "client", **trust}
    with world.names(*records) as names, world.proxy(names, {"tls": [client]}, enableTLS=True) as proxy:
        play(proxy, story)
        assert "Traceback" not in proxy.daemon.text


def test_a_name_server_that_dies(world: World) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        far = far_phone(stage, world.second, 5066)
        call, answered = await stage.connect(genesis, "sip:far@two.test:5066", far)
        await stage.hang_up(answered, call)
        asked = names.asked("two.test")
        call, answered = await stage.connect(genesis, "sip:far@two.test:5066", far)
        await stage.hang_up(answered, call)
        assert asked == 1
        names.kill()
        with pytest.raises(Refused, match="500"):
            await stage.within(genesis.call("sip:far@never.test:5066"))
        await stage.until(lambda: "0" in stage.proxy.cli("show", "dns", "two.test"))
        call, answered = await stage.connect(genesis, "sip:far@two.test:5066", far)  # by the old answer
        await stage.hang_up(answered, call)

    with world.names() as names, world.proxy(names) as proxy:
        play(proxy, story)
        assert proxy.metric("dns_failures_total") >= 1
        assert "no name server answers for A never.test" in proxy.daemon.text
        assert "two.test" in proxy.cli("show", "dns")
        assert int(proxy.cli("flush", "dns").split()[0]) >= 1
        wait_until(lambda: "two.test" not in proxy.cli("show", "dns"))


def test_a_name_that_does_not_exist(world: World) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        for _ in range(3):
            with pytest.raises(Refused, match="500"):
                await stage.within(genesis.call("sip:far@nobody.test"))

    with world.names() as names, world.proxy(names) as proxy:
        play(proxy, story)
        assert names.asked("nobody.test") <= 4  # NAPTR and A, perhaps again after a second: TTL of dnsmasq
