"""What the fuzzer starts from: the torture messages of RFC 4475, usual messages, and one of each odd form."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from twisted.names import dns

from fuzz.target import NEXT

ROOT: Final = Path(__file__).parents[1]
TORTURE: Final = ROOT / "tests" / "vectors" / "rfc4475"
FOUND: Final = ROOT / "tests" / "vectors" / "fuzz"
"""Inputs that once showed a defect, by target."""

SDP: Final = (
    b"v=0\r\no=u 1 1 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.50\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 0 8\r\na=rtcp:6001 IN IP4 192.0.2.50\r\na=sendrecv\r\n"
    b"m=video 6002/2 RTP/SAVP 96\r\nc=IN IP6 2001:db8::1\r\na=rtcp-mux\r\n"
)
URIS: Final = (
    b"sip:alice:secret@example.com:5061;transport=tls;lr;maddr=192.0.2.1?Subject=x&Route=%3Csip:y%3E",
    b"sips:%61lice@[2001:DB8::0:1]:5070",
    b"sip:user;par=u%40example.net@example.com",
    b"tel:+1-201-555-0123;phone-context=example.com",
    b"soap.beep://192.0.2.103:3002",
)
VIAS: Final = (
    b"SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKa",
    b"sip / 2.0 / Tcp\r\n [2001:db8::9:1] : 5060 ; received=[2001:db8::1];ttl=1; maddr=224.2.0.1 ;branch=x",
    b'SIP/2.0/TLS host;x="a,b\\"";rport=1;branch=z9hG4bK, SIP/2.0/SCTP h',
)
ADDRESSES: Final = (
    b'"A, \\"B\\" <c>" <sip:a@b;lr>;q=0.5;expires=60, sip:c@d;tag=x',
    b"Bell <tel:+1>;tag=t",
    b"*",
)


def _request(method: str, to: str, *headers: str, body: bytes = b"", number: int = 1) -> bytes:
    lines = [
        f"{method} {to} SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.50:5060;rport;branch=z9hG4bK{number}",
        "Max-Forwards: 70",
        "From: <sip:user@192.0.2.1>;tag=f",
        f"To: <{to}>",
        "Call-ID: seed",
        f"CSeq: {number} {method}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _conversations() -> Iterable[bytes]:
    register = _request(
        "REGISTER", "sip:192.0.2.1", "Contact: <sip:user@192.0.2.50>;q=0.7", "Path: <sip:p;lr>"
    )
    register = register.replace(b"To: <sip:192.0.2.1>", b"To: <sip:user@192.0.2.1>")
    genesis = register.replace(b"user@", b"genesis_a@").replace(b"192.0.2.50", b"192.0.2.11")
    invite = _request(
        "INVITE", "sip:100@192.0.2.1", "Contact: <sip:user@192.0.2.50>", "Content-Type: application/sdp",
        body=SDP, number=2,
    )  # fmt: skip
    cancel = _request("CANCEL", "sip:100@192.0.2.1", number=2)
    elsewhere = _request(
        "INVITE", "sip:a@198.51.100.7", "Route: <sip:198.51.100.9>, <sip:192.0.2.1;lr>", number=3
    )
    named = _request("MESSAGE", "sip:a@host.example;transport=tcp", "Proxy-Require: x", number=4)
    yield NEXT.join([register, genesis, invite, genesis, cancel])
    yield NEXT.join([elsewhere, genesis, named])
    yield NEXT.join([register.replace(b"Contact: <sip:user@192.0.2.50>;q=0.7", b"Contact: *\r\nExpires: 0")])


def _dns() -> Iterable[bytes]:
    records = [
        dns.Record_A("192.0.2.1", 60),
        dns.Record_AAAA("2001:db8::1", 60),
        dns.Record_SRV(1, 2, 5060, "sip.example.com", 60),
        dns.Record_NAPTR(10, 20, b"s", b"SIP+D2U", b"", "_sip._udp.example.com", 60),
        dns.Record_SOA("ns.example.com", "a.example.com", 1, 2, 3, 4, 5, 60),
    ]
    message = dns.Message(answer=True)
    message.answers = [dns.RRHeader("example.com", each.TYPE, ttl=60, payload=each) for each in records]
    yield message.toStr()


def _settings() -> Iterable[bytes]:
    yield (ROOT / "etc" / "genproxy.toml").read_bytes()
    yield (
        b'[system]\nprivateIP = "192.0.2.1"\nprivateSubnet = 24\n[proxy]\nenableTLS = true\n'
        b'[[tls]]\ntlsDomain = "default"\ntlsRole = "server"\ntlsPrivateKey = "k"\ntlsCertificate = "c"\n'
        b'tlsVerify = "on"\ntlsCaList = "ca"\n[[tls]]\ntlsDomain = "192.0.2.9:5061"\ntlsRole = "client"\n'
    )


def seeds(target: str) -> list[bytes]:
    """Where a target starts, what it has found before included."""
    torture = [path.read_bytes() for path in sorted(TORTURE.glob("*.dat"))]
    usual: dict[str, Iterable[bytes]] = {
        "message": torture,
        "framing": [*torture, b"\r\n\r\n".join(torture[:4])],
        "proxy": [*torture, *_conversations()],
        "uri": URIS,
        "via": VIAS,
        "address": ADDRESSES,
        "sdp": [SDP],
        "dns": _dns(),
        "settings": _settings(),
    }
    found = [path.read_bytes() for path in sorted((FOUND / target).glob("*"))]
    return [*usual[target], *found]
