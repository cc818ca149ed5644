"""Between a private network and a public one behind a router (guide 3): which address is shown to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from haproxy.sip.message import Request, Response, parse
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from haproxy.testing.sender import Sender, Sink

PUBLIC = "203.0.113.1"


@pytest.mark.parametrize("hairpin", [False, True], ids=["mapped", "hairpin"])
def test_the_router_s_address_is_shown_outside(tmp_path: Path, hairpin: bool) -> None:
    """Hairpin (guide 3.12): the router maps it to the private address; all are told the public one."""
    host = own_host()
    mapped = host if hairpin else own_host()
    network, _, last = host.rpartition(".")
    inside = f"{network}.{int(last) % 250 + 2}"
    system: dict[str, str] = {"privateSubnet": "24", "publicIP": PUBLIC, "mappedIP": mapped}
    settings: Settings = {"system": system, "proxy": {"enableAntiFlood": False, "enableAstFailover": False}}
    with (
        Genproxy(tmp_path / "proxy", host=host, settings=settings, subscribers={"genesis_a": "x"}) as proxy,
        Sender(host, proxy.port, "udp", own=(inside, 0)) as genesis,
        Sink() as far,
    ):
        registration = genesis.request(b"REGISTER", f"sip:{host}".encode())
        registration.set(b"To", f"<sip:genesis_a@{host}>".encode())
        genesis.sock.send(bytes(registration))
        assert b"SIP/2.0 200 " in genesis.receive()[0]

        target = b"sip:far@" + far.address
        invite = genesis.request(b"INVITE", target)
        genesis.sock.send(bytes(invite))
        got = far.next()
        assert isinstance(got, Request)
        assert far.source[0] == mapped
        assert got.top_via.sent_by == f"{PUBLIC}:5060".encode()
        recorded = [each.target.host.decode() for each in got.addresses(b"record-route")]
        assert recorded == ([PUBLIC] if hairpin else [PUBLIC, host])

        accepted = got.response(200, to_tag=b"far")
        accepted.append(b"Contact", b"<%b>" % target)
        far.send(accepted)
        answer = parse(genesis.receive()[-1])
        while not isinstance(answer, Response) or answer.status < 200:
            answer = parse(genesis.receive()[-1])

        ack = genesis.request(
            b"ACK", target, *[(b"Route", each) for each in answer.values(b"record-route")[::-1]]
        )
        bye = Request.create(
            b"BYE",
            invite.addresses(b"contact")[0].uri,
            [
                (b"Via", b"SIP/2.0/UDP %b;branch=z9hG4bKbye" % far.address),
                *[(b"Route", each) for each in got.values(b"record-route")],
                (b"From", accepted.first(b"to") or b""),
                (b"To", accepted.first(b"from") or b""),
                (b"Call-ID", invite.call_id),
                (b"CSeq", b"1 BYE"),
            ],
        )
        for key, name in ((b"call-id", b"Call-ID"), (b"from", b"From"), (b"to", b"To")):
            ack.set(name, answer.first(key) or b"")
        genesis.sock.send(bytes(ack))
        while got.method != b"ACK":
            message = far.next()
            got = message if isinstance(message, Request) else got
        assert got.values(b"route") == []

        far.send(bye)
        inside_bye = parse(genesis.receive()[0])
        assert isinstance(inside_bye, Request)
        assert (inside_bye.method, inside_bye.values(b"route")) == (b"BYE", [])
        assert inside_bye.top_via.sent_by == f"{PUBLIC if hairpin else host}:5060".encode()
        genesis.sock.send(bytes(inside_bye.response(200)))
        last_answer = far.next()
        assert isinstance(last_answer, Response)
        assert last_answer.status == 200
        assert "Traceback" not in proxy.daemon.text
