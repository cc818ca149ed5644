"""The media proxy: all calls, their ports, and when they end (guide 8.1.4, 8.1.5, 8.1.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from haproxy.rtpproxy.call import Call, Face, Media, Monologue, Stream
from haproxy.rtpproxy.offer import is_relayed, learn, redirect, rewrite
from haproxy.rtpproxy.port import PortPool, PortsExhausted
from haproxy.sip.sdp import Description, SdpError
from haproxy.sip.sdp import parse as parse_sdp
from rtlib.address import Address
from rtlib.media.forwarder import FlowCounters, Forwarder

SWEEP = 5.0
"""Seconds between two looks for calls that have fallen silent."""

SET_UP = 300.0
"""Seconds that a call may take to be answered; signaling gives up long before."""

MEDIA = 16
"""m= lines in one SDP; each costs four ports."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds of the guide's `timeout`, `silent-timeout` and `final-timeout`; 0 for no final limit."""

    media: float = 60.0
    silent: float = 3600.0
    final: float = 86400.0


class MediaProxy:
    """Keeps the calls; SDP comes by, and media is forwarded accordingly."""

    def __init__(self, forwarder: Forwarder, pool: PortPool, timeouts: Timeouts) -> None:
        self._forwarder = forwarder
        self._pool = pool
        self._timeouts = timeouts
        self._calls: dict[bytes, Call] = {}
        self._ports: dict[int, Call] = {}
        self.wrong_source = 0
        self.started = 0
        forwarder.on_unmatched = self.unmatched

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    @property
    def ports_in_use(self) -> int:
        """Port pairs that are open."""
        return self._pool.in_use

    def pass_on(
        self, call_id: bytes, tag: bytes, body: bytes, *, speaker: Face, listener: Face, now: float
    ) -> bytes:
        """What the listener gets of the SDP of the party with this tag. Raises SdpError, PortsExhausted."""
        description = parse_sdp(body)
        if len(description.media) > MEDIA:
            raise SdpError(f"more than {MEDIA} media")
        if self._is_ours(description):
            return body  # the request comes by a second time: its media is here already
        call = self._calls.get(call_id) or self._begin(call_id, tag, speaker, listener, now)
        try:
            self._update(call, tag, description, speaker, listener)
        except PortsExhausted:
            if not call.established:
                self.end(call_id)
            raise
        return bytes(description)

    def establish(self, call_id: bytes) -> None:
        """The call was answered: from now on its end is told by BYE."""
        call = self._calls.get(call_id)
        if call is not None:
            call.established = True

    def abandon(self, call_id: bytes) -> None:
        """A set-up failed; a call that was answered goes on."""
        call = self._calls.get(call_id)
        if call is not None and not call.established:
            self.end(call_id)

    def end(self, call_id: bytes) -> None:
        """The call is over: its ports are free again."""
        call = self._calls.pop(call_id, None)
        if call is None:
            return
        for monologue in call.monologues():
            self._release(monologue)

    def sweep(self, now: float) -> list[tuple[bytes, str]]:
        """End the calls that are silent or old; their Call-IDs, and why."""
        over = [(call.call_id, reason) for call in self for reason in self._overdue(call, now)]
        for call_id, _ in over:
            self.end(call_id)
        return over

    def unmatched(self, port: int, packets: list[tuple[bytes, Address]]) -> None:
        """Packets whose source is not known yet: the first from where it may come from is believed."""
        call = self._ports.get(port)
        found = call.stream_of(port) if call is not None else None
        if call is None or found is None:
            return
        monologue, here, there = found
        for data, source in packets:
            if here.learned is None and monologue.accepts(here, source):
                here.learned = source
                call.connect(self._forwarder)
            if here.learned != source:
                self.wrong_source += 1
            elif there.destination is not None:
                self._forwarder.send(there.port, data, there.destination)

    def _begin(self, call_id: bytes, tag: bytes, speaker: Face, listener: Face, now: float) -> Call:
        call = Call(call_id, now, Monologue(tag, speaker), Monologue(b"", listener))
        self._calls[call_id] = call
        self.started += 1
        return call

    def _update(
        self, call: Call, tag: bytes, description: Description, speaker: Face, listener: Face
    ) -> None:
        talker = call.party(tag)
        hearer = call.other(talker)
        self._turn(talker, speaker)
        self._turn(hearer, Face(listener.host, listener.shown, hearer.face.signalled))
        for index, media in enumerate(description.media):
            self._provide(call, talker, index)
            self._provide(call, hearer, index)
            if is_relayed(media):
                learn(talker.media[index], media, description)
                rewrite(media, hearer.media[index])
            else:
                talker.media[index].advertise(None, None)
        redirect(description, listener.shown)
        call.connect(self._forwarder)

    def _turn(self, monologue: Monologue, face: Face) -> None:
        """Let a monologue face its party; another address of ours means other ports."""
        if monologue.face.host != face.host:
            self._release(monologue)
        monologue.face = face

    def _provide(self, call: Call, monologue: Monologue, index: int) -> None:
        while len(monologue.media) <= index:
            media = Media.on(self._pool.open(monologue.face.host))
            monologue.media.append(media)
            for port in (media.pair.rtp, media.pair.rtcp):
                self._ports[port] = call
                self._forwarder.set_flow(port, 0, None, [])

    def _release(self, monologue: Monologue) -> None:
        for media in monologue.media:
            del self._ports[media.pair.rtp], self._ports[media.pair.rtcp]
            self._pool.close(media.pair)
        monologue.media.clear()

    def _is_ours(self, description: Description) -> bool:
        return any(
            self._pool.has((media.connection or b"").decode("latin-1"), media.port)
            for media in description.media
        )

    def _overdue(self, call: Call, now: float) -> Iterator[str]:
        if self._timeouts.final and now - call.created > self._timeouts.final:
            yield "it lasted longer than final-timeout"
            return
        quiet = call.quiet()
        limit = self._timeouts.silent if quiet else self._timeouts.media
        limit = limit if call.established else SET_UP
        if now - self.last_active(call) > limit:
            name = "silent-timeout" if quiet else "timeout"
            yield f"no media came for longer than {name}" if call.established else "it was never answered"

    def last_active(self, call: Call) -> float:
        """When media of a call was last forwarded, on the clock of `now`; at first its beginning."""
        return max([call.created, *(flow.last_active for flow in self.counters(call))])

    def counters(self, call: Call) -> list[FlowCounters]:
        """What the forwarder has done for each stream of a call."""
        return [self._forwarder.flow(stream.port, 0) for stream in streams(call)]


def streams(call: Call) -> Iterator[Stream]:
    """All streams of a call."""
    for monologue in call.monologues():
        for media in monologue.media:
            yield from (media.rtp, media.rtcp)
