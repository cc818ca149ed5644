"""SIP over TLS: phones in and out, client certificates, wrong names, revocation, renewal (guide 9)."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from haproxy.sip.message import Request
from haproxy.testing import openssl
from haproxy.testing.authority import Authority
from haproxy.testing.baresip import Baresip
from haproxy.testing.call import IncomingCall, Refused
from haproxy.testing.genproxy import TLS_PORT, Genproxy, own_host
from haproxy.testing.phone import Phone
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from haproxy.tls.section import TlsSection
from haproxy.tls.store import TlsStore
from rtlib.address import join
from rtlib.audio import tone
from rtlib.audio.mulaw import SAMPLE_RATE
from rtlib.testing.daemon import ROOT, wait_until

PASSWORDS = {"5000": "phone-secret", "genesis_a": "trunk-secret"}


class Pki:
    """Authority, proxy address, and the [[tls]] sections."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "pki")
        self.host = own_host()
        self.key, self.certificate = self.authority.issue("proxy", ["proxy.example", self.host])
        self.authority.issue("phone", ["phone.example"])

    def section(self, role: str, domain: str = "default", **more: Any) -> dict[str, Any]:
        given = {"tlsDomain": domain, "tlsRole": role, "tlsCaList": str(self.authority.certificate)}
        return given | {"tlsPrivateKey": self.key, "tlsCertificate": self.certificate} | more

    def proxy(
        self, folder: Path, *sections: dict[str, Any], users: Any = PASSWORDS, **proxy: Any
    ) -> Genproxy:
        """A proxy with TLS."""
        return Genproxy(
            folder / "proxy",
            host=self.host,
            settings={
                "system": {"tlsKeyPath": str(self.authority.folder)},
                "proxy": {"enableTLS": True, "enableRegAuth": True, **proxy},
            },
            subscribers=users,
            tables={"tls": sections or [self.section("server")]},
        )

    def store(self) -> TlsStore:
        """What a phone uses: it verifies the proxy."""
        pair, trusted = self.authority.folder / "phone.pem", self.authority.certificate
        client = TlsSection("default", "client", pair, pair, verify="on", ca_list=trusted)
        return TlsStore([client, TlsSection("default", "server", pair, pair)])


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def s_client(host: str, *options: str | Path, data: str) -> str:
    """What openssl s_client prints before the answer to `data`, or the end of the connection."""
    with openssl.s_client(host, TLS_PORT, *options) as client:
        return client.ask(data, "SIP/2.0 ")


OPTIONS = (
    "OPTIONS sip:{host}:5061;transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS x.invalid;branch=z9hG4bK1\r\n"
    "From: <sip:a@x.invalid>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 9\r\nContent-Length: 0\r\n\r\n"
)


def genesis_of(folder: Path, proxy: Genproxy) -> Baresip:
    """A Genesis system over UDP."""
    return Baresip(folder / "genesis", "genesis_a", proxy.server, password="trunk-secret", tone=880)


