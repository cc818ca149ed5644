"""An account's CMS issues monthly updates, the operator applies them: who may use the service then."""

from __future__ import annotations

import os
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer, program
from crs.cms.testing import Cms
from crs.signaling.message import EndReason, ErrorCode
from crs.update import content, protection
from crs.update.content import Head
from crs.update.month import Month
from rtlib.testing.daemon import ROOT
from rtlib.testing.loop import run as run_on_reactor


def test_who_is_listed_and_who_is_not(server: CrsServer, cms: Cms, reactor: Any) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4601")
        bob, told = await server.attached(reactor, "+4602")
        cms.list_clients("+4601", "+4602")
        text = await deferToThread(server.ok, "apply", await deferToThread(cms.issue))
        assert text.endswith("is applied: 2 clients are listed, others are admitted\n")
        eve, _ = await server.attached(reactor, "+4609")
        await eve.close()

        call = await alice.call("+4602")
        incoming = await told.calls.get()
        await incoming.answer()
        await call.answered.wait()
        cms.list_clients("+4602")
        await deferToThread(server.ok, "apply", await deferToThread(cms.issue))
        assert (await incoming.ended.wait()).reason is EndReason.hangup
        await alice.lost.wait()
        again, _ = server.client(reactor, "+4601")
        await again.connect()
        with pytest.raises(Refused, match="was listed and is not any more") as refused:
            await again.attach()
        assert refused.value.code is ErrorCode.denied
        await again.close()
        eve, _ = await server.attached(reactor, "+4609")

        await deferToThread(cms, "change", "--listed-only")
        await deferToThread(server.ok, "apply", await deferToThread(cms.issue))
        await eve.lost.wait()
        again, _ = server.client(reactor, "+4609")
        await again.connect()
        with pytest.raises(Refused, match="not listed, and the update turns such clients away"):
            await again.attach()
        await again.close()
        assert not bob.lost.decided
        await bob.close()
        health = await deferToThread(
            server.ok, "health-check", "account", ACCOUNT, "--output-format", "tsv", "--local-only"
        )
        assert "not listed" not in health, "test clients are admitted whatever the update says"
        text = await deferToThread(server.ok, "show", "attach")
        assert "+46" not in text

    run_on_reactor(story, timeout=120)
    month = Month.of(datetime.now(UTC))
    assert (server.home / "accounts" / ACCOUNT / f"{month}.applied").exists()


def test_a_restart_and_a_reload_keep_updates(server: CrsServer, cms: Cms, reactor: Any) -> None:
    cms.list_clients("+4601")
    cms("change", "--listed-only")
    path = cms.issue("-o", str(cms.folder / "file.upd"))
    server.ok("apply", path)
    shown = server.ok("show", "updates").splitlines()
    assert re.split(" {2,}", shown[0].rstrip()) == ["Account", "Current Month", "Next Month"]
    assert shown[1].startswith(f"{ACCOUNT} ") and shown[1].endswith("Not Available")
    server.daemon.stop()
    with server.daemon:
        assert server.ok("show", "updates").splitlines() == shown

        async def story() -> None:
            client, _ = server.client(reactor, "+4609")
            await client.connect()
            with pytest.raises(Refused, match="not listed"):
                await client.attach()
            applied = next((server.home / "accounts" / ACCOUNT).glob("*.applied"))
            applied.rename(applied.with_suffix(".gone"))
            await deferToThread(server.ok, "reload", "account")
            await client.attach()
            applied.with_suffix(".gone").rename(applied)
            await deferToThread(server.ok, "reload", "account")
            await client.lost.wait()

        run_on_reactor(story, timeout=60)


