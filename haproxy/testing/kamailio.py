"""Debian's Kamailio as a record-routing proxy in front of, or behind, a real genproxy."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Final

from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import Daemon

PORT: Final = 5060

_CONFIG: Final = """\
#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=2
tcp_children=2
auto_aliases=no
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "path.so"
modparam("rr", "enable_full_lr", 1)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not here"); exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (is_method("REGISTER")) {{ add_path(); $du = "sip:{proxy}"; t_relay(); exit; }}
    if (is_present_hf("Route")) {{ loose_route(); record_route(); t_relay(); exit; }}
    record_route();
    if ($si != "{proxy_host}") {{ $du = "sip:{proxy}"; t_relay(); exit; }}
    $du = "sip:{far}";
    t_relay();
}}
"""


class Kamailio:
    """One proxy on an address of its own: the phones' requests go to genproxy, and that one's to `far`."""

    def __init__(self, folder: Path, proxy: tuple[str, int], far: tuple[str, int]) -> None:
        folder.mkdir()
        self.host, self.port = own_host(), PORT
        config = folder / "kamailio.cfg"
        values = {"proxy": "{}:{}".format(*proxy), "proxy_host": proxy[0], "far": "{}:{}".format(*far)}
        config.write_text(_CONFIG.format(**values))
        listen = [word for kind in ("udp", "tcp") for word in ("-l", f"{kind}:{self.host}:{PORT}")]
        words: list[str | Path] = ["kamailio", "-DD", "-E", "-f", config, *listen, "-m", "32", "-M", "8"]
        self._daemon = Daemon([*words, "-Y", folder, "-P", folder / "pid"], self._answers, directory=folder)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    def __enter__(self) -> Kamailio:
        try:
            self._daemon.start()
        except BaseException:
            self._daemon.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Killed instead, it would leave its children behind, and they would keep the port.
            self._daemon.stop(10.0)
        finally:
            self._daemon.close()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex(self.address) == 0
