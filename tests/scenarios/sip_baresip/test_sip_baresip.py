"""baresip, a real SIP stack with real audio, on both sides of a real genproxy."""

from pathlib import Path

import pytest

from haproxy.testing.baresip import Baresip
from haproxy.testing.genproxy import Genproxy
from rtlib.audio import tone
from rtlib.audio.mulaw import SAMPLE_RATE

pytestmark = pytest.mark.peer("baresip")

SECONDS = 2.0
PASSWORDS = {"5000": "phone-secret", "genesis_a": "trunk-secret"}


def check_audio(listener: Baresip, frequency: int) -> None:
    """What `listener` has recorded is the other end's tone, without gaps."""
    heard = listener.heard()[-SAMPLE_RATE:]
    assert tone.usual_share(heard, frequency) > 0.8
    assert max(heard) > 6000
    packets = listener.packets()
    assert packets.sent > 50 * SECONDS * 0.8
    assert packets.received > 50 * SECONDS * 0.8
    assert packets.errors == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("caller", ["5000", "genesis_a"])
def test_two_registered_phones_hear_each_other(tmp_path: Path, transport: str, caller: str) -> None:
    settings = {"proxy": {"enableRegAuth": True, "enableNAT": True}}
    with (
        Genproxy(tmp_path / "proxy", settings=settings, subscribers=PASSWORDS) as proxy,
        Baresip(
            tmp_path / "genesis", "genesis_a", proxy.server, password=PASSWORDS["genesis_a"], tone=880
        ) as genesis,
        Baresip(
            tmp_path / "phone",
            "5000",
            proxy.server,
            password=PASSWORDS["5000"],
            tone=440,
            transport=transport,
        ) as phone,
    ):
        dialling, called = (phone, "genesis_a") if caller == "5000" else (genesis, "5000")
        dialling.dial(f"sip:{called}@{proxy.host}")
        for end in (genesis, phone):
            end.wait_for("CALL_ESTABLISHED")
        # RFC 3261 section 18: the connection that has registered serves calls both ways.
        assert proxy.metric("connections", 'transport="tcp"') == (transport == "tcp")
        for end in (genesis, phone):
            end.wait_until_heard(SECONDS)
        dialling.hang_up()
        for end in (genesis, phone):
            end.wait_for("CALL_CLOSED")
        check_audio(phone, 880)
        check_audio(genesis, 440)
