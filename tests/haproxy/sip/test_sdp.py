from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import sdp
from haproxy.sip.sdp import SdpError

OFFER = (
    b"v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\na=sendonly\r\n"
    b"m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4005 IN IP4 10.0.0.9\r\n"
    b"m=video 0 RTP/SAVP 31\r\ni=title\r\nc=IN IP6 2001:db8::1\r\na=recvonly\r\na=rtcp-mux\r\n"
)


def test_reading() -> None:
    description = sdp.parse(OFFER)
    audio, video = description.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == (
        b"audio",
        4000,
        b"RTP/AVP",
        [b"0", b"101"],
    )
    assert (audio.connection, audio.rtcp, audio.rtcp_mux) == (b"10.0.0.1", (b"10.0.0.9", 4005), False)
    assert (video.connection, video.port, video.direction, video.rtcp_mux) == (
        b"2001:db8::1",
        0,
        b"recvonly",
        True,
    )
    assert video.rtcp == (b"2001:db8::1", 1)
    assert (description.session.direction, audio.direction) == (b"sendonly", None)
    assert audio.attribute(b"rtpmap") == b"101 telephone-event/8000"


def test_unchanged() -> None:
    for text in (b"v=0\ns=-\n", OFFER, OFFER.replace(b"\r\n", b"\n"), OFFER.rstrip(), OFFER + b"\r\n"):
        assert bytes(sdp.parse(text)) == text


def test_rewriting_touches_only_addresses_and_ports() -> None:
    description = sdp.parse(OFFER)
    description.set_origin(b"192.0.2.1")
    description.set_connection(b"192.0.2.1")
    description.media[0].set_port(30000)
    description.media[0].set_rtcp(30001)
    expected = OFFER.replace(b"10.0.0.1", b"192.0.2.1").replace(b"IP6 2001:db8::1", b"IP4 192.0.2.1")
    expected = expected.replace(b"audio 4000", b"audio 30000").replace(
        b"a=rtcp:4005 IN IP4 10.0.0.9", b"a=rtcp:30001"
    )
    assert bytes(description) == expected


def test_a_missing_connection_is_added_in_its_place() -> None:
    description = sdp.parse(b"v=0\no=- 1 2 IN IP4 h\ns=-\nt=0 0\nm=audio 1 RTP/AVP 0\n")
    description.set_connection(b"2001:db8::5")
    assert bytes(description).startswith(b"v=0\no=- 1 2 IN IP4 h\ns=-\nc=IN IP6 2001:db8::5\nt=0 0\n")
    assert description.media[0].connection == b"2001:db8::5"


def test_connections_of_all_media_need_none_of_the_session() -> None:
    description = sdp.parse(b"v=0\ns=-\nm=audio 1 RTP/AVP 0\nc=IN IP4 10.0.0.1\n")
    description.set_connection(b"192.0.2.1")
    assert bytes(description) == b"v=0\ns=-\nm=audio 1 RTP/AVP 0\nc=IN IP4 192.0.2.1\n"


def test_attributes() -> None:
    media = sdp.parse(OFFER).media[1]
    media.remove_attributes(b"rtcp-mux", b"recvonly")
    media.add_attribute(b"inactive")
    media.set_protocol(b"RTP/AVP")
    media.set_port(5)
    media.set_rtcp(6)
    assert (
        b"\n".join(media.lines)
        == b"m=video 5 RTP/AVP 31\r\ni=title\r\nc=IN IP6 2001:db8::1\r\na=inactive\r\n"
    )
    media.set_rtcp(9)
    assert media.rtcp == (b"2001:db8::1", 9)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"v=1\n",
        b"v=0\nnonsense\n",
        b"v=0\nm=audio\n",
        b"v=0\nm=audio 70000 RTP/AVP 0\n",
        b"v=0\n" * 3000,
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(SdpError):
        sdp.parse(text)


@given(st.data())
def test_anything(data: st.DataObject) -> None:
    damaged = bytearray(OFFER)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=5))
    with contextlib.suppress(SdpError):
        description = sdp.parse(bytes(damaged))
        assert bytes(description) == bytes(damaged)
        description.set_connection(b"192.0.2.1")
        description.set_origin(b"192.0.2.1")
        for media in description.media:
            _ = media.connection, media.rtcp
            media.set_port(1)
            media.set_rtcp(3)
        assert all(media.connection == b"192.0.2.1" for media in sdp.parse(bytes(description)).media)
