"""SIPp as subscriber and as Genesis system around a real genproxy."""

import re
from pathlib import Path

import pytest

from haproxy.testing import sipp
from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.sipp import Sipp, SippError

HERE = Path(__file__).parent

MANY = 100

pytestmark = pytest.mark.peer("sipp")


def digest_proxy(folder: Path) -> Genproxy:
    # One SIPp cannot answer probes between registering and answering, and many calls come from one address.
    settings = {"proxy": {"enableRegAuth": True, "enableAstFailover": False, "enableAntiFlood": False}}
    return Genproxy(
        folder, settings=settings, subscribers={"5000": "phone-secret", "genesis_a": "trunk-secret"}
    )


def calls_to(messages: str, method: str) -> int:
    """How many requests of `method` SIPp has received, without retransmissions."""
    received = re.findall(r"message received.*\n\n(\S+) \S+ SIP/2\.0\n.*branch=(\S+)", messages)
    return len({branch for name, branch in received if name == method})


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_subscriber_registers_calls_and_hangs_up(tmp_path: Path, transport: str) -> None:
    with digest_proxy(tmp_path / "proxy") as proxy:
        trunk, phone = own_host(), own_host()
        register = (tmp_path, HERE / "register.xml", proxy.server)
        port = sipp.run(*register, user="genesis_a", password="trunk-secret", host=trunk).port
        sipp.run(*register, user="5000", password="phone-secret", host=phone, transport=transport)
        with (
            Sipp(tmp_path, HERE / "genesis.xml", proxy.server, user="100", host=trunk, port=port) as genesis,
            Sipp(
                tmp_path,
                HERE / "caller.xml",
                proxy.server,
                user="5000",
                host=phone,
                transport=transport,
                arguments=["-d", "300"],
            ) as caller,
        ):
            caller.finish()
            genesis.finish()
            assert "SIP/2.0 180 Ringing" in caller.messages
            assert [calls_to(genesis.messages, method) for method in ("INVITE", "ACK", "BYE")] == [1, 1, 1]


def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    with digest_proxy(tmp_path / "proxy") as proxy:
        denied = sipp.run(tmp_path, HERE / "denied.xml", proxy.server, user="5000", password="guess")
        assert "SIP/2.0 200" not in denied.messages
        with pytest.raises(SippError, match=r"401|403"):
            sipp.run(tmp_path, HERE / "register.xml", proxy.server, user="5000", password="guess")


def test_many_calls_at_once(tmp_path: Path) -> None:
    with digest_proxy(tmp_path / "proxy") as proxy:
        trunk, phone = own_host(), own_host()
        register = (tmp_path, HERE / "register.xml", proxy.server)
        port = sipp.run(*register, user="genesis_a", password="trunk-secret", host=trunk).port
        with (
            Sipp(
                tmp_path, HERE / "genesis.xml", proxy.server, user="100", host=trunk, port=port, calls=MANY
            ) as genesis,
            Sipp(
                tmp_path,
                HERE / "caller.xml",
                proxy.server,
                user="5000",
                host=phone,
                calls=MANY,
                arguments=["-d", "1000", "-r", str(MANY), "-l", str(MANY)],
            ) as caller,
        ):
            caller.finish()
            genesis.finish()
        assert proxy.metric("timeouts_total") == 0
        assert proxy.metric("malformed_total") == 0
