"""A back-up made while the server works brings everything back on an empty machine (docs/running-crs.md)."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from crs.client.testing import ACCOUNT, READY, CrsServer
from rtlib.testing.daemon import Daemon, twistd
from rtlib.testing.loop import installed_reactor, run

SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQ="


def ok(server: CrsServer, *words: str) -> str:
    done = server.cli(*words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_restore_on_an_empty_machine(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()
    home = tmp_path / "crs"
    archives: list[Path] = []

    async def before(server: CrsServer) -> None:
        """Bob is away; Alice writes to him while the back-up is made."""
        alice, _ = await server.attached(reactor, "+1")
        bob, _ = await server.attached(reactor, "+2")
        await bob.close()
        await alice.post("+2", b"before", label="m-1")
        backup = deferToThread(ok, server, "backup")
        for number in range(20):
            await alice.post("+2", b"meanwhile", label=f"n-{number}")
        archives.append(Path((await backup).strip()))
        await alice.close()

    async def after(server: CrsServer) -> None:
        bob, news = await server.attached(reactor, "+2")
        message = await news.messages.get()
        assert (message.message, message.payload, message.sender) == ("m-1", b"before", "+1")
        await bob.close()

    with CrsServer(home, settings=["log-level debug"]) as server:
        ok(server, "create", "account", "blue", "-s", SECRET)
        ok(server, "blacklist", "add", "blue", "+9")
        run(lambda: before(server), timeout=60)
        accounts = ok(server, "list", "account")
    [archive] = archives
    assert archive.parent == home / "backup"
    kept = tmp_path / archive.name
    shutil.move(archive, kept)
    configuration = (home / "crs.conf").read_text()
    shutil.rmtree(home)

    # What docs/running-crs.md says: unpack, give the files to the server's user, start.
    subprocess.run(["tar", "xf", str(kept), "-C", "/"], check=True)
    command = twistd("-n", "crs", "--home", home)
    with Daemon(command, READY, directory=tmp_path):
        assert (home / "crs.conf").read_text() == configuration
        assert ok(server, "list", "account") == accounts
        assert SECRET in accounts
        assert ok(server, "show", "blacklist", "blue") == "URI\n+9\n"
        known = {line.split()[0] for line in ok(server, "show", "message").splitlines()[1:]}
        assert known == {"+1", "+2"}
        run(lambda: after(server), timeout=60)


def test_backup_without_a_server(tmp_path: Path) -> None:
    home = tmp_path / "crs"
    with CrsServer(home) as server:
        run_once = ok(server, "show", "account")
        assert ACCOUNT in run_once
    archive = Path(ok(server, "backup").strip())
    listing = subprocess.run(["tar", "tf", str(archive)], capture_output=True, text=True, check=True).stdout
    inside = {name.removeprefix(f"{str(home).lstrip('/')}/").rstrip("/") for name in listing.splitlines()}
    assert {"crs.conf", f"accounts/{ACCOUNT}/account.conf", "data/crs.db", "scripts/notify.sh"} <= inside
    assert not any(name.endswith(("-wal", "-shm")) for name in inside)
    assert '"backup" result="ok"' in (home / "log" / "audit.log").read_text()
    nowhere = tmp_path / "nowhere"
    server.home = nowhere
    done = server.cli("backup")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{nowhere}: there is no such directory" in done.stderr
