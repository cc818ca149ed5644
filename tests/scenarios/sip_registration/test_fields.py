"""Every field of the guide's chapter 12, and regRetryInterval, as a provider sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.provider import PASSWORD, REALM, USER, Provider, Register
from rtlib import digest

pytestmark = pytest.mark.peer("kamailio")


def test_every_field(tmp_path: Path, entry: Any, lines: Any) -> None:
    public, private = own_host(), own_host()
    with Provider(tmp_path / "provider") as provider:
        changes: dict[str, dict[str, Any]] = {
            "usual": {},
            "r_username": {"r_username": "bob"},
            "r_domain": {"r_domain": "other.test"},
            "realm": {"realm": "elsewhere.test"},
            "any_realm": {"realm": ""},
            "auth_username": {"auth_username": "somebody"},
            "auth_password": {"auth_password": "wrong"},
            "auth_ha1": {"auth_password": "", "auth_ha1": digest.ha1(USER, REALM, PASSWORD)},
            "auth_proxy": {"auth_proxy": f"{provider.host}:5060;transport=tcp"},
            "expires": {"expires": 700},
            "reg_delay": {"reg_delay": 900},
            "reg_contact_addr": {"reg_contact_addr": "nat.test:5099;transport=tcp"},
            "socket": {"socket": f"{private}:5060"},
        }
        entries = [entry(provider, l_uuid=uuid, **each) for uuid, each in changes.items()]
        system = {"privateIP": private, "publicIP": public}
        with lines(*entries, proxy={"regRetryInterval": 300}, system=system) as world:
            wrong = ("realm", "auth_username", "auth_password")
            world.until("registered", *changes.keys() - {*wrong, "reg_delay"})
            rows = world.until("failed", *wrong)
            seen = {each.contact.partition("@")[0].removeprefix("<sip:"): each for each in provider.registers}

            call_id = seen["usual"].call_id
            contact = f"<sip:usual@{public}>"
            assert seen["usual"] == Register(
                "udp", public, f"sip:{REALM}", f"sip:alice@{REALM}", contact, "3600", call_id, "2"
            )
            assert seen["r_username"].to == f"sip:bob@{REALM}"
            assert (seen["r_domain"].uri, seen["r_domain"].to) == ("sip:other.test", "sip:alice@other.test")
            assert "realm is 'provider.test', not 'elsewhere.test'" in rows["realm"]["reason"]
            assert (rows["auth_username"]["code"], rows["auth_password"]["code"]) == (403, 401)
            assert "the credentials are refused" in rows["auth_password"]["reason"]
            assert seen["auth_proxy"].transport == "tcp"
            assert seen["expires"].expires == "700"
            assert 600 < rows["expires"]["expires"] <= 700
            assert rows["reg_delay"]["state"] == "waiting"
            assert 800 < rows["reg_delay"]["next"] <= 900
            assert seen["reg_contact_addr"].contact == "<sip:reg_contact_addr@nat.test:5099;transport=tcp>"
            assert seen["socket"].source == private
            assert all(200 < rows[uuid]["next"] <= 270 for uuid in wrong)  # 300, rounded to 90
            assert world.proxy.metric("outbound_registrations", 'state="failed"') == 3

            changed = world.proxy.change("regRetryInterval = 300", "regRetryInterval = 0")
            assert changed == {"proxy.regRetryInterval": "applied"}
            assert all(world.rows()[uuid]["next"] is None for uuid in wrong)

            with pytest.raises(subprocess.CalledProcessError) as refused:
                world.configure(entry(provider, l_uuid="line9", socket="192.0.2.77"))
            assert (
                "outbound_registrations line9: socket 192.0.2.77: 192.0.2.77 is no address of this system"
                in (refused.value.stderr)
            )
            assert world.rows().keys() == changes.keys()
            assert "Traceback" not in world.text