@pytest.mark.peer("baresip")
@pytest.mark.parametrize("caller", ["5000", "genesis_a"])
def test_a_baresip_phone_over_tls(tmp_path: Path, pki: Pki, caller: str) -> None:
    with (
        pki.proxy(tmp_path, enableNAT=True) as proxy,
        Baresip(
            tmp_path / "genesis", "genesis_a", proxy.server, password="trunk-secret", tone=880
        ) as genesis,
        Baresip(
            tmp_path / "phone",
            "5000",
            join(proxy.host, TLS_PORT),
            password="phone-secret",
            tone=440,
            transport="tls",
            authority=pki.authority.certificate,
        ) as phone,
    ):
        dialling, called = (phone, "genesis_a") if caller == "5000" else (genesis, "5000")
        dialling.dial(f"sip:{called}@{proxy.host}")
        for end in (genesis, phone):
            end.wait_for("CALL_ESTABLISHED")
        for end in (genesis, phone):
            end.wait_until_heard(1.0)
        assert "tls" in proxy.cli("show", "bindings")
        dialling.hang_up()
        for end in (genesis, phone):
            end.wait_for("CALL_CLOSED")
        assert tone.usual_share(phone.heard()[-SAMPLE_RATE // 2 :], 880) > 0.8
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.peer("baresip")
def test_a_pjsip_phone_over_tls(tmp_path: Path, pki: Pki) -> None:
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")
    with (
        pki.proxy(tmp_path, enableNAT=True) as proxy,
        Baresip(
            tmp_path / "genesis", "genesis_a", proxy.server, password="trunk-secret", tone=880
        ) as genesis,
    ):
        done = pjsua(tmp_path, proxy, pki.authority.certificate)
        assert done.returncode == 0, (done, proxy.daemon.text[-3000:])
        genesis.wait_for("CALL_CLOSED")
        assert json.loads(done.stdout.splitlines()[-1])["packets"] > 20


def pjsua(folder: Path, proxy: Genproxy, *files: Path) -> subprocess.CompletedProcess[str]:
    """A PJSIP phone that registers over TLS and calls Genesis; `files` are its authority and its own pair."""
    program = [
        sys.executable,
        "-m",
        "haproxy.testing.pjsua",
        str(folder),
        join(proxy.host, TLS_PORT),
    ]
    who = ["5000", "phone-secret", f"sip:genesis_a@{proxy.host}", "tls", "440", "1"]
    command = [*program, *who, *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.peer("baresip")
def test_pjsip_phones_that_prove_themselves_or_do_not(tmp_path: Path, pki: Pki) -> None:
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")
    for name in ("good", "revoked"):
        pki.authority.issue(name)
    crl = pki.authority.revoke("revoked")
    server = pki.section("server", tlsVerify="on", tlsCrl=str(crl))
    authority, folder = pki.authority.certificate, pki.authority.folder
    with pki.proxy(tmp_path, server, enableNAT=True) as proxy, genesis_of(tmp_path, proxy) as genesis:
        done = pjsua(tmp_path, proxy, authority, folder / "good.pem")
        assert done.returncode == 0, (done, proxy.daemon.text[-3000:])
        genesis.wait_for("CALL_CLOSED")
        for files in ((), (folder / "revoked.pem",)):
            done = pjsua(tmp_path, proxy, authority, *files)
            assert done.returncode == 1
            assert "the registration ended with" in done.stderr
        assert "peer did not return a certificate" in proxy.daemon.text
        assert proxy.metric("offences_total", 'kind="tls"') >= 2
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.peer("baresip")
def test_a_pjsip_phone_does_not_take_a_proxy_with_another_name(tmp_path: Path, pki: Pki) -> None:
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")
    pki.authority.issue("elsewhere", ["elsewhere.example"])
    with pki.proxy(
        tmp_path, pki.section("server", tlsPrivateKey="elsewhere.pem", tlsCertificate="")
    ) as proxy:
        done = pjsua(tmp_path, proxy, pki.authority.certificate)
        assert done.returncode == 1
        assert "the registration ended with" in done.stderr
        assert proxy.metric("bindings") == 0


def invite_of(call: IncomingCall) -> Request:
    """The INVITE as it came."""
    assert call.invite is not None
    return call.invite


def test_calls_between_tls_and_udp_in_both_directions(tmp_path: Path, pki: Pki) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        (phone,) = await stage.registered("5000", transport="tls")
        call, answered = await stage.connect(genesis, stage.uri("5000"), phone)
        assert b"transport=tls" in b"".join(invite_of(answered).all(b"record-route"))
        await stage.hang_up(answered, call)
        call, answered = await stage.connect(phone, stage.uri("genesis_a"), genesis)
        await stage.hang_up(answered, call)
        secure = f"sips:5001@{stage.proxy.host}"
        call, answered = await stage.connect(phone, secure, genesis)
        routes = invite_of(answered).values(b"record-route")
        assert routes[0].startswith(b"<sip:")
        assert routes[1].startswith(b"<sips:")
        await stage.hang_up(call, answered)
        await stage.hang_up(*(await stage.connect(genesis, stage.uri("5000"), phone)))

    with pki.proxy(tmp_path, users=SUBSCRIBERS) as proxy:
        play(proxy, story, tls=pki.store())
        assert "Traceback" not in proxy.daemon.text


def test_rr_ignore_sips(tmp_path: Path, pki: Pki) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        phone = stage.phone("5000", transport="tls")
        call, answered = await stage.connect(phone, f"sips:5001@{stage.proxy.host}", genesis)
        assert b"sips:" not in b"".join(invite_of(answered).all(b"record-route"))
        await stage.hang_up(answered, call)

    with pki.proxy(tmp_path, users=SUBSCRIBERS, rrIgnoreSips=True) as proxy:
        play(proxy, story, tls=pki.store())


def far_end(stage: Stage, pki: Pki, host: str, names: Sequence[str]) -> Phone:
    """A phone over TLS, registered nowhere, whose certificate has these names."""
    pki.authority.issue("far", names)
    pair = pki.authority.folder / "far.pem"
    tls = TlsStore([TlsSection("default", "client", pair, pair), TlsSection("default", "server", pair, pair)])
    server = (pki.host, TLS_PORT)
    phone = Phone(stage.reactor, "far", server, host=host, transport="tls", answering=True, tls=tls)
    stage.keep(phone)
    return phone


def test_out_to_a_peer_that_proves_its_address_or_does_not(tmp_path: Path, pki: Pki) -> None:
    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        host = own_host()
        wrong, right = far_end(stage, pki, own_host(), ["far.example"]), far_end(stage, pki, host, [host])
        with pytest.raises(Refused, match="500"):
            await stage.within(genesis.call(f"sip:far@{join(*wrong.address)};transport=tls"))
        for uri in (f"sip:far@{join(*right.address)};transport=tls", f"sips:far@{join(*right.address)}"):
            call, answered = await stage.connect(genesis, uri, right)
            await stage.hang_up(answered, call)

    sections = [pki.section("server"), pki.section("client", tlsVerify="on")]
    with pki.proxy(tmp_path, *sections, users=SUBSCRIBERS) as proxy:
        play(proxy, story)
        assert "the certificate is for far.example, not for 127." in proxy.daemon.text
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.peer("openssl")
def test_client_certificates(tmp_path: Path, pki: Pki) -> None:
    for name in ("good", "revoked"):
        pki.authority.issue(name)
    pki.authority.issue("expired", days=-3)
    stranger = Authority(tmp_path / "stranger")
    stranger.issue("stranger")
    crl = pki.authority.revoke("revoked")
    server = pki.section("server", tlsVerify="on", tlsCrl=str(crl))
    with pki.proxy(tmp_path, server, allowList=["127.0.0.0/8"]) as proxy:
        options = OPTIONS.format(host=proxy.host)
        good = pki.authority.folder / "good.pem"
        assert "SIP/2.0 200" in s_client(proxy.host, "-cert", good, data=options)
        assert "SIP/2.0" not in s_client(proxy.host, data=options)
        for folder, name in ((pki.authority, "revoked"), (pki.authority, "expired"), (stranger, "stranger")):
            assert "SIP/2.0" not in s_client(proxy.host, "-cert", folder.folder / f"{name}.pem", data=options)
        assert "SIP/2.0 200" in s_client(proxy.host, "-cert", good, "-tls1_2", data=options)
        assert "SIP/2.0" not in s_client(proxy.host, "-cert", good, "-tls1_1", data=options)
        assert proxy.metric("offences_total") >= 5
        assert "peer did not return a certificate" in proxy.daemon.text
        # Later ones of the same source are counted, but not logged within a minute.
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.peer("openssl")
def test_server_name_renewal_and_what_is_wrong(tmp_path: Path, pki: Pki) -> None:
    pki.authority.issue("named", ["named.example"], days=5)
    named = pki.section("server", "named.example", tlsPrivateKey="named.pem", tlsCertificate="")
    with pki.proxy(tmp_path, pki.section("server"), named, allowList=["127.0.0.0/8"]) as proxy:

        def shown(*options: str) -> str:
            trusted = ("-CAfile", pki.authority.certificate)
            text = s_client(proxy.host, *trusted, *options, data=OPTIONS.format(host=proxy.host))
            match = re.search(r"subject=CN = (\S+)", text)
            assert match is not None, text
            return match[1]

        assert shown() == "proxy"
        assert shown("-servername", "named.example") == "named"
        rows = {(row["domain"], row["role"]): row for row in proxy.reply("show tls")}
        assert set(rows) == {("default", "server"), ("default", "client"), ("named.example", "server")}
        assert rows["default", "server"]["state"] == "ok"
        assert rows["default", "client"]["certificate"] == "default.pem"  # guide 9.2.4
        assert "expires in 4 days" in rows["named.example", "server"]["state"]
        assert (
            "TLS section named.example server: the certificate CN=named expires in 4 days"
            in proxy.daemon.text
        )
        assert 4 * 86400 < proxy.metric("tls_expiry_seconds", "named.example") < 5 * 86400

        with held(proxy.host) as connection:
            other = pki.authority.issue("renewed", ["proxy.example"])
            for old, new in zip((pki.key, pki.certificate), other, strict=True):
                (pki.authority.folder / old).write_bytes((pki.authority.folder / new).read_bytes())
            wait_until(lambda: shown() == "renewed", 30)
            assert "SIP/2.0 200" in ask(connection, proxy.host)

        (pki.authority.folder / pki.key).write_bytes((pki.authority.folder / "named.key").read_bytes())
        wait_until(lambda: "does not belong to the private key" in str(proxy.reply("show tls")), 30)
        assert "the one before stays in use" in proxy.daemon.text
        assert shown() == "renewed"
        with pytest.raises(subprocess.CalledProcessError) as failed:
            proxy.cli("reload")
        assert "does not belong to the private key" in failed.value.stderr
        assert shown() == "renewed"


@contextmanager
def held(host: str) -> Iterator[ssl.SSLSocket]:
    """An open connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, TLS_PORT), 5) as sock, context.wrap_socket(sock) as connection:
        assert "SIP/2.0 200" in ask(connection, host)
        yield connection


def ask(connection: ssl.SSLSocket, host: str) -> str:
    """The answer to an OPTIONS."""
    request = OPTIONS.format(host=host).replace("z9hG4bK1", f"z9hG4bK{time.monotonic_ns()}")
    connection.sendall(request.encode())
    return connection.recv(65536).decode()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"tlsPrivateKey": "other.key"}, "does not belong to the private key"),
        ({"tlsPrivateKey": "none.key"}, "cannot be read: no such file"),
        ({"tlsCrl": "/nonexistent.crl"}, "/nonexistent.crl cannot be read"),
    ],
)
def test_a_bad_section_ends_the_start(tmp_path: Path, pki: Pki, section: dict[str, str], words: str) -> None:
    pki.authority.issue("other")
    proxy = pki.proxy(tmp_path, pki.section("server", tlsVerify="on") | section)
    done = subprocess.run(proxy.command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    proxy.close()
    assert done.returncode == 1
    assert done.stderr.startswith("genproxy: TLS section default server: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
