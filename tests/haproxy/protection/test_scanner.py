"""Scanners by their names."""

import pytest

from haproxy.protection.scanner import REMEMBERED, Scanners


def request(*headers: str, body: str = "") -> bytes:
    lines = ["OPTIONS sip:100@192.0.2.1 SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1", *headers]
    return "\r\n".join([*lines, "", body]).encode()


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("User-Agent: friendly-scanner", "friendly-scanner"),
        ("User-Agent: Friendly-Scanner 2", "Friendly-Scanner"),
        ("User-Agent:friendly-scanner", "friendly-scanner"),
        ("USER-AGENT : sipcli/v1.8", "sipcli"),
        ('From: "sipvicious"<sip:100@1.1.1.1>;tag=1', "sipvicious"),
        ("User-Agent: Genesis Proxy", ""),
        ('From: "Alice" <sip:alice@192.0.2.9>;tag=1', ""),
        ("Subject: friendly-scanner", ""),
        ('From: "unfinished', ""),
        ("X: y", ""),
    ],
)
def test_names(header: str, name: str) -> None:
    scanners = Scanners()
    for _ in range(2):  # the second answer is remembered
        assert scanners.recognize(request(header)) == name


def test_a_body_is_not_looked_at() -> None:
    text = "\r\nUser-Agent: friendly-scanner\r\n"
    assert Scanners().recognize(request("From: <sip:a@b>", body=text)) == ""
    assert Scanners().recognize(request("User-Agent: phone", body=text)) == ""


def test_other_names() -> None:
    scanners = Scanners(["evil (v.1)"])
    assert scanners.recognize(request("User-Agent: Evil (v.1)")) == "Evil (v.1)"
    assert scanners.recognize(request("User-Agent: evil (vx1)")) == ""
    scanners.replace([])
    assert scanners.recognize(request("User-Agent: friendly-scanner")) == ""
    scanners.replace(["friendly"])
    assert scanners.recognize(request("User-Agent: friendly-scanner")) == "friendly"


def test_it_does_not_remember_without_end() -> None:
    scanners = Scanners()
    for number in range(REMEMBERED + 10):
        scanners.recognize(request(f"User-Agent: phone {number}"))
    assert len(scanners._known) <= REMEMBERED
    assert scanners.recognize(request("User-Agent: sipvicious")) == "sipvicious"
