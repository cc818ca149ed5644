"""One audio stream of a call: a leg of the relay with SRTP and RTP."""

from __future__ import annotations

from typing import Any

from crs.client.keying import StreamKeys
from crs.client.leg import Leg
from crs.client.srtp import SrtpError, SrtpSession
from crs.signaling.message import Relay
from rtlib.audio.recording import Recording
from rtlib.audio.rtp import PCMU, Reception, RtpError, parse


class MediaStream(Leg):
    """Sends and receives one stream, once it has its keys."""

    def __init__(self, reactor: Any, relay: Relay, host: str, **options: Any) -> None:
        """As a Leg."""
        super().__init__(reactor, relay, host, **options)
        self._srtp: SrtpSession | None = None
        self.reception = Reception()
        self.recording = Recording()

    def secure(self, keys: StreamKeys, *, caller: bool) -> None:
        """Use these keys, as the caller or as the callee, from now on."""
        own, other = (keys.caller, keys.callee) if caller else (keys.callee, keys.caller)
        self._srtp = SrtpSession(keys.profile, (self.relay.identifier, own), (self.relay.peer, other))

    def _is_control(self, datagram: bytes) -> bool:
        return datagram[:1] < b"\x40"  # version bits 00: a packet of the relay itself

    def _receive(self, datagram: bytes) -> None:
        if self._srtp is None:
            self.counters.early += 1
            return
        try:
            packet = parse(self._srtp.unprotect(datagram))
        except (SrtpError, RtpError):
            self.counters.refused += 1
            return
        self.reception.count(packet.sequence)
        if packet.payload_type == PCMU:
            self.recording.add(packet)

    def _protect(self, packet: bytes) -> bytes:
        assert self._srtp is not None
        return self._srtp.protect(packet)
