"""What the media proxy hears of signaling: SDP in requests and responses, and how calls begin and end."""

from __future__ import annotations

from haproxy.proxy.side import Sides
from haproxy.proxy.validation import Refused
from haproxy.rtpproxy.call import Face
from haproxy.rtpproxy.port import PortsExhausted
from haproxy.rtpproxy.relay import MediaProxy
from haproxy.sip.flow import Flow
from haproxy.sip.message import Message, Request, Response
from haproxy.sip.sdp import SdpError
from rtlib.address import unpack

SDP = b"application/sdp"


class Conversation:
    """Passes SDP through the media proxy, where there is one (`enableNAT`)."""

    def __init__(self, sides: Sides, media: MediaProxy | None) -> None:
        self._sides = sides
        self._media = media
        self.active = media is not None
        """Whether there is anything to tell at all."""

    def request(self, request: Request, came: Flow, leaves: Flow, now: float) -> None:
        """A request is about to be sent. Raises Refused."""
        if self._media is None or not _has_sdp(request):
            return
        self._pass(request, request.from_tag, came, leaves, now)

    def response(self, response: Response, came: Flow, leaves: Flow, now: float) -> None:
        """A response is about to be sent upstream; `came` is the flow that its request was sent on."""
        if self._media is None:
            return
        if _has_sdp(response):
            try:
                self._pass(response, response.to_tag, came, leaves, now)
            except Refused:
                # There is no way to refuse a response: its SDP goes on as it is.
                return
        if response.cseq_method == b"INVITE" and 200 <= response.status < 300:
            self._media.establish(response.call_id)

    def ended(self, request: Request) -> None:
        """A request has its final response: a BYE ends the call, whatever the response is."""
        if self._media is not None and request.method == b"BYE":
            self._media.end(request.call_id)

    def failed(self, request: Request) -> None:
        """An INVITE was refused: a call that is not established yet will never be."""
        if self._media is not None and request.method == b"INVITE" and request.to_tag is None:
            self._media.abandon(request.call_id)

    def _pass(self, message: Message, tag: bytes | None, came: Flow, leaves: Flow, now: float) -> None:
        assert self._media is not None
        speaker, listener = self._sides.of(came.local), self._sides.of(leaves.local)
        signalled = unpack(came.remote)[0]
        try:
            body = self._media.pass_on(
                message.call_id,
                tag or b"",
                message.body,
                speaker=Face(speaker.host, speaker.media_host, signalled),
                listener=Face(listener.host, listener.media_host),
                now=now,
            )
        except SdpError:
            raise Refused(400, "Malformed SDP") from None
        except PortsExhausted:
            raise Refused(503, "No Media Ports") from None
        message.replace_body(body)


def _has_sdp(message: Message) -> bool:
    kind = message.first(b"content-type") if message.body else None
    return kind is not None and kind.partition(b";")[0].strip().lower() == SDP
