import pytest

from crs.client.keying import KEY_LENGTHS, Profile
from crs.client.srtp import SrtpError, SrtpSession
from rtlib.audio.rtp import Packetizer


def pair(profile: Profile) -> tuple[SrtpSession, SrtpSession]:
    caller, callee = bytes(range(KEY_LENGTHS[profile])), bytes(range(100, 100 + KEY_LENGTHS[profile]))
    return (
        SrtpSession(profile, (1, caller), (2, callee)),
        SrtpSession(profile, (2, callee), (1, caller)),
    )


@pytest.mark.parametrize("profile", Profile)
def test_both_directions(profile: Profile) -> None:
    a, b = pair(profile)
    for sender, receiver, ssrc in ((a, b, 1), (b, a, 2)):
        packet = Packetizer(ssrc, 1, 1).packet(b"voice" * 32)
        protected = sender.protect(packet)
        assert b"voice" not in protected
        assert protected[8:12] == ssrc.to_bytes(4, "big"), "the relay must see the identifier"
        assert receiver.unprotect(protected) == packet


@pytest.mark.parametrize("profile", Profile)
def test_altered_replayed_and_foreign_packets_are_refused(profile: Profile) -> None:
    a, b = pair(profile)
    protected = a.protect(Packetizer(1, 1, 1).packet(b"voice"))
    for position in (1, 8, 12, len(protected) - 1):
        altered = bytearray(protected)
        altered[position] ^= 1
        with pytest.raises(SrtpError):
            b.unprotect(bytes(altered))
    assert b.unprotect(protected)
    with pytest.raises(SrtpError, match="replay"):
        b.unprotect(protected)
    with pytest.raises(SrtpError):
        a.unprotect(protected)


@pytest.mark.parametrize("data", [b"", b"\x80", bytes(12), bytes(2000)])
def test_garbage_is_refused(data: bytes) -> None:
    a, _ = pair(Profile.aead_aes_256_gcm)
    with pytest.raises(SrtpError):
        a.unprotect(data)
