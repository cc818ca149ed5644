"""What the commands of `crs-client` do once they are connected; they print a line for whatever happens."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react

from crs.client.call import Call, IncomingCall
from crs.client.change import IncomingChange
from crs.client.client import VERSION, Client, new_label
from crs.client.credentials import Credentials, Server
from crs.client.error import ClientError, Closed
from crs.client.group import GroupCall
from crs.client.lasting import LastingClient
from crs.client.listener import Listener
from crs.client.report import report_call, report_group, save, say, user_files
from crs.client.sealing import Route, SealError, seal, unseal
from crs.client.updates import Keeper
from crs.identity import Identity
from crs.signaling.message import Attached, ClientData, ClientInfo, Deliver, ItemKind, Offer, Recipient
from rtlib.audio import wav
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine
from rtlib.outcome import Outcome

RING_SECONDS: Final = 60.0
"""How long `call` waits for an answer."""


@dataclass(frozen=True)
class Access:
    """Where to connect to, as whom, and the end-to-end secret if there is one."""

    server: Server
    credentials: Credentials
    secret: bytes | None = field(repr=False)

    def client(self, reactor: Any, listener: Listener | None = None) -> Client:
        """A client that is not connected yet."""
        return LastingClient(reactor, self.server, self.credentials, listener, secret=self.secret)


@dataclass(frozen=True)
class Audio:
    """What to play in a call, and how long it lasts at most; None for as long as the other party likes."""

    tone: float
    wav: Path | None
    seconds: float | None

    def frames(self) -> Iterator[bytes]:
        """The audio as frames of 20 ms. Raises ClientError for a file that cannot be played."""
        with user_files():
            return frames(wav.read(self.wav) if self.wav is not None else sine(self.tone))


@dataclass(frozen=True)
class Folders:
    """Where `listen` puts files; None for nowhere."""

    recordings: Path | None = None
    """One WAV file for each call."""
    updates: Path | None = None
    """One file for each month."""


def run(work: Callable[[Any], Coroutine[Deferred[Any], Any, None]]) -> NoReturn:
    """Run a command on the reactor and exit: 0, or 1 with the error on standard error."""

    async def guarded(reactor: Any) -> None:
        try:
            await work(reactor)
        except ClientError as error:
            sys.stderr.write(f"crs-client: {error}\n")
            raise SystemExit(1) from error

    react(lambda reactor: Deferred.fromCoroutine(guarded(reactor)))


async def attach(reactor: Any, access: Access, seconds: float) -> None:
    """Attach, and stay for a while."""
    client = access.client(reactor)
    await _attach(reactor, access, client)
    await _stay(reactor, client, seconds)
    await client.close()


async def send(reactor: Any, access: Access, to: Sequence[Identity], text: str, ttl: int | None) -> None:
    """Post one message, sealed if there is an end-to-end secret. Raises ClientError if nobody gets it."""
    client = access.client(reactor)
    await _attach(reactor, access, client)
    own = access.credentials
    label = new_label()
    sealed = "encrypted end to end" if access.secret else "not encrypted end to end: no --e2e-secret-file"
    if len(to) == 1:
        [one] = to
        payload = seal(text, Route(label, own.uri, own.account, one.uri, one.account), access.secret)
        await client.post(one.uri, payload, account=one.account, label=label, ttl=ttl)
        say(f"posted {label} to {one}, {sealed}")
    else:
        payload = seal(text, Route(label, own.uri, own.account), access.secret)
        recipients = [Recipient(uri=each.uri, account=each.account) for each in to]
        results = await client.post_group(recipients, payload, label=label, ttl=ttl)
        for each, result in zip(to, results, strict=True):
            done = f"posted {label} to {each}, {sealed}"
            say(done if result.code is None else f"not posted to {each}: {result.reason} ({result.code})")
        if all(result.code is not None for result in results):
            raise ClientError("nobody gets the message")
    await client.close()


async def put(reactor: Any, access: Access, name: str, data: bytes) -> None:
    """Keep data at the server under a name."""
    client = access.client(reactor)
    await _attach(reactor, access, client)
    await client.store(ClientData(name=name, data=data))
    say(f"stored {len(data)} bytes as {name}")
    await client.close()


async def get(reactor: Any, access: Access, name: str, file: Path) -> None:
    """Write what is kept at the server under a name into a file. Raises ClientError if there is nothing."""
    client = access.client(reactor)
    await _attach(reactor, access, client)
    fetched = await client.fetch(ItemKind.data, name)
    await client.close()
    if not isinstance(fetched.item, ClientData):
        raise ClientError(f"nothing is stored as {name}")
    save(file, fetched.item.data)
    say(f"fetched {len(fetched.item.data)} bytes, stored {datetime.fromtimestamp(fetched.saved, UTC)}")


async def take_updates(reactor: Any, access: Access, directory: Path, seconds: float) -> None:
    """Keep the monthly updates that are offered, and confirm them."""
    collector = Collector(directory)
    client = collector.client = access.client(reactor, collector)
    await _attach(reactor, access, client)
    await _stay(reactor, client, seconds)
    await collector.keeper.settle()
    await client.close()
    if not collector.offered_any:
        say("there is no update to take")


async def call(
    reactor: Any, access: Access, to: Identity, audio: Audio, record: Path | None, *, add_streams: int = 0
) -> None:
    """Call somebody, play, and record what arrives; `add_streams` are added once the parties talk."""
    played = audio.frames()
    client = access.client(reactor)
    await _attach(reactor, access, client)
    try:
        outgoing = await client.call(to.uri, to.account)
        say(f"calling {to}")
        rang = outgoing.rang.wait()
        rang.addCallbacks(lambda _: say(f"{to} rings"), lambda failure: failure.trap(ClientError))
        try:
            await outgoing.answered.wait().addTimeout(RING_SECONDS, reactor)
        except TimeoutError:
            raise ClientError(f"{to} has not answered within {RING_SECONDS:.0f} s") from None
        say(f"{to} has answered")
        if add_streams:
            await outgoing.change(add=add_streams)
            say(f"{len(outgoing.streams)} streams")
            with suppress(Closed):
                for stream in outgoing.streams[1:]:
                    stream.play(audio.frames())
        await _talk(reactor, outgoing, played, audio.seconds)
        await outgoing.hangup()
        report_call(outgoing, await outgoing.ended.wait(), record)
    finally:
        await client.close()


async def group(
    reactor: Any, access: Access, to: Sequence[Identity], audio: Audio, directory: Path | None
) -> None:
    """Begin a group call, play to all, and record each of them."""
    await _together(reactor, access, lambda client: client.open_group(to), audio, directory)


async def join(
    reactor: Any,
    access: Access,
    room: tuple[str, str | None],
    audio: Audio,
    directory: Path | None,
) -> None:
    """Enter a conference room, named by number and account; play to all, and record each of them."""
    await _together(reactor, access, lambda client: client.dial(*room), audio, directory)


async def listen(
    reactor: Any, access: Access, audio: Audio | None, folders: Folders, seconds: float | None
) -> None:
    """Print what arrives, until interrupted or until the time is over; answer calls where there is audio."""
    listener = Doorman(reactor, access, audio, folders)
    client = listener.client = access.client(reactor, listener)
    await _attach(reactor, access, client)
    await _stay(reactor, client, seconds)
    await client.close()


async def _together(
    reactor: Any,
    access: Access,
    enter: Callable[[Client], Coroutine[Any, Any, GroupCall]],
    audio: Audio,
    directory: Path | None,
) -> None:
    """Connect, enter a group, stay until the audio or the time is over or the group ends, and leave."""
    played = audio.frames()
    client = access.client(reactor)
    await _attach(reactor, access, client)
    try:
        call = await enter(client)
        for refused in call.refused:
            say(f"{refused.uri}@{refused.account} cannot be invited: {refused.code}")
        await _take_part(reactor, call, played, audio.seconds)
        report_group(call, await call.ended.wait(), directory)
    finally:
        await client.close()


async def _take_part(reactor: Any, call: GroupCall, played: Iterator[bytes], seconds: float | None) -> None:
    """Play in a group that we are in, and then leave it."""
    assert call.stream is not None
    say("in a group with " + ", ".join(f"{who} {member.state}" for who, member in call.members.items()))
    call.told = lambda member: say(
        f"{member.uri}@{member.account} {member.state}" + (f": {member.reason}" if member.reason else "")
    )
    over: Outcome[object] = Outcome()
    call.ended.wait().addCallback(over.set)
    with suppress(Closed):  # the group has ended meanwhile
        call.stream.play(played).addCallbacks(over.set, lambda failure: over.fail(failure.value))
    await _at_most(reactor, over, seconds)
    await call.leave()


class Collector(Listener):
    """Takes the monthly updates that are offered; messages and calls are for another time."""

    client: Client

    def __init__(self, directory: Path) -> None:
        self.keeper = Keeper(directory, say)
        self.offered_any = False

    def offered(self, offer: Offer) -> None:
        """Take it."""
        self.offered_any = True
        self.keeper.take(self.client, offer)


class Doorman(Listener):
    """Prints messages and calls, and answers calls where there is audio to answer with."""

    client: Client

    def __init__(self, reactor: Any, access: Access, audio: Audio | None, folders: Folders) -> None:
        self._reactor = reactor
        self._access = access
        self._audio = audio
        self._directory = folders.recordings
        self._keeper = Keeper(folders.updates, say) if folders.updates is not None else None

    def offered(self, offer: Offer) -> None:
        """Take an update where there is a place for it, else say that there is one."""
        if self._keeper is None:
            say(f"update for {offer.month} is offered; crs-client updates takes it")
        else:
            self._keeper.take(self.client, offer)

    def incoming(self, call: IncomingCall) -> None:
        """Answer, or refuse as busy."""
        say(f"call from {call.parties.caller}@{call.parties.caller_account}")
        if self._audio is None:
            super().incoming(call)
            return
        self._attend(self._answer(call, self._audio), "call")

    def changing(self, change: IncomingChange) -> None:
        """Accept a change of streams to ones of audio."""
        if self._audio is None or not change.is_audio:
            super().changing(change)
            return
        self._attend(self._accept(change, self._audio), "change")

    def group(self, call: GroupCall) -> None:
        """Join a group call, or refuse as busy."""
        say(f"group call from {call.caller} with {', '.join(map(str, call.members))}")
        if self._audio is None:
            super().group(call)
            return
        self._attend(self._join(call, self._audio), "group call")

    def message(self, item: Deliver) -> bool:
        """Print a message; printed is kept, so confirm it."""
        own = self._access.credentials
        route = Route(item.message, item.sender, item.account, own.uri, own.account)
        try:
            text = unseal(item.payload, route, self._access.secret)
        except SealError as error:
            say(f"message {item.message} from {item.sender}@{item.account} left in the mailbox: {error}")
            return False
        say(f"message {item.message} from {item.sender}@{item.account}: {text}")
        return True

    def receipt(self, item: Deliver) -> bool:
        """Print that a message was read."""
        say(f"message {item.message} was confirmed by {item.sender}@{item.account}")
        return True

    def interrupted(self, reason: ClientError) -> None:
        """Say that nothing comes for now."""
        say(f"{reason}; connecting again")

    def returned(self, attached: Attached) -> None:
        """Say that things come again."""
        say("attached again" + (", nothing was missed" if attached.resumed else ""))

    def detached(self, reason: str) -> None:
        """Say that nothing more will come."""
        say(f"detached: {reason}")

    def _attend(self, work: Coroutine[Deferred[Any], Any, None], what: str) -> None:
        async def attend() -> None:
            try:
                await work
            except ClientError as error:
                say(f"{what} failed: {error}")

        Deferred.fromCoroutine(attend())

    async def _accept(self, change: IncomingChange, audio: Audio) -> None:
        await change.accept()
        say(f"{len(change.call.streams)} streams")
        with suppress(Closed):
            for stream in change.streams:
                stream.play(audio.frames())

    async def _join(self, call: GroupCall, audio: Audio) -> None:
        played = audio.frames()
        await call.ring()
        await call.join()
        await _take_part(self._reactor, call, played, audio.seconds)
        report_group(call, await call.ended.wait(), self._directory)

    async def _answer(self, call: IncomingCall, audio: Audio) -> None:
        played = audio.frames()
        await call.ring()
        await call.answer()
        say("answered")
        await _talk(self._reactor, call, played, audio.seconds)
        await call.hangup()
        file = self._directory / f"{call.parties.session}.wav" if self._directory is not None else None
        report_call(call, await call.ended.wait(), file)


async def _attach(reactor: Any, access: Access, client: Client) -> None:
    """Connect, attach, and tell the operator what runs here; ctrl-c hangs up and closes from now on."""
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(client.close()))
    await client.connect()
    attached = await client.attach()
    say(f"attached as {attached.uri}@{attached.account} at {access.server} ({attached.server})")
    await client.store(
        ClientInfo(
            time=time.time(), os=platform.system(), os_version=platform.release()[:64], version=VERSION
        )
    )


async def _stay(reactor: Any, client: Client, seconds: float | None) -> None:
    """Wait until the time is over; None for ever. Raises Closed when the connection is lost."""
    lost = client.lost.wait()
    if seconds is not None:
        lost.addTimeout(seconds, reactor)
    with suppress(TimeoutError):
        reason = await lost
        if not client.closing:
            raise reason


async def _talk(reactor: Any, call: Call, played: Iterator[bytes], seconds: float | None) -> None:
    """Play until the audio or the time is over, or somebody hangs up."""
    over: Outcome[object] = Outcome()
    call.ended.wait().addCallback(over.set)
    with suppress(Closed):  # the call has ended meanwhile
        call.streams[0].play(played).addCallbacks(over.set, lambda failure: over.fail(failure.value))
    await _at_most(reactor, over, seconds)


async def _at_most(reactor: Any, over: Outcome[object], seconds: float | None) -> None:
    """Wait, but not longer than this."""
    waiting = over.wait()
    if seconds is not None:
        waiting.addTimeout(seconds, reactor)
    with suppress(TimeoutError):
        await waiting