def test_each_refusal_has_its_message(server: CrsServer, cms: Cms, tmp_path: Path) -> None:
    cms.list_clients("+4601")
    old = cms.issue("-o", str(tmp_path / "old.upd"))
    new = cms.issue("-o", str(tmp_path / "new.upd"))
    server.ok("apply", new)
    assert "is applied already; nothing has changed" in server.ok("apply", new)
    content_file = Path(new).read_bytes()
    (tmp_path / "damaged.upd").write_bytes(content_file[:-20] + b"x" * 20)
    (tmp_path / "cut.upd").write_bytes(content_file[:100])
    (tmp_path / "none.upd").write_text("hello")
    with (tmp_path / "large.upd").open("wb") as file:
        file.truncate(2**29)
    head = Head(account="other", month="2026-01", created=0)
    other = protection.protect(content.build(head, {}), "other", server.secret, os.urandom(32))
    (tmp_path / "other.upd").write_bytes(other)
    head = Head(account=ACCOUNT, month="2026-01", created=0)
    key = protection.protect(content.build(head, {}), ACCOUNT, b"another secret", os.urandom(32))
    (tmp_path / "key.upd").write_bytes(key)
    before = {path: path.read_bytes() for path in (server.home / "accounts").glob("*/*")}
    for name, code, reason in (
        (old, 1, "is applied already"),
        ("damaged.upd", 1, "the update file is damaged: its content is not as it was made"),
        ("cut.upd", 1, "the update file is damaged: it "),
        ("none.upd", 1, "this is no update file"),
        ("large.upd", 1, "the update file has 536,870,912 bytes; at most 268,435,581 are allowed"),
        ("other.upd", 1, "the update file is for the account other, which is not here"),
        ("key.upd", 1, f"was protected with another shared secret than that of account {ACCOUNT}"),
        ("missing.upd", 2, "No such file or directory"),
        (".", 2, "is a directory"),
    ):
        done = server.cli("apply", str(tmp_path / name))
        assert (done.returncode, done.stdout) == (code, ""), done
        assert reason in done.stderr and f"{tmp_path / name}" in done.stderr, done
        assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in (server.home / "accounts").glob("*/*")} == before
    audit = (server.home / "log" / "audit.log").read_text()
    assert f'command="apply" update_file="{new}" result="ok"' in audit


def test_a_damaged_applied_file_keeps_the_server_from_starting(server: CrsServer, cms: Cms) -> None:
    cms.list_clients("+4601")
    server.ok("apply", cms.issue())
    [applied] = (server.home / "accounts" / ACCOUNT).glob("*.applied")
    server.daemon.stop()
    applied.write_bytes(applied.read_bytes()[:-1])
    with pytest.raises(AssertionError) as failed, server.daemon:
        pass
    assert str(applied) in str(failed.value)


@pytest.mark.parametrize("delay", [0.0, 0.05])
def test_a_server_that_is_killed_meanwhile_has_the_old_update_or_the_new(
    server: CrsServer, cms: Cms, tmp_path: Path, delay: float
) -> None:
    cms.list_clients("+4601")
    server.ok("apply", cms.issue("-o", str(tmp_path / "old.upd")))
    (cms.folder / "blob").write_bytes(os.urandom(32768))
    clients = "\n".join(f"+46{number},blob" for number in range(500))
    (cms.folder / "clients.csv").write_text(f"uri,blob\n{clients}\n")
    large = cms.issue("-o", str(tmp_path / "large.upd"))
    applying = subprocess.Popen(
        program("crs.cli", "--home", str(server.home), "apply", large), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    server.daemon.wait_until(lambda: "large.upd" in server.daemon.text, 60, "apply")
    time.sleep(delay)  # somewhere in the middle of it
    server.daemon.kill()
    applying.wait(60)
    server.daemon.start()
    assert server.ok("show", "update", ACCOUNT).splitlines()[1].split()[-3] in {"1", "500"}
    server.ok("apply", large)
    assert server.ok("show", "update", ACCOUNT).splitlines()[1].split()[-3] == "500"
    assert not list((server.home / "accounts" / ACCOUNT).glob(".*.tmp"))
