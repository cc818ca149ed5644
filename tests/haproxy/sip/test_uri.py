from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import uri
from haproxy.sip.uri import Uri, UriError


def test_parts() -> None:
    parsed = uri.parse(b"SIP:al%69ce:pw@Atlanta.COM:5070;transport=TCP;lr?subject=x&priority=urgent")
    assert parsed == Uri(
        b"sip", b"al%69ce", b"pw", b"atlanta.com", 5070, b"transport=TCP;lr", b"subject=x&priority=urgent"
    )
    assert (parsed.username, parsed.transport) == (b"alice", b"tcp")
    assert (parsed.param(b"lr"), parsed.param(b"maddr")) == (b"", None)
    assert parsed.aor == b"sip:alice@atlanta.com:5070"
    assert bytes(parsed) == b"sip:al%69ce:pw@atlanta.com:5070;transport=TCP;lr?subject=x&priority=urgent"


def test_hosts() -> None:
    assert uri.parse(b"sip:[2001:DB8::1]:5060").sent_by == b"[2001:db8::1]:5060"
    assert uri.parse(b"sips:example.com.").host == b"example.com."
    assert uri.parse(b"sip:192.0.2.1;lr").user is None


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (b"[2001:DB8:0:0:0:0:0:1]", b"[2001:db8::1]"),
        (b"[::]", b"[::]"),
        (b"[::FFFF:192.0.2.1]", b"192.0.2.1"),
        (b"[0:0:0:0:0:ffff:c000:0201]", b"192.0.2.1"),
        (b"[2001:db8:::192.0.2.1]", b"[2001:db8:::192.0.2.1]"),
        (b"Example.COM", b"example.com"),
    ],
)
def test_hosts_that_are_equal_are_equal_bytes(text: bytes, host: bytes) -> None:
    assert uri.parse(b"sip:a@" + text).host == host


def test_ipv6_in_two_spellings_matches() -> None:
    assert uri.parse(b"sip:a@[2001:db8::0:1]").matches(uri.parse(b"sip:a@[2001:DB8::1]"))


def test_other_schemes() -> None:
    tel = uri.parse(b"tel:+1-201-555-0123;phone-context=example.com")
    assert (tel.is_sip, tel.opaque) == (False, b"+1-201-555-0123;phone-context=example.com")
    assert tel.param(b"phone-context") == b"example.com"
    assert tel.aor == b"tel:+1-201-555-0123"
    assert bytes(tel) == b"tel:+1-201-555-0123;phone-context=example.com"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"sip:",
        b"sip:@example.com",
        b"sip:a@",
        b"sip:a b@example.com",
        b"sip:a@example.com:0",
        b"sip:a@example.com:65536",
        b"sip:a@example.com:x",
        b"sip:a%4@example.com",
        b"sip:a@exa mple.com",
        b"<sip:a@example.com>",
        b"sip:a@b@example.com",
        b"example.com",
        b"sip:a@[::1",
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(UriError):
        uri.parse(text)


# RFC 3261 §19.1.4
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"sip:%61lice@atlanta.com;transport=TCP", b"sip:alice@AtlanTa.CoM;Transport=tcp"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com;newparam=5"),
        (b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;newparam=5"),
        (b"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",) * 2,
        (b"sip:alice@atlanta.com?subject=p&priority=u", b"sip:alice@atlanta.com?priority=u&subject=p"),
    ],
)
def test_equal(one: bytes, other: bytes) -> None:
    assert uri.parse(one).matches(uri.parse(other))
    assert uri.parse(other).matches(uri.parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"SIP:ALICE@AtLanTa.CoM;Transport=udp", b"sip:alice@AtLanTa.CoM;Transport=UDP"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com:5060"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com;transport=udp"),
        (b"sip:bob@biloxi.com:6000;transport=tcp", b"sip:bob@biloxi.com"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com?Subject=next%20meeting"),
        (b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;security=off"),
        (b"sip:bob@phone21.boxesbybob.com", b"sip:bob@192.0.2.4"),
        (b"sip:bob@biloxi.com", b"sips:bob@biloxi.com"),
    ],
)
def test_unequal(one: bytes, other: bytes) -> None:
    assert not uri.parse(one).matches(uri.parse(other))


def test_without() -> None:
    parsed = uri.parse(b"sip:a@h;Transport=tcp;lr;x=1")
    assert bytes(parsed.without(b"transport", b"lr")) == b"sip:a@h;x=1"


@given(st.binary(min_size=1, max_size=40))
def test_escaped_user_parts_come_back(user: bytes) -> None:
    parsed = uri.parse(b"sip:" + uri.escape_user(user) + b"@example.com")
    assert parsed.username == user


@given(
    st.binary(max_size=60)
    | st.text("sip:@;?[]<>%=.a1", max_size=30).map(lambda text: b"sip:" + text.encode())
)
def test_anything(data: bytes) -> None:
    with contextlib.suppress(UriError):
        parsed = uri.parse(data)
        again = uri.parse(bytes(parsed))
        assert again == parsed
        assert parsed.matches(again)
        assert isinstance(parsed.aor, bytes)
