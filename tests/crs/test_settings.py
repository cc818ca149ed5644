"""crs.conf, crs-local.conf and crs-relay.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from crs.relay.allocation import KINDS
from crs.settings import load
from rtlib.settings import SettingsError

MANUAL = """\
[GLOBAL]
key 3xYc0p/6wQ8=
cps cps.cryptify.net 5230 our-id our-secret
features push
push-config apns type direct
iw-listen-port 8080
keep-alive 10.0.0.0/8 tcp 60000
keep-alive +4670@acc ws 60000 5000
detach-cleanup 10.0.0.0/8 3000
[POOL]
ip crs1 203.0.113.101      # public
addr-map 203.0.113.101 198.51.100.1
host crs1
app attach 4
"""


def home(path: Path, **files: str) -> Path:
    for name, text in files.items():
        (path / f"{name.replace('_', '-')}.conf").write_text(text)
    return path


def test_nothing_means_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    main = settings.main
    assert (main.client_listen_port, main.relay_listen_port, main.metrics_listen) == (5223, 146, None)
    assert settings.name == "crs1" and settings.relay_limits == dict.fromkeys(KINDS)
    assert settings.without_effect() == []


def test_the_files_of_the_manual(tmp_path: Path) -> None:
    settings = load(
        home(
            tmp_path,
            crs=MANUAL,
            crs_local="crsname crs1\ndb-backup replicate-from-peer\n",
            crs_relay="MAX_RTP_RELAYS=100\nMAX_RTP_PROXY_RELAYS=5\n",
        )
    )
    assert settings.relay_limits["rtp"] == 100
    assert settings.without_effect() == [
        "iw-listen-port",
        "cps",
        "features",
        "push-config",
        "db-backup",
    ]


def test_sections_and_empty_lists(tmp_path: Path) -> None:
    settings = load(home(tmp_path, crs="features\n[push-config]\napns type direct\n"))
    assert settings.main.features == () and settings.main.push_config == (("apns", "type", "direct"),)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("crs", "client-listen-prot 1", "crs.conf:1: client-listen-prot: unknown directive (did you mean"),
        (
            "crs",
            "\nclient-listen-port 65536",
            "crs.conf:2: client-listen-port: '65536' must be at most 65535",
        ),
        ("crs", "keep-alive 10.0.0.0/8 udp 60000", "crs.conf:1: keep-alive method: "),
        ("crs", "keep-alive 10.0.0.0/8 tcp 60000 5", "a grace period is possible with the method ws only"),
        ("crs", "limit message-size 50000", "message-size must be from 1024 to 40960"),
        ("crs", "store redis", "needs the directive redis-high"),
        ("crs", "redis-low unix:/r", "have no effect without store redis"),
        ("crs", "store redis\nredis-high redis", "crs.conf:2: redis-high place: "),
        ("crs", "store mysql", "crs.conf:1: store: "),
        ("crs", "limit requests-per-address 5 demo", "none can have its own"),
        ("crs", "limit sessions-per-clients 5", "crs.conf:1: limit name: "),
        ("crs", "limit stored-bytes 5 a/b", "crs.conf:1: limit account: "),
        ("crs", "keep-alive nobody ws 60000", "'nobody' is not an IP network"),
        ("crs", "host crs1\nhost crs2", "several hosts need a store that they share"),
        ("crs", "host crs1\nip crs9 203.0.113.1", "there is no host of that name"),
        ("crs", "ip crs1", "is written: ip <name> <address>"),
        ("crs-local", "db-backup sometimes", "crs-local.conf:1: db-backup mode: "),
        ("crs-relay", "MAX_RTP_RELAYS=-1", "crs-relay.conf:1: MAX_RTP_RELAYS: '-1' must be at least 0"),
        ("crs-relay", "MAX_RELAYS=1", "crs-relay.conf:1: MAX_RELAYS: unknown key"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, file: str, text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(home(tmp_path, **{file.replace("-", "_"): text}))
    assert problem in str(caught.value)


def test_the_name_must_be_a_host(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"crsname: crs7 is no host of crs\.conf"):
        load(home(tmp_path, crs="host crs1\n", crs_local="crsname crs7\n"))


def test_secrets_are_not_in_problems(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(home(tmp_path, crs="key s3cret\n"))
    assert "s3cret" not in str(caught.value)


def test_redis_by_the_names_of_its_services(tmp_path: Path) -> None:
    text = "store redis\nredis-high 127.0.0.1:6379 secret\nredis-low unix:/run/low.sock\n"
    main = load(home(tmp_path, crs=text)).main
    assert {name: (server.place, server.password) for name, server in main.redis.items()} == {
        "redis_high": ("127.0.0.1:6379", "secret"),
        "redis_low": ("unix:/run/low.sock", None),
    }
