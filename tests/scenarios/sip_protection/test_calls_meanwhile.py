"""Calls of SIPp, and Genesis systems, while genproxy is flooded and scanned."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from haproxy.protection.guard import ADDRESSES
from haproxy.testing.flood import Flood
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import PORT, Genproxy, own_host
from haproxy.testing.script import AUDIO, PROXY, SDP, ack_of_2xx, bye, heard, pause, request, write
from haproxy.testing.sipp import Sipp
from haproxy.testing.sipvicious import attack
from haproxy.testing.stranger import Stranger
from rtlib.offence import LINES
from rtlib.testing.daemon import wait_until

pytestmark = pytest.mark.peer("sipp")

CALLER: Final = (
    request("INVITE", f"sip:100@{PROXY}:[remote_port]", SDP, body=AUDIO, repeat=True),
    heard(100, optional=True),
    heard(180, optional=True),
    heard(200),
    ack_of_2xx(),
    pause(0.2),
    bye(),
    heard(100, optional=True),
    heard(200),
)
SLOWLY: Final = ("-r", "3", "-rp", "2000")
"""Nine requests in the 2 s in which an address may send sixteen: the caller is on no list."""
CALLS: Final = 15
RATE: Final = 20_000
MANY: Final = 100_000
"""Forged senders."""


@contextmanager
def protected(folder: Path, **rules: Any) -> Iterator[Genproxy]:
    settings = {"proxy": {"enableAntiFlood": True, **rules}}
    subscribers = {"genesis_a": "trunk-secret", "5000": "phone-secret"}
    with Genproxy(folder / "proxy", settings=settings, subscribers=subscribers) as proxy:
        yield proxy
        assert "Traceback" not in proxy.daemon.text


def calling(folder: Path, proxy: Genproxy, host: str = "") -> Sipp:
    arguments = (folder, write(folder, "caller", *CALLER), proxy.server)
    return Sipp(*arguments, user="caller", host=host or own_host(), calls=CALLS, arguments=SLOWLY)


def message(proxy: str, source: str, method: str) -> bytes:
    """A well-formed request in which everything is random."""
    mark = os.urandom(8).hex()
    lines = [
        f"{method} sip:{mark}@{proxy} SIP/2.0",
        f"Via: SIP/2.0/UDP {source}:{PORT};branch=z9hG4bK{mark}",
        f"From: <sip:{mark}@{source}>;tag={mark}",
        f"To: <sip:{mark}@{proxy}>",
        f"Call-ID: {mark}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:{mark}@{source}>",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.peer("svwar")
def test_calls_go_on_beside_a_flood_and_sipvicious(tmp_path: Path) -> None:
    attacker = own_host()
    with protected(tmp_path) as proxy, Genesis(tmp_path, (proxy.host, PORT), "genesis_a"):
        kinds = [message(proxy.host, attacker, method) for method in ("REGISTER", "INVITE", "OPTIONS")]
        kinds.append(os.urandom(600))
        with (
            Flood(proxy.host, RATE, lambda number: (attacker, kinds[number % len(kinds)])) as flood,
            calling(tmp_path, proxy) as caller,
        ):
            said = attack(tmp_path, "svwar", "-p", str(PORT), "-e", "5000-5010", proxy.host)
            assert "5000" not in said
            caller.finish()
            assert {host: row["kind"] for host, row in proxy.blocked().items()} == {
                attacker: "flood",
                "127.0.0.1": "scanner",
            }
            assert flood.sent > RATE
            assert proxy.metric("messages_shut_out_total", 'kind="flood"') > RATE / 2


def test_a_registered_genesis_system_may_send_as_much_as_it_likes(tmp_path: Path) -> None:
    """Whoever registers as a user of the dispatcher, and as long as that is so; a phone may not."""
    with (
        protected(tmp_path, floodInterval=1) as proxy,
        Genesis(tmp_path, (proxy.host, PORT), "genesis_a") as system,
        Genesis(tmp_path, (proxy.host, PORT), "5000") as phone,
        Stranger(system.host) as trunk,
    ):
        senders = [system.host, phone.host]
        data = {host: message(proxy.host, host, "MESSAGE") for host in senders}
        with Flood(proxy.host, 200, lambda number: (senders[number % 2], data[senders[number % 2]])) as flood:
            wait_until(proxy.blocked, 30, "the phone is blocked")
            sent = flood.sent
            wait_until(lambda: flood.sent > sent + 1000, 30, "five more intervals")
            assert set(proxy.blocked()) == {phone.host}
            assert trunk.ask(proxy.host, trunk.request(proxy.host, "MESSAGE", user="1"))

        def scans() -> bool:
            trunk.send(proxy.host, trunk.request(proxy.host, "MESSAGE", user="1", agent="friendly-scanner"))
            return proxy.metric("messages_shut_out_total", 'kind="scanner"') > 0

        # From its other port, too: what has a scanner's name is dropped, and does not block it.
        wait_until(scans, 10, "a message is dropped")
        assert set(proxy.blocked()) == {phone.host}
        with calling(tmp_path, proxy) as caller:
            caller.finish()

        # The denyList comes before all exemptions.
        denied = proxy.metric("messages_shut_out_total", 'kind="denied"')
        proxy.change("[proxy]", f'[proxy]\ndenyList = ["{system.host}"]')
        trunk.heard()
        trunk.send(proxy.host, trunk.request(proxy.host, "MESSAGE", user="1"))
        wait_until(lambda: proxy.metric("messages_shut_out_total", 'kind="denied"') > denied, 10, "denied")
        assert trunk.heard() == []


@pytest.mark.parametrize("rule", ["allowList", "proxyList"])
def test_a_scanners_name_from_somebody_on_a_list(tmp_path: Path, rule: str) -> None:
    """Of those on the allowList nothing is looked at; on the proxyList it is dropped, and nobody blocked."""
    with Stranger() as friend, protected(tmp_path, **{rule: [friend.host]}) as proxy:
        scan = friend.request(proxy.host, agent="friendly-scanner")
        if rule == "allowList":
            assert friend.ask(proxy.host, scan) == "SIP/2.0 200 OK"
        friend.send(proxy.host, scan)
        assert friend.ask(proxy.host) == "SIP/2.0 200 OK"
        dropped = proxy.metric("messages_shut_out_total", 'kind="scanner"')
        assert dropped == (0 if rule == "allowList" else 1)
        assert proxy.blocked() == {}


@pytest.mark.peer("svwar")
def test_in_a_dry_run_nothing_is_blocked_and_everything_told(tmp_path: Path) -> None:
    with (
        protected(tmp_path, protectionDryRun=True, floodInterval=1, strangerRate=1) as proxy,
        Genesis(tmp_path, (proxy.host, PORT), "genesis_a"),
        Stranger() as attacker,
    ):
        data = attacker.request(proxy.host, "MESSAGE", user="100")
        with Flood(proxy.host, 300, lambda _: (attacker.host, data)):
            said = attack(tmp_path, "svwar", "-p", str(PORT), "-e", "5000-5002", "-v", proxy.host)
            proxy.daemon.wait_for_text(f"flood from {attacker.host}")
            for _ in range(3):  # within a second
                attacker.send(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
            assert attacker.ask(proxy.host, attacker.request(proxy.host, "MESSAGE", user="100"))
            proxy.daemon.wait_for_text(f"ignored from {attacker.host} .*strangerRate; would be ignored")
        assert "SIP server replied" in said
        for kind, host in (("flood", attacker.host), ("scanner", "127.0.0.1")):
            assert re.search(rf"{kind} from {host}: .*; would be blocked for 300 s", proxy.daemon.text)
            assert proxy.metric("messages_shut_out_total", f'kind="{kind}"') > 0
        assert {host: row["kind"] for host, row in proxy.blocked().items()} == {
            attacker.host: "flood",
            "127.0.0.1": "scanner",
        }


@pytest.mark.long
def test_a_hundred_thousand_forged_senders_harm_nobody(tmp_path: Path) -> None:
    """No table and no log is filled, no call is lost, and Genesis gets few of their calls."""

    def forged(number: int) -> tuple[str, bytes]:
        source = f"127.{200 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        if number % 4 == 3:
            return source, os.urandom(300)
        return source, message(proxy.host, source, ("REGISTER", "INVITE", "OPTIONS")[number % 4])

    rate, friend = 5, own_host()
    with (
        protected(tmp_path, strangerRate=rate, allowList=[friend]) as proxy,
        Genesis(tmp_path, (proxy.host, PORT), "genesis_a") as genesis,
        Flood(proxy.host, 3000, forged, MANY) as flood,
    ):
        begun = time.monotonic()
        with calling(tmp_path, proxy, friend) as caller:
            caller.finish()
        wait_until(lambda: flood.done, 90, "all are sent")
        assert flood.sent == MANY
        # Each forged INVITE that goes on is a call to Genesis; the first second of them began with the flood.
        forged_calls = genesis.notes.count("\n") - CALLS
        assert 0 < forged_calls <= rate * (time.monotonic() - begun + 2)
        assert proxy.metric("strangers_held_total") > 0
        assert ADDRESSES / 2 < proxy.metric("addresses_watched") <= 2 * ADDRESSES
        assert proxy.metric("addresses_forgotten_total") > 0
        assert proxy.blocked() == {}
        assert proxy.metric("offences_total", 'kind="malformed"') > LINES
        assert proxy.metric("offences_unlogged_total") > MANY / 10
        assert proxy.daemon.text.count("\n") < MANY / 10
