"""An empty machine with a restored back-up shows all that the old one showed, and serves its clients."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Final

from crs.cli import COMMANDS, main
from crs.client.testing import ACCOUNT, CrsServer
from crs.cms.testing import Cms
from crs.signaling.message import ClientData, ClientInfo, ClientToken, ItemKind, PushTokens, TeamCode
from crs.update.month import Month
from rtlib.command.registry import Spec, declared
from rtlib.testing.daemon import ROOT
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.program import ended

ALICE: Final = "+4601"
BOB: Final = "+4602"
NEW: Final = b"another secret!!"
MADE: Final = (
    "create account blue -s c2VjcmV0IHNlY3JldCBzZWNyZXQ=",
    f"stats enable {ACCOUNT}",
    f"update-notification enable {ACCOUNT}",
    "blacklist add blue +9",
    f"blacklist add {ACCOUNT} +9",
    f"create conference-room 123456 {ACCOUNT} {ALICE}",
    "create conference-room 123456 blue +1",
    "create admin eve",
    "create admin adam",
    "add admin-account eve blue",
    f"add admin-account eve {ACCOUNT}",
    f"add admin-account-authorization eve {ACCOUNT} update",
    "add iw-crs 192.0.2.7 0123456789abcdef -c 'the other house'",
    "add iw-crs 2001:db8::1 0123456789abcdef",
)
VOLATILE: Final = {"show attach", "show session", "show relay", "show relays", "show system", "show account"}
"""What goes on now, and in which process."""
WORDS: Final = {
    "account_id": (ACCOUNT, "blue"),
    "name": ("eve", "adam"),
    "uri": (ALICE,),
    "team_code": ("red",),
}


def ok(server: CrsServer, line: str) -> str:
    done = ended(main, "--home", str(server.home), *shlex.split(line))
    assert (done.code, done.err) == (0, ""), (line, done)
    return done.out


def lines(spec: Spec) -> list[str]:
    """The command with all arguments that there are."""
    known = [WORDS[each.name] for each in spec.parameters if each.required]
    return [" ".join((spec.name, *words)) for words in product(*known)]


def everything(server: CrsServer) -> dict[str, object]:
    """What all commands show that do not look at the moment: as text with its secrets, and as JSON."""
    specs = [spec for spec in declared(*COMMANDS) if spec.words[0] in {"show", "list"}]
    shown: dict[str, object] = {}
    for line in (line for spec in specs if spec.name not in VOLATILE for line in lines(spec)):
        for option in ("", "--json "):
            done = ended(main, "--home", str(server.home), *(option + line).split())
            # An age changes: its JSON is compared without it.
            shown[option + line] = done if "push-token" not in line else (done.code, without_age(done.out))
    for line in (f"stats export {ACCOUNT}", f"lookup client {ACCOUNT} {ALICE} -v", "summarize client-info"):
        shown[line] = ok(server, line)
    return shown


def without_age(text: str) -> list[str]:
    return [word for word in text.split() if not word.rstrip(",").isdigit()]


def files(home: Path) -> dict[Path, bytes]:
    """Settings, accounts, administrators, scripts."""
    data, log, state = home / "data", home / "log", home / "run"
    paths = [path for path in home.rglob("*") if path.is_file()]
    kept = [path for path in paths if not {data, log, state, home / "backup"}.intersection(path.parents)]
    return {path: path.read_bytes() for path in kept}


async def live(server: CrsServer, reactor: Any) -> None:
    """Two clients that keep things here, have called and written, and one of whom has a message to come."""
    now = time.time()
    alice, told = await server.attached(reactor, ALICE)
    bob, news = await server.attached(reactor, BOB)
    offer = await told.offers.get()
    await alice.confirm_update(await alice.fetch_update(offer.month))
    await alice.store(
        ClientInfo(time=now, scanned=1767323045.0, os="Plan 9", os_version="4th", version="1.2")
    )
    await alice.store(PushTokens(client_type="apns", tokens=["abc", "def"], created=now))
    await alice.store(ClientData(name="contacts", data=b"sealed"))
    await alice.store(ClientToken(token=b"token"))
    await alice.store(TeamCode(name="red", settings="loud"))
    await alice.post(BOB, b"read")
    await news.messages.get()
    await told.receipts.get()
    call = await alice.call(BOB)
    incoming = await news.calls.get()
    await incoming.answer()
    await call.answered.wait()
    await call.hangup()
    await bob.detach()
    await bob.close()
    await alice.post(BOB, b"waits", label="m-1")
    await alice.detach()
    await alice.close()


async def come_back(server: CrsServer, reactor: Any) -> None:
    """With a key of the former secret, and of the new one."""
    bob, news = await server.attached(reactor, BOB)
    message = await news.messages.get()
    assert (message.message, message.payload, message.sender) == ("m-1", b"waits", ALICE)
    await bob.close()
    server.secrets[ACCOUNT] = NEW
    alice, _ = await server.attached(reactor, ALICE)
    assert (await alice.fetch(ItemKind.data, "contacts")).item == ClientData(name="contacts", data=b"sealed")
    await alice.close()


def test_all_is_back(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()
    home = tmp_path / "crs"
    server = CrsServer(
        home, settings=["log-level debug", "limit requests-per-second 30", "limit mailbox-items 99 blue"]
    )
    (home / "crs-local.conf").write_text("crsname crs7\n")
    (home / "crs-relay.conf").write_text("MAX_RTP_RELAYS=77\n")
    cms = Cms(tmp_path / "cms", server)
    (cms.folder / "clients.csv").write_text(f"uri,team_codes\n{ALICE},red\n{BOB},red\n")
    with server:
        for line in MADE:
            ok(server, line)
        script = home / "scripts" / "notify.sh"
        script.write_text("#!/bin/sh\nexit 0\n")
        ok(server, f"apply {cms.issue()}")
        ok(server, f"apply {cms.issue('--month', str(Month.of(datetime.now(UTC)).next))}")
        run(lambda: live(server, reactor), timeout=60)
        ok(server, f"rotate secret {ACCOUNT} -s YW5vdGhlciBzZWNyZXQhIQ==")
        # Counts are written some seconds late; a stop does not leave them behind.
        server.daemon.stop()
        server.daemon.start()
        before = everything(server), files(home)
        archive = Path(ok(server, "backup").strip())
        kept = tmp_path / archive.name
        shutil.move(archive, kept)
        server.daemon.stop()
        shutil.rmtree(home)

        documented = "tar xf crs-backup-HOST-DATE.tar -C /"
        assert f"\n{documented}\n" in (ROOT / "docs" / "running-crs.md").read_text()
        command = documented.replace("crs-backup-HOST-DATE.tar", str(kept)).split()
        subprocess.run(command, check=True)
        assert files(home) == before[1]
        server.daemon.start()
        after = everything(server)
        assert {line: shown for line, shown in after.items() if shown != before[0][line]} == {}
        assert after.keys() == before[0].keys()
        assert "YW5vdGhlciBzZWNyZXQhIQ==" in str(after["list account"])
        run(lambda: come_back(server, reactor), timeout=60)
        assert "Traceback" not in server.daemon.output
