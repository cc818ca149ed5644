"""SRTP of one stream in both directions (RFC 3711, RFC 7714), by libsrtp."""

from __future__ import annotations

from typing import Final

import pylibsrtp

from crs.client.keying import Profile

_PROFILES: Final = {
    Profile.aead_aes_256_gcm: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    Profile.aes_cm_128_hmac_sha1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


class SrtpError(Exception):
    """The packet is not authentic, a replay, or cannot be protected; the text is libsrtp's reason."""


class SrtpSession:
    """One sender's and one receiver's cryptographic context."""

    def __init__(self, profile: Profile, outgoing: tuple[int, bytes], incoming: tuple[int, bytes]) -> None:
        """Each direction is given by its SSRC, and its master key with the salt behind it."""
        self._outgoing = _session(profile, *outgoing)
        self._incoming = _session(profile, *incoming)

    def protect(self, packet: bytes) -> bytes:
        """RTP to SRTP."""
        try:
            protected: bytes = self._outgoing.protect(packet)
        except (pylibsrtp.Error, ValueError) as error:
            raise SrtpError(str(error)) from error
        return protected

    def unprotect(self, packet: bytes) -> bytes:
        """SRTP to RTP. Raises SrtpError for whatever the peer has not sent, or has sent before."""
        try:
            plain: bytes = self._incoming.unprotect(packet)
        except (pylibsrtp.Error, ValueError) as error:
            raise SrtpError(str(error)) from error
        return plain


def _session(profile: Profile, ssrc: int, key: bytes) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key, pylibsrtp.Policy.SSRC_SPECIFIC, ssrc, _PROFILES[profile])
    return pylibsrtp.Session(policy)
