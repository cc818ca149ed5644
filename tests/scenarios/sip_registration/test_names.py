"""Registrars by name: SRV with failover at dnsmasq, and TLS where a name has to be proved."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.genproxy import own_host
from haproxy.testing.kamailio import TLS_PORT
from haproxy.testing.nameserver import DNS_PORT, NameServer
from haproxy.testing.phone import Phone
from haproxy.testing.provider import Provider
from haproxy.testing.stage import Stage, play

pytestmark = pytest.mark.peer("kamailio", "dnsmasq")


def test_failover_and_tls(tmp_path: Path, entry: Any, lines: Any) -> None:
    authority = Authority(tmp_path / "pki")
    authority.issue("provider", ["tls.test"])
    silent_host, dead_host = own_host(), own_host()
    certificate = authority.folder / "provider.crt"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent,
        Provider(tmp_path / "provider", certificate=certificate) as provider,
        NameServer(
            tmp_path,
            f"--host-record=silent.test,{silent_host}",
            f"--host-record=dead.test,{dead_host}",
            f"--host-record=tls.test,{provider.host}",
            f"--host-record=other.test,{provider.host}",
            *(
                f"--srv-host=_sip._udp.{name}.trunk.test,{target},5060,{priority}"
                for name, first in (("one", "dead.test"), ("two", "silent.test"))
                for target, priority in ((first, 1), ("tls.test", 2))
            ),
        ) as names,
    ):
        silent.bind((silent_host, 5060))
        changes = {
            "dead_first": "sip:one.trunk.test",
            "silent_first": "sip:two.trunk.test",
            "right_name": "sip:tls.test;transport=tls",
            "sips": "sips:tls.test",
            "wrong_name": "sip:other.test;transport=tls",
            "no_name": "sip:nobody.test",
        }
        host = own_host()
        entries = [entry(provider, l_uuid=uuid, auth_proxy=place) for uuid, place in changes.items()]
        secure = {"r_username": "secure", "reg_contact_addr": f"{host}:{TLS_PORT};transport=tls"}
        entries = [each | secure if each["l_uuid"] == "right_name" else each for each in entries]
        system = {"nameServers": [f"{names.host}:{DNS_PORT}"], "tlsKeyPath": str(authority.folder)}
        trust = {"tlsVerify": "on", "tlsCaList": str(authority.certificate)}
        client = {"tlsDomain": "default", "tlsRole": "client", **trust}
        with lines(*entries, host=host, tls=[client], system=system, proxy={"enableTLS": True}) as world:
            rows = world.until("failed", "wrong_name", "no_name")
            assert "the certificate is for tls.test, not for other.test" in rows["wrong_name"]["reason"]
            assert rows["no_name"]["reason"] == "its name has no address"
            rows = world.until("registered", *changes.keys() - {"wrong_name", "no_name"})
            for uuid in ("dead_first", "silent_first"):
                assert rows[uuid]["place"] == f"udp:{provider.host}:5060"
            for uuid in ("right_name", "sips"):
                assert rows[uuid]["place"] == f"tls:{provider.host}:{TLS_PORT}"
            assert world.proxy.metric("outbound_registration_failovers_total") == 2
            (sips,) = {each for each in provider.registers if "sips@" in each.contact and each.cseq == "2"}
            assert sips.transport == "tls"
            assert sips.to.startswith("sips:")
            assert sips.contact.startswith("<sips:sips@")

            async def story(stage: Stage) -> None:
                (genesis,) = await stage.registered("genesis_a")
                caller = Phone(stage.reactor, "caller", (provider.host, 5060), host=own_host())
                stage.keep(caller)
                call, answered = await stage.connect(caller, f"sip:secure@{provider.host}", genesis)
                assert answered.invite is not None
                assert answered.invite.values(b"via")[1].startswith(b"SIP/2.0/TLS ")
                await stage.hang_up(answered, call)

            play(world.proxy, story)
            assert "Traceback" not in world.text
