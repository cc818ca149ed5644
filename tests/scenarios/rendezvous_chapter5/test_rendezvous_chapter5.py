"""Every command of the manual's chapter 5 against a live server with clients, a call, and messages.

`TABLE` has a row for each command: add one with each new command; a test asks for it.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from twisted.internet.threads import deferToThread

from crs.cli import COMMANDS
from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer
from crs.signaling.message import ClientData, ClientInfo, ClientToken, PushTokens
from crs.version import VERSION
from rtlib.command.registry import declared
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor

ALICE: Final = "+4671"
BOB: Final = "+4672"
CAROL: Final = "+4673"
MALLORY: Final = "+4674"
NOBODY: Final = "+4675"
TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
STATISTICS: Final = "\t".join(
    (
        "tel-uri",
        *("session-outgoing", "session-incoming"),
        *("message-outgoing", "message-incoming"),
        *("system-outgoing", "system-incoming"),
        "conference-calls",
        *("initiated-multi-session", "accepted-multi-session"),
        *("sent-group-call-invite", "accepted-group-call-invite"),
        *("current-offered", "current-confirmed", "next-offered", "next-confirmed"),
    )
)
SECRET: Final = r"[\w+/]+={0,2}"


@dataclass(frozen=True)
class Row:
    """A command line, and what it must print: each line as a regular expression over its cells."""

    words: str
    lines: tuple[str, ...] = ()
    """Cells are separated by ` | `, and by two spaces or more on the screen."""
    code: int = 0
    error: str = ""
    """Part of standard error, which is one line; empty where nothing must be printed there."""

    @property
    def is_shown(self) -> bool:
        """Whether it is something to look at, as JSON too."""
        return self.code == 0 and self.words.split()[0] in {"show", "list", "lookup", "check", "client-info"}


TABLE: Final = (
    Row("create account other -B32", (r"ID +other", r"path +.*/accounts/other", rf"shared secret +{SECRET}")),
    Row(
        "list account",
        ("ID | path | shared secret", f"{ACCOUNT} | .*/{ACCOUNT} | {SECRET}", "other | .* | .*"),
    ),
    Row(
        "create account spaced -s 'secret with spaces'",
        ("ID .*", "path .*", "shared secret +secretwithspaces"),
    ),
    Row("delete account spaced"),
    Row("create admin eve", ("Name +eve", rf"Secret +{SECRET}")),
    Row("create admin eve", code=1, error="administrator eve exists already"),
    Row("create admin e.v.e", code=2, error="name: must be"),
    Row("add admin-account eve other"),
    Row("add admin-account eve nobody", code=1, error="no account nobody"),
    Row("add admin-account-authorization eve other update"),
    Row("add admin-account-authorization eve other statistics"),
    Row("add admin-account-authorization eve other everything", code=2, error="everything"),
    Row("show admins", ("Admin | Accounts", "eve | other")),
    Row("show admin eve", ("Name | Secret", f"eve | {SECRET}")),
    Row("show admin-accounts eve", ("Account | Authorizations", "other | statistics,update")),
    Row("delete admin-account-authorization eve other update"),
    Row("delete admin-account-authorization eve other update", code=1, error="has no authorization update"),
    Row(f"delete admin-account eve {ACCOUNT}", code=1, error="has no access"),
    Row("add iw-crs 192.0.2.7 0123456789abcdef -c 'comment with spaces'"),
    Row("add iw-crs 192.0.2.7 0123456789abcdef", code=1, error="exists already"),
    Row("add iw-crs 192.0.2.256 0123456789abcdef", code=2, error="no IP address"),
    Row("add iw-crs 192.0.2.8 short", code=2, error="shared-secret: "),
    Row(
        "list iw-crs", ("IP | shared secret | comment", "192.0.2.7 | 0123456789abcdef | comment with spaces")
    ),
    Row(
        "show iw-crs",
        (
            "IW-CRS | SIGNAL-LINK | SIGNAL-OUTGOING | SIGNAL-INCOMING | DATA-LINK | DATA-OUTGOING"
            " | DATA-INCOMING | VERSION",
            "192.0.2.7 | down | down | down | down | down | down",
        ),
    ),
    Row("delete iw-crs 192.0.2.7"),
    Row("delete iw-crs 192.0.2.7", code=1, error="no iw-crs 192.0.2.7"),
    Row("reload account", ("2 accounts are loaded",)),
    Row("rotate secret other", ("ID .*", "path .*", "shared secret .*", rf"former until +{TIME}")),
    Row("rotate secret other", code=1, error="the former secret of other is still valid"),
    Row("rotate finish other", ("the former secret of other is not valid any more; 0 clients .*",)),
    Row("delete account other"),
    Row("show admins", ("Admin | Accounts", "eve")),
    Row("delete admin-account eve other", code=1, error="has no access to other"),
    Row("delete admin eve"),
    Row("delete admin eve", code=1, error="no administrator eve"),
    Row("create sharedSecret -b 129", (r"[\w+/]{23}=",)),
    Row("create sharedSecret -B32", (r"[\w+/]{43}=",)),
    Row(
        "show attach",
        (
            "URI | ACCOUNT | TIME | VERSION | IP:PORT | CRS",
            rf"\{ALICE} | {ACCOUNT} | \d+ | \S+ | 127.0.0.1:\d+ | crs1",
            rf"\{BOB} | {ACCOUNT} | \d+ | \S+ | 127.0.0.1:\d+ | crs1",
        ),
    ),
    # What has ended, or never began, is there for another 60 seconds.
    Row("show session", ("CALLER | CALLEE | TIME | STATE", "...", rf"\{ALICE} | \{BOB} | \d+ | talk")),
    Row(
        "show message",
        (
            "URI | POST | DELIV | READ | ACCOUNT | .*",
            rf"\{ALICE} | 1 | 1 | {TIME} | {ACCOUNT} | .*",
            rf"\{BOB} | 0 | 0 | {TIME} | {ACCOUNT} | .*",
            rf"\{CAROL} | 0 | 0 | .* | {ACCOUNT} | .*",
        ),
    ),
    Row("show system", ("SERVER | PROCESS | PID | SLOTS", r"crs1 | app: crs | \d+ | 0-1023")),
    Row("show version", (re.escape(VERSION),)),
    Row("show account", ("SERVER | MODULE | PID | LOADED ACCOUNTS", rf"crs1 | app:crs | \d+ | {ACCOUNT}")),
    Row(
        "show relay",
        (
            "Relay types:",
            "TYPE | rx | rxBytes | tx | txBytes",
            r"[\w-]+ | \d+ | \d+ | \d+ | \d+",
            "...",
            "Sent:",
            "packets | bytes | errorNoDest | error",
            r"\d+ | \d+ | \d+ | \d+",
            "",
            "Received:",
            "packets | bytes | errorTooShort | errorTooLong",
            r"\d+ | \d+ | \d+ | \d+",
        ),
    ),
    Row("show relays", ("TYPE | NODES | LAST ACTIVE | IDENTIFIERS", rf"rtp | \d | {TIME} | \d+,\d+")),
    Row("show services", ("Server | Service | Status", "crs1 | crs | active", "crs1 | crs_relay | active")),
    Row(
        "show updates", ("Account | Current Month | Next Month", f"{ACCOUNT} | Not Available | Not Available")
    ),
    Row("update-notification enable nobody", code=1, error="no account nobody"),
    Row("purge observed nobody", code=1, error="no account nobody"),
    Row("apply /nonexistent.upd", code=2, error="nonexistent.upd"),
    Row(f"show update {ACCOUNT}", ("MONTH | CREATED | LISTED | OFFERED | CONFIRMED",)),
    Row(f"update-notification enable {ACCOUNT}"),
    Row(f"update-notification disable {ACCOUNT}"),
    Row(f"list team-code {ACCOUNT}", ("CODE | MEMBERS",)),
    Row(f"show team-code {ACCOUNT} red", code=1, error=f"{ACCOUNT} has no team code red"),
    Row(f"lookup client {ACCOUNT} {ALICE}", ("SOURCE | URI | DOMAIN", rf"local | \{ALICE} | {ACCOUNT}")),
    Row(
        f"lookup client {ACCOUNT} {ALICE} -v",
        (
            "SOURCE | URI | DOMAIN | CLIENT TOKEN | DOMAIN TOKEN",
            rf"local | \{ALICE} | {ACCOUNT} | 746f6b656e",
        ),
    ),
    Row(f"lookup client {ACCOUNT} +4699", code=1, error="neither in"),
    Row(
        f"list observed {ACCOUNT}",
        ("URI | ATTACHED", rf"\{ALICE} | yes", rf"\{BOB} | yes", rf"\{CAROL} | no"),
    ),
    Row(f"purge observed {ACCOUNT}", (f"1 observed clients of {ACCOUNT} are purged",)),
    Row(
        f"show client-info {ACCOUNT}",
        (
            "Uri | Timestamp | Client Time | Scan Time | OS | OS Version | CCA Version",
            rf"\{ALICE} | {TIME} | 5[.]\d | 2026-01-02T03:04:05Z | Plan 9 | 4th | 1.2",
        ),
    ),
    Row(f"client-info {ACCOUNT}", ("Uri | .* | CCA Version", rf"\{ALICE} | .* | 1.2")),
    Row("summarize client-info", ("OS | Users", "Plan 9 4th | 1", "", "CCA Version | Users", "1.2 | 1")),
    Row("summarize client-info --os --max-age 1", ("OS | Users", "Plan 9 4th | 1")),
    Row("summarize client-info --client-version", ("CCA Version | Users", "1.2 | 1")),
    Row("summarize client-info --max-age 99999", code=2, error="--max-age"),
    Row(
        f"show push-token {ACCOUNT} {ALICE}",
        ("Created | Saved | Age | Client-Type | Tokens", rf"{TIME} | {TIME} | \d+ | apns | abc,def"),
    ),
    Row(f"show push-token {ACCOUNT} {BOB}", code=1, error=f"no push tokens of {BOB}@{ACCOUNT}"),
    Row(
        f"show client-storage {ACCOUNT}",
        (
            "Server | Uri | Bytes | Last Updated | Type",
            rf"crs1 | \{ALICE} | \d+ | {TIME} | client_info",
            rf"crs1 | \{ALICE} | \d+ | {TIME} | client_storage contacts",
            rf"crs1 | \{ALICE} | \d+ | {TIME} | client_token",
            rf"crs1 | \{ALICE} | \d+ | {TIME} | push_token",
        ),
    ),
    Row(f"delete client-info {ACCOUNT} {ALICE}"),
    Row(f"delete client-info {ACCOUNT} {ALICE}", code=1, error="no client info"),
    Row(
        f"stats export {ACCOUNT}",
        (STATISTICS, rf"\{ALICE}\t2\t0\t1\t.*", rf"\{BOB}\t0\t2\t0\t1\t.*"),
    ),
    Row(f"stats disable {ACCOUNT}"),
    Row(f"stats clear {ACCOUNT}"),
    Row(
        f"stats export {ACCOUNT}",
        ("tel-uri.*", rf"\{ALICE}(\t0){{11}}(\tno){{4}}", rf"\{BOB}(\t0){{11}}(\tno){{4}}"),
    ),
    Row(f"stats enable {ACCOUNT}"),
    Row("stats enable nobody", code=1, error="no account nobody"),
    Row("check slot +4612345", ("SLOT +444", "PRIMARY +crs1", "SECONDARY")),
    Row(f"wakeup client {ACCOUNT} {ALICE}", code=1, error="push notifications are off"),
    Row(f"blacklist add {ACCOUNT} +4699"),
    Row(f"show blacklist {ACCOUNT}", ("URI", r"\+4699")),
    Row(f"blacklist remove {ACCOUNT} +4699"),
    Row(f"create conference-room 123456 {ACCOUNT} {ALICE}"),
    Row("list conference-room", ("CONFERENCE-ROOM | ACCOUNT | URI", rf"123456 | {ACCOUNT} | \{ALICE}")),
    Row(
        f"lookup conference-room 123456 {ACCOUNT}",
        ("CONFERENCE-ROOM | DOMAIN | URI", rf"123456 | {ACCOUNT} | \{ALICE}"),
    ),
    Row(f"lookup conference-room 654321 {ACCOUNT}", code=1, error="can dial no conference room 654321"),
    Row(f"delete conference-room 123456 {ACCOUNT} {ALICE}"),
    Row(f"delete conference-room 123456 {ACCOUNT} {ALICE}", code=1, error="123456"),
    Row("backup", (r".*/backup/crs-backup-crs1-\d{4}-\d\d-\d\d-\d{6}[.]tar",)),
    Row("health-check system --local-only --output-format summary", ("ok",)),
    Row(f"health-check account {ACCOUNT} --output-format summary --local-only", ("ok",)),
    Row(f"purge client {ACCOUNT} +4699", code=1, error="not connected"),
    Row("purge clients nobody", code=1, error="there is no account nobody"),
    # The last: it ends the server.
    Row("drain --patience 0", (".*",)),
)

TRACES: Final = {
    "attach": tuple(
        rf"event, {TIME}, \d+, primary, \{uri}, {ACCOUNT}, 127.0.0.1, \d+, {state}, .*"
        for uri, state in ((BOB, "registered"), (CAROL, "unregistered"), (MALLORY, "denied"))
    ),
    "session": tuple(
        rf"event, {TIME}, \{ALICE}, \{callee}, {state}, {ACCOUNT}, .*"
        for callee, state in (
            (BOB, "invite"),
            (BOB, "ringing"),
            (BOB, "talk"),
            (BOB, r"hangup\(decline; callee\)"),
            (CAROL, "responder not connected"),
            (NOBODY, "responder not found"),
        )
    ),
    "message": tuple(
        rf"event, {TIME}, \{sender}, \{recipient}, {state}, {ACCOUNT}, \S+"
        for sender, recipient, state in (
            (ALICE, BOB, "posted content"),
            (ALICE, BOB, "delivered"),
            (BOB, ALICE, "posted ack"),
            (ALICE, NOBODY, "not-found"),
        )
    ),
    "object": tuple(
        rf"event, {TIME}, \{ALICE}, update {item}"
        for item in ("client_info", "push_token", "client_storage", "client_token")
    ),
    "event": (rf"[\w-]+, dbg, {TIME}, .*",),
    "connection": tuple(
        rf"event, {TIME}, \d+, {user}, 127.0.0.1, \d+, {state}"
        for user, state in (
            ("unknown, unknown", "connected"),
            (rf"client, \{BOB}@{ACCOUNT}", "authenticated"),
            (rf"client, \{BOB}@{ACCOUNT}", "negotiated"),
            (rf"client, \{CAROL}@{ACCOUNT}", "closed"),
        )
    ),
    "statistics": tuple(
        rf"event, {TIME}, {kind}, \{uri}, {ACCOUNT}"
        for kind, uri in (
            ("session-outgoing", ALICE),
            ("session-incoming", BOB),
            ("message-outgoing", ALICE),
            ("message-incoming", BOB),
        )
    ),
}
"""Lines that each trace must show: every state of the manual that one server has."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


