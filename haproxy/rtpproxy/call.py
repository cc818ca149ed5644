"""Call > Monologue > Media > Stream: who sends media where in one call (names after rtpengine's glossary).

A call has two sides; a monologue is what one party says. Each media of a monologue owns the port
pair that faces its party: the party sends to it, and is sent to from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from haproxy.rtpproxy.port import PortPair
from rtlib.address import Address, unpack
from rtlib.media.forwarder import Forwarder

QUIET = frozenset({b"inactive", b"sendonly", b"recvonly"})
"""Directions (RFC 4566) in which silence is no sign of a lost call (guide 8.1.5, `silent-timeout`)."""


@dataclass(slots=True, eq=False)
class Stream:
    """RTP or RTCP of one media of one party."""

    port: int
    """The forwarder's handle of the port that faces the party."""
    advertised: Address | None = None
    """Where the party's SDP says that it listens; None while unknown or refused."""
    learned: Address | None = None
    """Where its packets really come from, once one came; from then on the only source accepted."""

    @property
    def destination(self) -> Address | None:
        """Where to send what the other party says."""
        return self.learned or self.advertised


@dataclass(slots=True, eq=False)
class Media:
    """One m= line of one party."""

    pair: PortPair
    rtp: Stream
    rtcp: Stream
    direction: bytes = b"sendrecv"

    @classmethod
    def on(cls, pair: PortPair) -> Media:
        """A media that nothing is known of but its ports."""
        return cls(pair, Stream(pair.rtp), Stream(pair.rtcp))

    def advertise(self, rtp: Address | None, rtcp: Address | None) -> None:
        """Take what the party's SDP says now; what was learned holds until the SDP names another place."""
        for stream, address in ((self.rtp, rtp), (self.rtcp, rtcp)):
            if stream.advertised != address:
                stream.advertised, stream.learned = address, None


@dataclass(frozen=True, slots=True)
class Face:
    """How a party and this proxy see each other."""

    host: str
    """The address of ours that faces the party."""
    shown: str
    """The address that the party is told to send to; another one behind a router (`publicIP`, `mappedIP`)."""
    signalled: str = ""
    """The IP address its signaling comes from, empty while unknown. Media may come from there too: a
    phone behind a router writes an address into its SDP that nobody else can see."""


@dataclass(slots=True, eq=False)
class Monologue:
    """One party of a call: half a dialogue."""

    tag: bytes
    face: Face
    media: list[Media] = field(default_factory=list)

    @property
    def source(self) -> Address | None:
        """Where its first media comes from, or is expected from."""
        return self.media[0].rtp.destination if self.media else None

    def accepts(self, stream: Stream, source: Address) -> bool:
        """Whether the first packet of a stream may come from there."""
        host = unpack(source)[0]
        return host == self.face.signalled or (
            stream.advertised is not None and host == unpack(stream.advertised)[0]
        )


@dataclass(slots=True, eq=False)
class Call:
    """Everything the media proxy knows of one Call-ID."""

    call_id: bytes
    created: float
    caller: Monologue
    callee: Monologue
    established: bool = False
    checked: float = 0.0
    """When media was last seen, on the clock of `now`."""

    def monologues(self) -> tuple[Monologue, Monologue]:
        """Both parties, the caller first."""
        return (self.caller, self.callee)

    def party(self, tag: bytes) -> Monologue:
        """The monologue of a tag; whoever is not the caller is the callee."""
        return self.caller if tag == self.caller.tag else self.callee

    def other(self, monologue: Monologue) -> Monologue:
        """Who listens to a monologue."""
        return self.callee if monologue is self.caller else self.caller

    def quiet(self) -> bool:
        """Whether somebody is on hold, so that silence is expected."""
        return any(media.direction in QUIET for monologue in self.monologues() for media in monologue.media)

    def connect(self, forwarder: Forwarder) -> None:
        """Tell the forwarder what goes where, as known now."""
        for one, two in zip(self.caller.media, self.callee.media, strict=False):
            for here, there in ((one.rtp, two.rtp), (one.rtcp, two.rtcp)):
                _join(forwarder, here, there)
                _join(forwarder, there, here)

    def stream_of(self, port: int) -> tuple[Monologue, Stream, Stream] | None:
        """Who speaks on a port: the party, its stream, and the stream of the listener."""
        for monologue in self.monologues():
            for mine, peer in zip(monologue.media, self.other(monologue).media, strict=False):
                for here, there in ((mine.rtp, peer.rtp), (mine.rtcp, peer.rtcp)):
                    if here.port == port:
                        return monologue, here, there
        return None


def _join(forwarder: Forwarder, here: Stream, there: Stream) -> None:
    address = there.destination
    targets = [(there.port, address)] if address is not None else []
    forwarder.set_flow(here.port, 0, here.learned, targets)
