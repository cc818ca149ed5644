"""Session descriptions of one PCMU stream."""

import pytest

from haproxy.testing.description import DescriptionError, audio_address, describe


@pytest.mark.parametrize("address", [("192.0.2.1", 4000), ("2001:db8::1", 65535)])
def test_what_is_described_is_understood(address: tuple[str, int]) -> None:
    assert audio_address(describe(*address)) == address


def test_the_connection_of_the_media_section_counts() -> None:
    body = describe("192.0.2.1", 4000).replace(b"a=rtpmap", b"c=IN IP4 192.0.2.2\r\na=rtpmap")
    assert audio_address(body) == ("192.0.2.2", 4000)


@pytest.mark.parametrize(
    "body",
    [b"", b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n", b"c=IN IP4 192.0.2.1\r\nm=audio 0 RTP/AVP 0\r\n"]
    + [
        b"c=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 8\r\n",
        b"c=IN IP4 192.0.2.1\r\nm=video 4000 RTP/AVP 0\r\n",
    ],
)
def test_nothing_else_is(body: bytes) -> None:
    with pytest.raises(DescriptionError):
        audio_address(body)
