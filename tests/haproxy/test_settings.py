"""genproxy.toml: the guide's keys, defaults and ranges."""

from pathlib import Path
from typing import Any

import pytest

from haproxy.settings import Settings, without_effect, without_password
from rtlib.settings import SettingsError, toml

SYSTEM = '[system]\nprivateIP = "192.0.2.1"\nprivateSubnet = "255.255.255.0"\n'


def read(text: str = "", system: str = SYSTEM) -> Settings:
    return toml.parse(system + text, Path("genproxy.toml"), Settings)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("system", "systemName", "genproxysa"),
        ("system", "privatePort", 5060),
        ("system", "privatePortTLS", 5061),
        ("system", "privateSubnet", 24),
        ("system", "startup_fencing", False),
        ("proxy", "regRetryInterval", 180),
        ("proxy", "enableAntiFlood", True),
        ("proxy", "enableAstFailover", True),
        ("proxy", "astPersistentFailover", True),
        ("proxy", "astPingMethod", "OPTIONS"),
        ("proxy", "astPingInterval", 30),
        ("proxy", "astPingTimeout", 4),
        ("proxy", "astPingRetry", 2),
        ("proxy", "astDownThreshold", 2),
        ("proxy", "astUpThreshold", 2),
        ("proxy", "astHoldDown", 60),
        ("proxy", "dispatchPriUser", "genesis_a"),
        ("proxy", "dispatchSecUser", "genesis_b"),
        ("proxy", "dispatchLimit", 10),
        ("proxy", "dispatchSize", 8),
        ("media", "tos", 184),
        ("media", "rtpPortMin", 20000),
        ("media", "rtpPortMax", 30000),
        ("media", "timeout", 60),
        ("media", "silent_timeout", 3600),
        ("media", "foreign_timeout", 14400),
        ("media", "final_timeout", 86400),
        ("media", "defaultMediaEncryption", "sdes"),
        ("database", "dbEngine", "SQLite"),
        ("database", "kamDatabase", "kamailio"),
    ],
)
def test_the_guides_defaults(table: str, key: str, value: Any) -> None:
    assert getattr(getattr(read(), table), key) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("privatePort = 70000", "genproxy.toml:4: system.privatePort"),
        ("publicIP = 'sip.example'", "mappedIP is required"),
        ("publicIP = 'sip.example'\nmappedIP = '10.0.0.1'\nalias = ['b.example']", "alias must have"),
        ("mappedIP = '10.0.0.1'", "publicIP is required"),
        ("publicIP = '192.0.2.1'", "must differ"),
        ("[proxy]\nregRetryInterval = 60", "0 or at least 90"),
        ("[proxy]\ndispatchSecUser = 'genesis'", "'genesis' must not be the beginning of .* 'genesis_a'"),
        ("[proxy]\ndispatchPriUser = 'genesis_b'", "must not be the beginning"),
        ("[proxy]\ndispatchPriUser = ''", "proxy.dispatchPriUser"),
        ("[proxy]\ndispatchPriUser = 'a b'", "proxy.dispatchPriUser"),
        ("[proxy]\ndispatchSecUser = 'genesis_b@host'", "proxy.dispatchSecUser"),
        ("[proxy]\nastDownThreshold = 0", "proxy.astDownThreshold"),
        ("[proxy]\ndispatchListenSock = ['udp:192.0.2.1']", "HTTP is spoken over tcp or tls"),
        ("[proxy]\ndispatchAuthUser = 'u'\ndispatchAuthRealm = 'r'", "dispatchAuthHa1b is required"),
        ("[proxy]\ndispatchSize = 17", "proxy.dispatchSize"),
        ("[proxy]\ndispatchAuthUser = 'x'", "dispatchAuthRealm is required"),
        ("[proxy]\nenableNat = true", "enableNAT"),
        ("[proxy]\ndenyList = ['300.1.1.1']", "300.1.1.1"),
        ("[proxy]\nastPingMethod = 'PING'", "OPTIONS"),
        ("[media]\nrtpPortMin = 30000\nrtpPortMax = 30000", "leave room"),
        ("[media]\nsilent_timeout = 1.5", "silent"),
        ("[[subscribers]]\nusername = 'a'", "domain"),
        ("[[subscribers]]\nusername = 'a'\ndomain = 'h'\nha1 = 'short'", "ha1"),
        ("[[subscribers]]\nusername = 'a'\ndomain = 'h'\n" * 2, "two entries"),
        ("[[nodes]]\nnodeID = 16\nnodeName = 'n'\nprivateIP = '10.0.0.1'", "nodeID"),
        ("[[nodes]]\nnodeID = 1\nnodeName = 'n'\nprivateIP = '10.0.0.1'", "privatePing is required"),
        ("[[fences]]\nfenceName = 'f'\nfenceNodeName = 'n'\nfenceAgent = 'rm'\n"
         "fenceDevicePlug = '1'\nfenceDeviceIP = 'h'", "fenceAgent"),
        ("[[notifications]]\nnotifyURL = 'h'\nnotifyVerifyHost = true", "needs notifyVerifyPeer"),
        ("[[tls]]\ntlsDomain = 'default'\ntlsRole = 'both'", "client"),
    ],
)  # fmt: skip
def test_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        read(text)


@pytest.mark.parametrize(
    "system", ["", "[system]\nprivateIP = '192.0.2.1'\n", "[system]\nprivateSubnet = 24\n"]
)
def test_required(system: str) -> None:
    with pytest.raises(SettingsError):
        read(system=system)


@pytest.mark.parametrize(("mask", "length"), [("24", 24), ("'24'", 24), ("'255.255.0.0'", 16), ("'/8'", 8)])
def test_masks(mask: str, length: int) -> None:
    assert (
        read(system=f"[system]\nprivateIP = '192.0.2.1'\nprivateSubnet = {mask}\n").system.privateSubnet
        == length
    )


def test_several_entries_on_a_line() -> None:
    settings = read(
        "alias = ['a.example b.example:5070']\n"
        "[proxy]\ndenyList = ['10.0.0.1, 10.1.0.0/255.255.0.0 [::1]:5060,','']"
    )
    assert list(map(str, settings.proxy.denyList)) == ["10.0.0.1", "10.1.0.0/16", "[::1]:5060"]
    assert settings.system.alias == ("a.example", "b.example:5070")


def test_the_guides_example_of_prefixes() -> None:
    assert read("[proxy]\ndispatchPriUser = 'genesis'").proxy.dispatchPriUser == "genesis"


@pytest.mark.parametrize("check", ["enableRegAuth", "enableInviteAuth"])
def test_subscribers_that_cannot_prove_themselves(check: str) -> None:
    users = "".join(
        f"[[subscribers]]\nusername = '{user}'\ndomain = 'a.example'\n{secret}\n"
        for user, secret in (("1", "password = 'x'"), ("2", ""), ("3", f"ha1 = '{'0' * 32}'"))
    )
    assert without_password(read(f"[proxy]\n{check} = true\n{users}")) == ["2@a.example"]
    assert without_password(read(users)) == []


def test_what_has_no_effect_yet() -> None:
    settings = read("startup-fencing = true\n[proxy]\nenableTLS = true\nrrIgnoreSips = false\n[[tls]]\n"
                    "tlsDomain = 'default'\ntlsRole = 'server'")  # fmt: skip
    assert without_effect(settings) == ["system.startup-fencing"]
    assert without_effect(read()) == []
