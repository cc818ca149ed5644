from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.media.rtp import is_rtcp, is_rtp_or_rtcp, ssrc

IDENTIFIER = 0xA1B2C3D4


@pytest.mark.parametrize("packet_type", [200, 201, 202, 203, 204, 205, 206, 207, 192, 223])
def test_rtcp(packet_type: int) -> None:
    packet = bytes([0x81, packet_type, 0, 1]) + IDENTIFIER.to_bytes(4, "big")
    assert is_rtp_or_rtcp(packet) and is_rtcp(packet) and ssrc(packet) == IDENTIFIER


@pytest.mark.parametrize("payload_type", [0, 8, 63, 96, 127, 0x80 | 0, 0x80 | 8, 0x80 | 96, 0x80 | 127])
def test_rtp_with_and_without_the_marker(payload_type: int) -> None:
    packet = bytes([0x80, payload_type, 0, 1]) + bytes(4) + IDENTIFIER.to_bytes(4, "big")
    assert is_rtp_or_rtcp(packet) and not is_rtcp(packet) and ssrc(packet) == IDENTIFIER


@pytest.mark.parametrize("first", [0x00, 0x01, 0x10, 0x16, 0x3F, 0x40, 0xC0, 0xFF])
def test_other_protocols_on_the_same_port(first: int) -> None:
    assert not is_rtp_or_rtcp(bytes([first]) + bytes(20))


@given(st.binary(max_size=20))
def test_any_bytes_have_an_ssrc_or_are_too_short(data: bytes) -> None:
    enough = 8 if is_rtcp(data) else 12
    if len(data) >= enough:
        assert 0 <= ssrc(data) < 1 << 32
    else:
        with pytest.raises(ValueError, match="too short"):
            ssrc(data)
    assert not is_rtp_or_rtcp(b"") and not is_rtcp(b"\x80")
