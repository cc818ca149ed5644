"""Addresses and ports of both networks, and other names of the system (guide 3.2 to 3.14, 7.1.3)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.baresip import Baresip
from haproxy.testing.genproxy import Genproxy, Value, own_host
from haproxy.testing.openssl import s_client
from haproxy.testing.sipsak import last_response, register, sipsak
from haproxy.testing.stage import PASSWORD, Stage, play
from haproxy.tls.section import TlsSection
from haproxy.tls.store import TlsStore

PORTS = {
    "privatePort": 5070,
    "privatePortTLS": 5071,
    "publicPort": 5080,
    "publicPortTLS": 5081,
    "mappedPort": 5090,
    "mappedPortTLS": 5091,
}
NETWORKS = ["private", "public", "mapped"]
"""Only the private network; also a public address of its own; one that a router maps to `mappedIP`."""


class Network:
    """The addresses of one system, in that many networks."""

    def __init__(self, kind: str) -> None:
        self.private, self.public, self.mapped = own_host(), own_host(), own_host()
        self.system: dict[str, Any] = {"privateIP": self.private, "privateSubnet": "24", **PORTS}
        self.bound = {(self.private, "private")}
        self.shown = [self.private, PORTS["privatePort"], PORTS["privatePortTLS"]]
        """What those outside are told."""
        self.outer = "private"
        if kind != "private":
            self.system["publicIP"] = self.public
            self.shown = [self.public, PORTS["publicPort"], PORTS["publicPortTLS"]]
            self.outer = "public"
        if kind == "mapped":
            self.system["mappedIP"] = self.mapped
            self.outer = "mapped"
        if kind != "private":
            self.bound.add((getattr(self, self.outer), self.outer))

    @property
    def inside(self) -> str:
        """Another address of the private network."""
        network, _, last = self.private.rpartition(".")
        return f"{network}.{int(last) % 250 + 2}"

    def proxy(self, folder: Path, *, tls: bool = True) -> Genproxy:
        """The system."""
        users = dict.fromkeys((f"genesis_a@{self.private}", f"5000@{getattr(self, self.outer)}"), PASSWORD)
        keys: dict[str, Value] = {"enableTLS": tls, "allowList": ["127.0.0.0/8"]}
        return Genproxy(
            folder / "proxy",
            host=self.private,
            settings={"system": self.system, "proxy": keys},
            subscribers=users,
        )


def answers(host: str, port: int, transport: str) -> bool:
    """Whether SIP is spoken there."""
    request = "\r\n".join(
        [
            f"OPTIONS sip:{host}:{port} SIP/2.0",
            "Via: SIP/2.0/TLS x.invalid;branch=z9hG4bK1",
            "From: <sip:a@x.invalid>;tag=1",
            f"To: <sip:{host}>",
            "Call-ID: c",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 9",
            "Content-Length: 0",
            "",
            "",
        ]
    )
    if transport == "tls":
        with s_client(host, port) as client:
            return "SIP/2.0 200" in client.ask(request, "SIP/2.0 ")
    return last_response(sipsak("-E", transport, "-s", f"sip:{host}:{port}")).startswith("SIP/2.0 200")


def listens(host: str, port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == 0


@pytest.mark.peer("sipsak", "openssl")
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("kind", NETWORKS)
def test_where_sip_is_spoken(tmp_path: Path, kind: str, tls: bool) -> None:
    """`enableTLS` opens the ports for TLS."""
    network = Network(kind)
    with network.proxy(tmp_path, tls=tls):
        for host, name in network.bound:
            plain, secure = PORTS[f"{name}Port"], PORTS[f"{name}PortTLS"]
            assert answers(host, plain, "udp")
            assert answers(host, plain, "tcp")
            assert answers(host, secure, "tls") is tls
        hosts = network.private, network.public, network.mapped
        expected = {
            (host, PORTS[f"{name}Port{end}"])
            for host, name in network.bound
            for end in ("", "TLS")[: 1 + tls]
        }
        found = {
            (host, port) for host in hosts for port in (5060, 5061, *PORTS.values()) if listens(host, port)
        }
        assert found == expected


@pytest.mark.parametrize("transport", ["udp", "tls"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_those_outside_are_told(tmp_path: Path, kind: str, transport: str) -> None:
    """Via and Record-Route of a call from Genesis to a phone outside."""
    network = Network(kind)
    key, certificate = (tmp_path / "pki" / name for name in Authority(tmp_path / "pki").issue("phone"))
    store = TlsStore([TlsSection("default", role, key, certificate) for role in ("client", "server")])
    host, plain, secure = network.shown
    port = secure if transport == "tls" else plain

    async def story(stage: Stage) -> None:
        inner = (network.private, PORTS["privatePort"])
        genesis = stage.phone("genesis_a", host=network.inside, server=inner)
        outer = PORTS[f"{network.outer}Port{'TLS' if transport == 'tls' else ''}"]
        place = (getattr(network, network.outer), outer)
        phone = stage.phone("5000", transport=transport, server=place)
        for each in (genesis, phone):
            await stage.within(each.register())
        call, answered = await stage.connect(genesis, f"sip:5000@{network.private}", phone)
        assert answered.invite is not None
        assert answered.invite.top_via.sent_by == f"{host}:{port}".encode()
        routes = [each.target.sent_by.decode() for each in answered.invite.addresses(b"record-route")]
        both = [f"{host}:{port}", f"{inner[0]}:{inner[1]}"]
        assert routes == (both if both[0] != both[1] else both[:1])
        # The phone's own request would go to the router, which there is none of here.
        await stage.hang_up(call, answered)

    with network.proxy(tmp_path) as proxy:
        play(proxy, story, tls=store)
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.peer("sipsak")
@pytest.mark.parametrize(("mask", "status"), [("8", 200), ("255.0.0.0", 200), ("32", 401)])
def test_who_is_on_the_private_network(tmp_path: Path, mask: str, status: int) -> None:
    """Only there a system becomes a Genesis system without a password."""
    settings = {"system": {"privateSubnet": mask}}
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers={"genesis_a": PASSWORD}) as proxy:
        assert register(proxy.host, "genesis_a").startswith(f"SIP/2.0 {status} ")
        assert register(proxy.host, "genesis_a", password=PASSWORD).startswith("SIP/2.0 200 ")


@pytest.mark.peer("baresip")
def test_alias(tmp_path: Path) -> None:
    """A call to another name of the system is for Genesis; without a port in the key that is 5060."""
    users = {"5000": PASSWORD, "genesis_a": PASSWORD}
    with (
        Genproxy(tmp_path / "proxy", subscribers=users) as proxy,
        Baresip(tmp_path / "genesis", "genesis_a", proxy.server, password=PASSWORD, tone=880) as genesis,
        Baresip(tmp_path / "phone", "5000", proxy.server, password=PASSWORD, tone=440) as phone,
    ):

        def reached(uri: str) -> bool:
            phone.dial(uri)
            event = phone.wait_for("CALL_ESTABLISHED", "CALL_CLOSED")
            if event["type"] == "CALL_CLOSED":
                assert "403" in event["param"]
                return False
            phone.hang_up()
            for end in (phone, genesis):
                end.wait_for("CALL_CLOSED")
            return True

        names = [
            f"sip:genesis_a@{place}" for place in ("pbx.example", "pbx.example:5060", "pbx.example:5070")
        ]
        assert [reached(uri) for uri in names] == [False, False, False]
        before = 'privateSubnet = "8"\n'
        assert proxy.change(before, f'{before}alias = ["pbx.example"]\n') == {"system.alias": "applied"}
        assert [reached(uri) for uri in names] == [True, True, False]
        proxy.change('"pbx.example"', '"pbx.example, pbx.example:5070"')
        assert [reached(uri) for uri in names] == [True, True, True]
        assert "Traceback" not in proxy.daemon.text
