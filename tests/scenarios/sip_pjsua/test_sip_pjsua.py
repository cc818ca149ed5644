"""PJSIP and baresip hear each other through a real genproxy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from haproxy.testing import recording
from haproxy.testing.baresip import Baresip
from haproxy.testing.genproxy import Genproxy
from rtlib.audio import tone
from rtlib.audio.mulaw import SAMPLE_RATE
from rtlib.testing.daemon import ROOT

pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")

SECONDS = 2


@pytest.mark.peer("baresip")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_two_foreign_stacks_hear_each_other(tmp_path: Path, transport: str) -> None:
    settings = {"proxy": {"enableRegAuth": True, "enableNAT": True}}
    passwords = {"5000": "phone-secret", "genesis_a": "trunk-secret"}
    with (
        Genproxy(tmp_path / "proxy", settings=settings, subscribers=passwords) as proxy,
        Baresip(
            tmp_path / "genesis", "genesis_a", proxy.server, password=passwords["genesis_a"], tone=880
        ) as genesis,
    ):
        program = [sys.executable, "-m", "haproxy.testing.pjsua", str(tmp_path), proxy.server, "5000"]
        call = [passwords["5000"], f"sip:genesis_a@{proxy.host}", transport, "440", str(SECONDS)]
        done = subprocess.run(
            [*program, *call], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done
        genesis.wait_for("CALL_CLOSED")
        result = json.loads(done.stdout.splitlines()[-1])  # the library's own log comes first
        assert result["packets"] > 50 * SECONDS * 0.8
        assert genesis.packets().received > 50 * SECONDS * 0.8
        assert tone.usual_share(genesis.heard()[-SAMPLE_RATE:], 440) > 0.8
        assert tone.usual_share(recording.read(Path(result["recording"]))[-SAMPLE_RATE:], 880) > 0.8
