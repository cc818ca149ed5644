"""A change of a call's streams that the other party has offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crs.client.error import ClientError
from crs.client.keying import StreamKeys, accept
from crs.client.media import MediaStream
from crs.signaling.message import AcceptChange, ChangeOffered, Ok, RefuseChange, RelayKind

if TYPE_CHECKING:
    from crs.client.call import Call


class IncomingChange:
    """`accept` or `refuse` it, now or later."""

    def __init__(self, call: Call, offered: ChangeOffered) -> None:
        self.call = call
        self.label = offered.change
        self.remove = offered.remove
        self._offered = offered
        self.streams: list[MediaStream] = []
        """Those that were added, once it is accepted."""

    @property
    def is_audio(self) -> bool:
        """Whether all streams to be added are ones that this client can use."""
        return all(relay.kind is RelayKind.rtp for relay in self._offered.relays)

    async def accept(self) -> None:
        """Bind the new legs, agree on the keys, tell the other party. Raises ClientError."""
        call, relays = self.call, self._offered.relays
        payload, keys = b"", list[StreamKeys]()
        self.streams = call.make_streams(relays)
        try:
            if relays:
                parties = call.changing(self.label, own=False)
                payload, keys = accept(parties, self._offered.payload, len(relays), call.secret)
            for stream, stream_keys in zip(self.streams, keys, strict=True):
                await stream.open()
                stream.secure(stream_keys, caller=False)
            session, caller = call.parties.session, call.parties.caller
            await call.exchange.ask(
                lambda number: AcceptChange(
                    id=number, session=session, caller=caller, change=self.label, payload=payload
                ),
                Ok,
            )
        except ClientError:
            await call.discard(self.streams)
            await self.refuse()
            raise
        await call.replace(self.remove, self.streams)

    async def refuse(self) -> None:
        """The call stays as it is."""
        session, caller = self.call.parties.session, self.call.parties.caller
        await self.call.exchange.ask(
            lambda number: RefuseChange(id=number, session=session, caller=caller, change=self.label), Ok
        )