def test_the_table_has_every_command() -> None:
    """And `TRACES` every element that can be traced."""
    names = [spec.name for spec in declared(*COMMANDS)]
    lines = [row.words for row in TABLE] + [f"trace {element}" for element in TRACES]
    missing = [name for name in names if not any(f"{line} ".startswith(f"{name} ") for line in lines)]
    assert missing == []


@pytest.mark.timeout(600)
def test_every_command(server: CrsServer) -> None:
    reactor = installed_reactor()

    async def story() -> None:
        traces = [server.trace(element) for element in TRACES]
        for trace in traces:
            trace.__enter__()
        await deferToThread(server.cli, "stats", "enable", ACCOUNT)
        try:
            alice, bob = await stage(server, reactor)
            for element, trace in zip(TRACES, traces, strict=True):
                for line in TRACES[element]:
                    await deferToThread(trace.wait_for_text, f"(?m)^{line}$")
        finally:
            for trace in traces:
                await deferToThread(trace.__exit__, None, None, None)
        problems = []
        for row in TABLE:
            problems.append(await deferToThread(problem_of, server, row))
            if row.is_shown:
                problems.append(await deferToThread(json_problem_of, server, row))
        assert [problem for problem in problems if problem] == []
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=600)


async def stage(server: CrsServer, reactor: Any) -> tuple[Any, Any]:
    """Two clients in a call, one of which has left a message and keeps things at the server.

    Before that: whom others cannot reach, and who may not attach.
    """
    alice, _ = await server.attached(reactor, ALICE)
    bob, news = await server.attached(reactor, BOB)
    now = time.time()
    await alice.store(
        ClientInfo(time=now + 5.5, scanned=1767323045.0, os="Plan 9", os_version="4th", version="1.2")
    )
    await alice.store(PushTokens(client_type="apns", tokens=["abc", "def"], created=now))
    await alice.store(ClientData(name="contacts", data=b"sealed"))
    await alice.store(ClientToken(token=b"token"))
    await alice.post(BOB, b"text")
    await news.messages.get()
    await deferToThread(server.cli, "blacklist", "add", ACCOUNT, MALLORY)
    carol, _ = await server.attached(reactor, CAROL)
    await carol.detach()
    await carol.close()
    mallory, _ = server.client(reactor, MALLORY)
    await mallory.connect()
    for attempt in (
        mallory.attach(),
        alice.call(CAROL),
        alice.call(NOBODY),
        alice.post(NOBODY, b"text"),
    ):
        with pytest.raises(Refused):
            await attempt
    await mallory.close()
    await deferToThread(server.cli, "blacklist", "remove", ACCOUNT, MALLORY)
    declined = await alice.call(BOB)
    await (await news.calls.get()).decline()
    await declined.ended.wait()
    call = await alice.call(BOB)
    incoming = await news.calls.get()
    await incoming.ring()
    await incoming.answer()
    await call.answered.wait()
    return alice, bob


