"""The operator's commands, called as the command socket calls them."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from crs.accounts import Accounts
from crs.admins import Admins
from crs.blacklist import Blacklists
from crs.cli import COMMANDS
from crs.commands.account import AccountCommands, AccountRow
from crs.commands.files import AccountFiles
from crs.commands.secret import SecretCommands
from crs.commands.show import AttachRow, MessageRow, SessionRow, ShowCommands
from crs.commands.trace import TraceCommands
from crs.commands.version import VersionCommands
from crs.doorway import ConnectionEvent
from crs.identity import Identity
from crs.rooms import Rooms
from crs.signaling import message
from crs.signaling.event import AttachEvent, MessageEvent, SessionEvent
from crs.signaling.message import Kind, RelayKind
from crs.signaling.testing import START, WALL, World
from crs.version import VERSION
from rtlib.command import render
from rtlib.command.registry import BadArgument, Conflict, NotFound, Registry, declared


class Dropped:
    """Notes which accounts' clients were dropped."""

    def __init__(self) -> None:
        self.accounts: list[str] = []

    def __call__(self, account: str) -> Awaitable[None]:
        self.accounts.append(account)
        return succeed(None)


def in_this_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    return succeed(function(*arguments))


def call(registry: Registry, name: str, **arguments: Any) -> Any:
    """The reply of a command that does not really wait."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(registry.call(name, arguments)).addBoth(outcome.append)
    [result] = outcome
    if hasattr(result, "raiseException"):
        result.raiseException()
    return result


@pytest.fixture
def dropped() -> Dropped:
    return Dropped()


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path)


@pytest.fixture
def registry(accounts: Accounts, dropped: Dropped, tmp_path: Path) -> Registry:
    registry = Registry()
    files = AccountFiles(accounts, Blacklists(tmp_path), Rooms(tmp_path), in_this_thread)
    for owner in (
        AccountCommands(files, Admins(tmp_path / "admins"), dropped),
        SecretCommands(),
        VersionCommands(),
    ):
        registry.add(owner)
    return registry


def test_an_account_from_create_to_delete(
    registry: Registry, accounts: Accounts, dropped: Dropped, tmp_path: Path
) -> None:
    made = call(registry, "create account", account_id="acc")
    assert len(base64.b64decode(made.secret)) == 16
    assert accounts.key(b"+46@acc") is not None
    assert call(registry, "list account") == [AccountRow("acc", str(tmp_path / "acc"), made.secret)]
    with pytest.raises(Conflict):
        call(registry, "create account", account_id="acc")
    assert call(registry, "delete account", account_id="acc") is None
    assert dropped.accounts == ["acc", "acc"], "the first time in case there was something left of it"
    assert accounts.key(b"+46@acc") is None and not list(tmp_path.iterdir())
    with pytest.raises(NotFound):
        call(registry, "delete account", account_id="acc")


def test_a_given_secret_and_its_lengths(registry: Registry) -> None:
    assert call(registry, "create account", account_id="a", secret="c2VjcmV0").secret == "c2VjcmV0"
    assert len(base64.b64decode(call(registry, "create sharedSecret", octets=32))) == 32
    assert len(base64.b64decode(call(registry, "create sharedSecret", bits=129))) == 17


@pytest.mark.parametrize(
    "arguments",
    [
        {"account_id": "a b"},
        {"account_id": "a" * 21},
        {"account_id": "../x"},
        {"account_id": "a", "secret": "not base64!"},
        {"account_id": "a", "secret": ""},
        {"account_id": "a", "secret": "YQ==", "bits": 8},
        {"account_id": "a", "bits": 8, "octets": 1},
        {"account_id": "a", "bits": 0},
        {"account_id": "a", "octets": -5},
    ],
)
def test_wrong_arguments(registry: Registry, arguments: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        call(registry, "create account", **arguments)


def test_show_has_the_columns_of_the_manual() -> None:
    world = World()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    one.ask(message.Invite, session="t", to="+9", streams=[RelayKind.rtp])
    two.ask(message.Post, message="m", to="+1", payload=b"x")
    two.ask(message.Post, message="n", to="+1", payload=b"x", system=True)
    world.advance(7)
    show = ShowCommands(world.machine, None, "crs1", now=lambda: world.now, wall=lambda: 0.0)  # type: ignore[arg-type]  # no relay command is called here
    assert render.text(show.attach(), list[AttachRow]).splitlines()[:2] == [
        "URI  ACCOUNT  TIME  VERSION  IP:PORT         CRS",
        "+1   a        7     test     192.0.2.1:1025  crs1",
    ]
    assert render.text(show.session(), list[SessionRow]).splitlines() == [
        "CALLER  CALLEE  TIME  STATE",
        "+1      +9      0     responder not found",
        "+1      +2      7     invite",
    ]
    assert render.text(show.message(), list[MessageRow]).splitlines() == [
        "URI  POST  DELIV  READ                  ACCOUNT  SYSPOST  SYSDELIV",
        "+1   0     0      2023-11-14T22:13:20Z  a        0        0",
        "+2   1     0      2023-11-14T22:13:20Z  a        1        0",
    ]
    one.ask(message.Hangup, session="s", caller="+1")
    world.advance(30)
    assert show.session()[-1] == SessionRow("+1", "+2", 7, "hangup(cancel; caller)")
    world.advance(31)
    assert show.session() == []


def test_traces_have_the_fields_of_the_manual() -> None:
    world = World()
    trace = TraceCommands(lambda: WALL + world.now - START, lambda watcher: None)
    streams = [trace.attach(), trace.session(), trace.message()]
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    two.ask(message.Post, message="m", to="+1", payload=b"x")
    one.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    for event in world.events:
        if isinstance(event, AttachEvent | SessionEvent | MessageEvent):
            trace.publish(event)
    trace.close()
    assert [_lines(stream)[0] for stream in streams] == [
        "event, 2023-11-14T22:13:20Z, 1, primary, +1, a, 192.0.2.1, 1025, registered, test\n",
        "event, 2023-11-14T22:13:20Z, +1, +2, invite, a, s\n",
        "event, 2023-11-14T22:13:20Z, +2, +1, posted content, a, m\n",
    ]
    assert trace.totals == {
        ("attach", "registered"): 2,
        ("session", "invite"): 1,
        ("message", "posted content"): 1,
    }


def test_the_trace_of_what_is_counted() -> None:
    world = World()
    trace = TraceCommands(lambda: WALL, lambda watcher: None)
    stream = trace.statistics()
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    test = world.connect("urn:x-crs:client:test-1-crs1").attach()
    for phone in (one, test):
        phone.ask(message.Post, message="m", to="+2", payload=b"x")
        phone.ask(message.Invite, session="s", to="+2", streams=[RelayKind.rtp])
    two.ask(message.Post, message="m", to=test.client.uri, payload=b"x")
    two.ask(message.Ack, kind=Kind.content, message="m", sender="+1", account="a")
    one.ask(
        message.PostGroup,
        message="n",
        to=[message.Recipient(uri="+2"), message.Recipient(uri="+1")],
        payload=b"x",
        system=True,
    )
    two.ask(message.Ack, kind=Kind.content, message="n", sender="+1", account="a")
    for event in world.events:
        if isinstance(event, AttachEvent | SessionEvent | MessageEvent):
            trace.publish(event)
    trace.close()
    assert [line.split(", ", 2)[2] for line in _lines(stream)] == [
        "message-outgoing, +1, a\n",
        "session-outgoing, +1, a\n",
        "session-incoming, +2, a\n",
        "session-incoming, +2, a\n",
        "message-outgoing, +2, a\n",
        "message-incoming, +2, a\n",
        "system-outgoing, +1, a\n",
        "system-outgoing, +1, a\n",
        "system-incoming, +2, a\n",
    ]


def test_a_trace_costs_nothing_while_nobody_watches() -> None:
    """No row is made: not even the time is asked for."""

    def clock() -> float:
        raise AssertionError

    trace = TraceCommands(clock, lambda watcher: None)
    client = Identity("+1", "acc")
    trace.publish(AttachEvent(1, client, "192.0.2.1", 1, "registered", ""))
    trace.publish_object(client, "update client_token")
    trace.publish_connection(ConnectionEvent(1, client, "192.0.2.1", 1, "closed"))
    assert trace.totals == {("attach", "registered"): 1}


def test_the_log_is_watched_only_while_somebody_traces_it() -> None:
    watchers: list[Any] = []
    trace = TraceCommands(lambda: WALL, watchers.append)
    first, second = trace.event(), trace.event()
    [watcher] = watchers
    watcher("relay", WALL, "a line")
    first.close()
    assert watchers == [watcher]
    second.close()
    assert watchers == [watcher, None]
    assert _lines(second) == ["relay, dbg, 2023-11-14T22:13:20Z, a line\n"]


def test_every_command_says_what_it_does() -> None:
    names = {spec.name for spec in declared(*COMMANDS)}
    assert {
        "create account",
        "create sharedSecret",
        "list account",
        "delete account",
        "show attach",
        "show session",
        "show message",
        "show relays",
        "show version",
        "trace attach",
        "trace session",
        "trace message",
    } <= names


def test_version(registry: Registry) -> None:
    assert call(registry, "show version") == VERSION


def _lines(stream: Any) -> list[str]:
    async def read() -> list[str]:
        return [render.trace_line(row) async for row in stream]

    outcome: list[Any] = []
    Deferred.fromCoroutine(read()).addBoth(outcome.append)
    lines: list[str] = outcome[0]
    return lines
