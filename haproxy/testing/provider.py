"""Debian's Kamailio as a SIP provider: a registrar that challenges, and calls whoever has registered."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import Daemon

PORT: Final = 5060
TLS_PORT: Final = 5061
REALM: Final = "provider.test"
PASSWORD: Final = "provider-secret"  # noqa: S105  of a test's provider
USER: Final = "line-auth"
"""The user name for authentication."""
_CONFIG: Final = """\
#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
enable_tls={tls}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("registrar", "max_expires", {longest})
modparam("auth", "algorithm", "{algorithm}")
{modules}
request_route {{
    if (is_method("REGISTER")) {{
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

_TLS: Final = """\
[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {folder}/{name}.key
certificate = {folder}/{name}.crt

[client:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
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


class Provider:
    """One provider on an address of its own; its log has a line for each REGISTER."""

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
        folder.mkdir()
        self.host = host or own_host()
        kind = "proxy" if proxy else "www"
        modules = ""
        listen = [f"udp:{self.host}:{PORT}", f"tcp:{self.host}:{PORT}"]
        if certificate is not None:
            sections = folder / "tls.cfg"
            sections.write_text(_TLS.format(folder=certificate.parent, name=certificate.stem))
            modules = f'loadmodule "tls.so"\nmodparam("tls", "config", "{sections}")'
            listen.append(f"tls:{self.host}:{TLS_PORT}")
        config = folder / "kamailio.cfg"
        config.write_text(
            _CONFIG.format(
                algorithm=algorithm,
                tls="yes" if certificate is not None else "no",
                modules=modules,
                authenticate=f"pv_{kind}_authenticate",
                challenge=f"{kind}_challenge",
                realm=REALM,
                password=PASSWORD,
                user=USER,
                brief=brief,
                longest=longest,
            )
        )
        config.chmod(0o600)
        words: list[str | Path] = ["kamailio", "-DD", "-E", "-f", config, "-m", "32", "-M", "8", "-Y", folder]
        words += [word for place in listen for word in ("-l", place)]
        self._daemon = Daemon([*words, "-P", folder / "pid"], self._answers, directory=folder)

    def __enter__(self) -> Provider:
        try:
            self.start()
        except BaseException:
            self._daemon.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._daemon.close()

    def start(self) -> None:
        """Come (back), without any memory of what was registered."""
        self._daemon.start()

    def stop(self) -> None:
        """Go away. Killed instead, it would leave its children behind, and they would keep the port."""
        if self._daemon.returncode is None:
            self._daemon.stop(10.0)

    @property
    def registers(self) -> list[Register]:
        """Each REGISTER that came."""
        lines = self._daemon.text.splitlines()
        return [Register(*line.partition("REGISTER ")[2].split()) for line in lines if "REGISTER " in line]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex((self.host, PORT)) == 0