def problem_of(server: CrsServer, row: Row) -> str:
    """Runs a command; what is wrong with its answer, or nothing."""
    done = server.cli(*shlex.split(row.words))
    if done.returncode != row.code:
        return f"{row.words}: exit code {done.returncode}, {done.stdout}{done.stderr}"
    error = done.stderr.splitlines()
    if row.error not in done.stderr or len(error) != bool(row.error):
        return f"{row.words}: standard error is {done.stderr!r}"
    lines = done.stdout.splitlines()
    wanted = [re.compile(line.replace(" | ", " {2,}")) for line in row.lines if line != "..."]
    if "..." not in row.lines and len(lines) != len(wanted):
        return f"{row.words}: {len(lines)} lines: {done.stdout!r}"
    for pattern in wanted:
        if not any(pattern.fullmatch(line.rstrip()) for line in lines):
            return f"{row.words}: no line like {pattern.pattern!r} in {done.stdout!r}"
    return ""


def json_problem_of(server: CrsServer, row: Row) -> str:
    """As `problem_of`, of its JSON: which has no secrets, for it goes on to other programs and their logs."""
    done = server.cli(*shlex.split(row.words), "--json")
    try:
        json.loads(done.stdout)
    except ValueError as error:
        return f"--json {row.words}: {error}: {done.stdout!r}{done.stderr!r}"
    secrets = (b64encode(server.secret).decode(), "abc", "0123456789abcdef")
    return f"--json {row.words}: a secret" if any(secret in done.stdout for secret in secrets) else ""
