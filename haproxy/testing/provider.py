"""Debian's Kamailio as a SIP provider: a registrar that challenges, and calls whoever has registered."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from haproxy.testing.kamailio import Kamailio

REALM: Final = "provider.test"
PASSWORD: Final = "provider-secret"  # noqa: S105  of a test's provider
USER: Final = "line-auth"
"""The user name for authentication."""
_ROUTING: Final = """\
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("registrar", "max_expires", {longest})
modparam("auth", "algorithm", "{algorithm}")
request_route {{
    if (is_method("REGISTER")) {{
        xlog("L_ALERT", "User-Agent $ua\\n");
        xlog("L_ALERT", "REGISTER $proto $si $ru $tu $ct $hdr(Expires) $ci $cs\\n");
        if (!{authenticate}("{realm}", "{password}", "0")) {{ {challenge}("{realm}", "0"); exit; }}
        if ($au != "{user}") {{ sl_send_reply("403", "Forbidden"); exit; }}
        if ($(hdr(Expires){{s.int}}) > 0 && $(hdr(Expires){{s.int}}) < {brief}) {{
            append_to_reply("Min-Expires: {brief}\\r\\n");
            sl_send_reply("423", "Interval Too Brief");
            exit;
        }}
        save("location");
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here");
        exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not registered"); exit; }}
    t_relay();
}}
"""


class Register(NamedTuple):
    """What the provider saw of a REGISTER."""

    transport: str
    source: str
    uri: str
    to: str
    contact: str
    expires: str
    call_id: str
    cseq: str


class Provider(Kamailio):
    """One provider; its log has a line for each REGISTER."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "",
        algorithm: str = "MD5",
        proxy: bool = False,
        brief: int = 0,
        longest: int = 3600,
        certificate: Path | None = None,
    ) -> None:
        """`proxy`: it challenges by 407, as a proxy. `certificate`: a .crt with its .key beside, for TLS.

        `brief`: registrations shorter than that get 423. `longest`: longer ones are shortened.
        """
        kind = "proxy" if proxy else "www"
        routing = _ROUTING.format(
            algorithm=algorithm,
            authenticate=f"pv_{kind}_authenticate",
            challenge=f"{kind}_challenge",
            realm=REALM,
            password=PASSWORD,
            user=USER,
            brief=brief,
            longest=longest,
        )
        super().__init__(folder, routing, host=host, certificate=certificate)

    @property
    def registers(self) -> list[Register]:
        """Each REGISTER that came."""
        lines = self.log.splitlines()
        return [Register(*line.partition("REGISTER ")[2].split()) for line in lines if "REGISTER " in line]

    @property
    def agents(self) -> list[str | None]:
        """The User-Agent of each REGISTER; None for one without."""
        lines = [line.partition("User-Agent ") for line in self.log.splitlines()]
        return [None if agent == "<null>" else agent for _, found, agent in lines if found]
