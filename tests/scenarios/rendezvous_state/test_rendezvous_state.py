"""What clients keep at their server survives its crash, has its limits, and goes with the account."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer, run
from crs.signaling import message
from crs.signaling.message import MAX_PAYLOAD, ErrorCode, ItemKind
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor

ITEMS: dict[tuple[ItemKind, str], message.Item] = {
    (ItemKind.info, ""): message.ClientInfo(
        time=1.5, scanned=1.0, os="android", os_version="15", version="1.0"
    ),
    (ItemKind.token, ""): message.ClientToken(token=bytes(range(256))),
    (ItemKind.push, ""): message.PushTokens(client_type="apns", tokens=["a", "b"], created=2.0),
    (ItemKind.data, "contacts"): message.ClientData(name="contacts", data=bytes(MAX_PAYLOAD)),
    (ItemKind.data, "settings/1"): message.ClientData(name="settings/1", data=b""),
    (ItemKind.team_code, "red"): message.TeamCode(name="red", settings="push-to-talk: on"),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrsServer]:
    with CrsServer(tmp_path / "crs") as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def test_everything_survives_a_crash(server: CrsServer, reactor: Any) -> None:
    async def store() -> None:
        client, _ = await server.attached(reactor, "+461")
        for item in ITEMS.values():
            await client.store(item)
        await client.store(message.TeamCode(name="blue", settings="short-lived"))
        await client.delete(ItemKind.team_code, "blue")
        server.daemon.kill()
        await client.lost.wait()

    async def fetch() -> None:
        client, _ = await server.attached(reactor, "+461")
        other, _ = await server.attached(reactor, "+462")
        for (kind, name), item in ITEMS.items():
            fetched = await client.fetch(kind, name)
            assert fetched.item == item and fetched.saved > 1.7e9
            assert (await other.fetch(kind, name)).item is None
        assert (await client.fetch(ItemKind.team_code, "blue")).item is None
        await client.close()
        await other.close()

    run_on_reactor(store, timeout=60)
    server.daemon.start()
    run_on_reactor(fetch, timeout=60)


def test_one_client_can_keep_so_much(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        client, _ = await server.attached(reactor, "+461")
        with pytest.raises(Refused) as refusal:
            for number in range(100):
                await client.store(message.ClientData(name=str(number), data=bytes(MAX_PAYLOAD)))
        assert refusal.value.code is ErrorCode.quota
        assert "+461@demo may keep 1048576 bytes" in str(refusal.value)
        assert number == 31
        await client.close()

    run_on_reactor(story, timeout=60)


def test_a_deleted_account_takes_it_all_along(server: CrsServer, reactor: Any) -> None:
    secret = b64encode(server.secret).decode()

    async def story() -> None:
        client, _ = await server.attached(reactor, "+461")
        await client.store(ITEMS[ItemKind.token, ""])
        for command in (("delete", "account", ACCOUNT), ("create", "account", ACCOUNT, "-s", secret)):
            done = server.cli(*command)
            assert done.returncode == 0, done.stderr
        await client.lost.wait()
        client, _ = await server.attached(reactor, "+461")
        assert (await client.fetch(ItemKind.token)).item is None
        await client.close()

    run_on_reactor(story, timeout=60)


def test_put_and_get_on_the_command_line(server: CrsServer, tmp_path: Path) -> None:
    secret, back = tmp_path / "secret", tmp_path / "back"
    secret.write_text(b64encode(server.secret).decode())
    name = ("--server", str(server.address), "--account", ACCOUNT, "--uri", "+463")
    who = (*name, "--secret-file", str(secret))
    stored = run("crs.client.cli", "put", "my-secret", str(secret), *who)
    assert stored.returncode == 0, stored.stderr
    fetched = run("crs.client.cli", "get", "my-secret", str(back), *who)
    assert fetched.returncode == 0, fetched.stderr
    assert back.read_bytes() == secret.read_bytes()
    missing = run("crs.client.cli", "get", "nothing", str(back), *who)
    assert (missing.returncode, missing.stderr) == (1, "crs-client: nothing is stored as nothing\n")
