"""One call of a phone, from either end: signaling state and audio (RFC 3261 §12 to §15)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from haproxy.sip.message import Request, Response
from haproxy.sip.timers import T1, T2
from haproxy.sip.transaction import ClientTransaction, ServerTransaction
from haproxy.testing.audio import Audio
from haproxy.testing.description import DescriptionError, audio_address
from haproxy.testing.dialog import Dialog
from rtlib.address import pack
from rtlib.outcome import Outcome

if TYPE_CHECKING:
    from haproxy.testing.phone import Phone

LIMIT: Final = 64 * T1
"""Seconds after which an answered call without ACK is given up (§13.3.1.4)."""


class Refused(Exception):
    """The other end, or the proxy, refused a request; or nobody answered (status 408 or 503)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status


class Call:
    """What both ends have in common. `ended` happens with who ended it: "here" or "there"."""

    def __init__(self, phone: Phone, audio: Audio) -> None:
        self._phone = phone
        phone.keep(self)
        self.audio = audio
        self.dialog: Dialog | None = None
        self.invite: Request | None = None
        """The INVITE as it was sent or received."""
        self.answered: Outcome[None] = Outcome()
        """Both ends talk. Fails with Refused."""
        self.ended: Outcome[str] = Outcome()

    async def hang_up(self) -> None:
        """End an answered call. Raises Refused when the other end does not confirm."""
        assert self.dialog is not None
        bye = self.dialog.request(b"BYE")
        self.end("here")
        response = await self._phone.ask(bye, self._phone.flow_of(self.dialog))
        if response.status >= 300:
            raise Refused(response.status, response.reason.decode(errors="replace"))

    def end(self, who: str) -> None:
        """The call is over: silence."""
        self.audio.stop()
        self._phone.forget(self)
        self.answered.fail(Refused(487, "ended before the answer"))
        self.ended.set(who)

    def _talk(self, description: bytes) -> None:
        """Send audio to where the other end wants it."""
        self.audio.start(pack(*audio_address(description)))


class OutgoingCall(Call):
    """The caller's end."""

    def __init__(self, phone: Phone, audio: Audio) -> None:
        super().__init__(phone, audio)
        self.rang: Outcome[int] = Outcome()
        """The first provisional response but 100, with its status."""
        self._transaction: ClientTransaction | None = None

    def sent(self, transaction: ClientTransaction) -> None:
        """The INVITE is on its way (again, when it had to be authenticated)."""
        self._transaction = transaction
        self.invite = transaction.request

    def cancel(self) -> None:
        """Give up before the answer; `answered` fails with 487."""
        assert self._transaction is not None
        self._phone.cancel(self._transaction)

    def provisional(self, response: Response) -> None:
        """Ringing."""
        if response.status > 100:
            self.rang.set(response.status)

    def accepted(self, response: Response) -> None:
        """A 2xx, or its retransmission: acknowledge it, and begin to talk."""
        assert self.invite is not None
        first = self.dialog is None
        if first:
            self.dialog = Dialog.of_caller(self.invite, response)
        assert self.dialog is not None
        self._phone.send(self.dialog.ack(self.invite.cseq_number), self.dialog)
        if first:
            self._begin(response)

    def refused(self, error: Refused) -> None:
        """It does not come to a call."""
        self.rang.fail(error)
        self.answered.fail(error)
        self.end("there")

    def _begin(self, response: Response) -> None:
        try:
            self._talk(response.body)
        except (DescriptionError, ValueError) as error:
            self.answered.fail(Refused(488, str(error)))
        self.rang.set(response.status)
        self.answered.set(None)


class IncomingCall(Call):
    """The callee's end."""

    def __init__(self, phone: Phone, audio: Audio, transaction: ServerTransaction, tag: bytes) -> None:
        super().__init__(phone, audio)
        self.transaction = transaction
        self.invite = transaction.request
        self._tag = tag
        self._resending: IDelayedCall | None = None

    def ring(self) -> None:
        """Tell the caller that the phone rings."""
        self._phone.respond(self.transaction, self._response(180))

    def answer(self) -> None:
        """Accept; `answered` happens when the caller has acknowledged."""
        response = self._response(200)
        response.replace_body(self._phone.describe(self.audio), b"application/sdp")
        self.dialog = Dialog.of_callee(self.transaction.request, response)
        self._repeat(response, T1, 0.0)

    def decline(self, status: int) -> None:
        """Refuse the call with a status from 300 to 699."""
        self._phone.respond(self.transaction, self._response(status))
        self.end("here")

    def acknowledged(self) -> None:
        """The caller has the answer: talk."""
        self._stop_repeating()
        with suppress(DescriptionError, ValueError):
            self._talk(self.transaction.request.body)
        self.answered.set(None)

    def cancelled(self) -> None:
        """The caller has given up before the answer."""
        self._phone.respond(self.transaction, self._response(487))
        self.end("there")

    def end(self, who: str) -> None:
        """The call is over: silence."""
        self._stop_repeating()
        super().end(who)

    def _response(self, status: int) -> Response:
        response = self.transaction.request.response(status, to_tag=self._tag)
        if status < 300:
            response.append(b"Contact", self._phone.contact)
        return response

    def _repeat(self, response: Response, interval: float, elapsed: float) -> None:
        """Send the 2xx until its ACK comes (§13.3.1.4): that is no transaction's work."""
        self._phone.respond(self.transaction, response)
        if elapsed >= LIMIT:
            Deferred.fromCoroutine(self.hang_up()).addErrback(lambda failure: failure.trap(Refused))
            return
        self._resending = self._phone.reactor.callLater(
            interval, self._repeat, response, min(2 * interval, T2), elapsed + interval
        )

    def _stop_repeating(self) -> None:
        if self._resending is not None and self._resending.active():
            self._resending.cancel()
