"""Scanners and floods against a real genproxy: they hear nothing, are blocked, and nobody else suffers."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import PORT, Genproxy, own_host
from haproxy.testing.sipvicious import attack
from haproxy.testing.stranger import Stranger
from rtlib.testing.daemon import wait_until

OK = "SIP/2.0 200 OK"
FRIEND, PEER = own_host(), own_host()
QUICK: dict[str, Any] = {
    "enableAntiFlood": True,
    "allowList": [FRIEND],
    "proxyList": [PEER],
    "floodInterval": 1,
    "floodBlockTime": 3600,
}
SUBSCRIBERS = {"5000": "phone-secret"}


@contextmanager
def protected(folder: Path, **rules: Any) -> Iterator[Genproxy]:
    with Genproxy(folder / "proxy", settings={"proxy": QUICK | rules}, subscribers=SUBSCRIBERS) as proxy:
        yield proxy
        assert "Traceback" not in proxy.daemon.text


def flood(proxy: Genproxy, attacker: Stranger) -> None:
    """Send until one more is blocked."""
    there = proxy.metric("blocks_total", 'kind="flood"')

    def is_blocked() -> bool:
        for _ in range(20):
            attacker.send(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
        return proxy.metric("blocks_total", 'kind="flood"') > there

    wait_until(is_blocked, 30, f"{attacker.host} is blocked")


def insist(proxy: Genproxy, attacker: Stranger) -> None:
    """Send too much in four intervals of 1 s, which is twice as long as a flood has to last."""
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for _ in range(20):
            attacker.send(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
        attacker.ask(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))


@pytest.mark.peer("svmap")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("svmap", ["-p", str(PORT)]),
        ("svmap", ["-p", str(PORT), "-m", "INVITE"]),
        ("svwar", ["-p", str(PORT), "-e", "5000-5010"]),
        ("svwar", ["-p", str(PORT), "-e", "5000-5010", "-m", "INVITE", "--force"]),
        ("svcrack", ["-p", str(PORT), "-u", "5000", "-r", "1000-1010"]),
    ],
    ids=["svmap", "svmap-invite", "svwar", "svwar-invite", "svcrack"],
)
def test_sipvicious_hears_nothing_and_is_blocked(tmp_path: Path, tool: str, arguments: list[str]) -> None:
    with protected(tmp_path) as proxy, Stranger(FRIEND) as friend:
        # The others take the address that the system gives, whatever they are told.
        attacker = own_host() if tool == "svmap" else "127.0.0.1"
        said = attack(tmp_path, tool, *arguments, "-b", attacker, proxy.host)
        assert "5000" not in said and "genproxy" not in said.lower(), said
        row = proxy.blocked()[attacker]
        assert (row["kind"], row["reason"]) == ("scanner", "calls itself friendly-scanner")
        assert friend.ask(proxy.host) == OK
        proxy.daemon.wait_for_text(f"scanner from {attacker}")
        log = re.findall(rf"scanner from {re.escape(attacker)}: .*", proxy.daemon.text)
        assert log == [f"scanner from {attacker}: calls itself friendly-scanner; is blocked for 3600 s"]
        assert proxy.metric("messages_shut_out_total", 'kind="scanner"') == row["dropped"] > 0


def test_a_flood_is_blocked_and_forgiven_by_command(tmp_path: Path) -> None:
    with protected(tmp_path) as proxy, Stranger() as attacker, Stranger(FRIEND) as friend:
        flood(proxy, attacker)
        row = proxy.blocked()[attacker.host]
        assert row["kind"] == "flood"
        assert row["reason"].startswith("more than 8 requests in 1 s") and row["left"] > 3000
        assert friend.ask(proxy.host) == OK  # all answers to what came before the block have been sent
        attacker.heard()
        attacker.send(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
        assert friend.ask(proxy.host) == OK
        assert attacker.heard() == []
        assert proxy.metric("addresses_blocked", 'kind="flood"') == 1
        assert f"flood: {row['reason']}" in proxy.cli("check", "address", attacker.host)
        assert "1" in proxy.cli("unblock", attacker.host)
        assert attacker.ask(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
        for words in (["unblock", attacker.host], ["unblock"], ["unblock", "nonsense"]):
            with pytest.raises(subprocess.CalledProcessError) as refused:
                proxy.cli(*words)
            assert refused.value.stderr.count("\n") == 1
        proxy.daemon.wait_for_text(rf"{attacker.host} is not blocked any more: an operator wanted it")


def test_a_block_ends_by_itself_when_it_has_become_quiet(tmp_path: Path) -> None:
    with protected(tmp_path, floodBlockTime=1) as proxy, Stranger() as attacker:
        flood(proxy, attacker)
        wait_until(lambda: not proxy.blocked(), 20, "the block ends")
        assert attacker.ask(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
        proxy.daemon.wait_for_text("it has become quiet")


@pytest.mark.parametrize("host", [FRIEND, PEER], ids=["allowList", "proxyList"])
def test_who_is_on_a_list_may_send_as_much_as_he_likes(tmp_path: Path, host: str) -> None:
    with protected(tmp_path) as proxy, Stranger(host) as friend, Stranger() as attacker:
        # The other one's block shows that there was time enough for this one's.
        for _ in range(50):
            friend.send(proxy.host)
        flood(proxy, attacker)
        for _ in range(50):
            friend.send(proxy.host)
        assert set(proxy.blocked()) == {attacker.host}
        assert friend.ask(proxy.host) == OK


def test_switched_off_nobody_is_blocked_for_a_flood(tmp_path: Path) -> None:
    with protected(tmp_path, enableAntiFlood=False, scannerAgents=["evil"]) as proxy, Stranger() as attacker:
        insist(proxy, attacker)
        assert proxy.blocked() == {}
        # A name that is no scanner's here, and one that is.
        attacker.ask(
            proxy.host, attacker.request(proxy.host, "MESSAGE", user="100", agent="friendly-scanner")
        )
        evil = attacker.request(proxy.host, "MESSAGE", user="100", agent="very EVIL 1.0")

        def is_blocked() -> bool:
            attacker.send(proxy.host, evil)  # again and again: the socket may be full of what came before
            return bool(proxy.blocked())

        wait_until(is_blocked, 20, "the scanner is blocked")
        assert proxy.blocked()[attacker.host]["reason"] == "calls itself EVIL"


def test_a_dry_run_counts_and_blocks_nothing(tmp_path: Path) -> None:
    with protected(tmp_path, protectionDryRun=True) as proxy, Stranger() as attacker:
        flood(proxy, attacker)
        assert attacker.ask(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
        wait_until(lambda: f"flood from {attacker.host}" in proxy.daemon.text, 5, "the log says it")
        assert "would be blocked for 3600 s" in proxy.daemon.text
        assert proxy.metric("messages_shut_out_total", 'kind="flood"') > 0


def test_rates_and_intervals_are_settings(tmp_path: Path) -> None:
    def change(before: str, after: str) -> None:
        text = proxy.config.read_text()
        assert before in text
        proxy.config.write_text(text.replace(before, after))
        assert before.partition(" ")[0] in proxy.cli("reload")

    rules = {"floodRate": 100_000, "floodBurst": 200_000, "floodIntervals": 3, "strangerRate": 0}
    with protected(tmp_path, **rules) as proxy, Stranger() as attacker:
        insist(proxy, attacker)
        assert proxy.blocked() == {}
        change("floodRate = 100000", "floodRate = 10")
        flood(proxy, attacker)
        assert proxy.blocked()[attacker.host]["reason"] == "more than 10 requests in 1 s, 3 times in a row"
        assert proxy.metric("messages_shut_out_total", 'kind="excess"') == 0
        change("floodBurst = 200000", "floodBurst = 10")
        proxy.cli("unblock", attacker.host)
        flood(proxy, attacker)
        assert proxy.metric("messages_shut_out_total", 'kind="excess"') > 0


def test_options_are_answered_for_those_on_a_list(tmp_path: Path) -> None:
    with (
        protected(tmp_path) as proxy,
        Stranger() as stranger,
        Stranger(FRIEND) as friend,
        Stranger(PEER) as peer,
    ):
        stranger.send(proxy.host)
        assert [friend.ask(proxy.host), peer.ask(proxy.host)] == [OK, OK]
        assert stranger.heard() == []
