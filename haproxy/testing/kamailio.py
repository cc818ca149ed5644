"""Debian's Kamailio with any routing: that of a provider (`haproxy.testing.provider`), of a proxy."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import Daemon

PORT: Final = 5060
TLS_PORT: Final = 5061

_PROCESS: Final = """\
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
"""
_ENCRYPTION: Final = """\
loadmodule "tls.so"
modparam("tls", "config", "{file}")
"""
_SECTIONS: Final = """\
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
_RECORD_ROUTING: Final = """\
loadmodule "maxfwd.so"
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


def record_routing(proxy: tuple[str, int], far: tuple[str, int]) -> str:
    """The routing of a proxy: the phones' requests go to genproxy, and that one's to `far`."""
    values = {"proxy": "{}:{}".format(*proxy), "proxy_host": proxy[0], "far": "{}:{}".format(*far)}
    return _RECORD_ROUTING.format(**values)


class Kamailio:
    """One Kamailio on an address of its own; a context manager that starts and stops it."""

    def __init__(
        self, folder: Path, routing: str, *, host: str = "", certificate: Path | None = None
    ) -> None:
        """`folder` is made. `routing`: further modules, and the routes. `certificate`: see `Provider`."""
        folder.mkdir()
        self.host, self.port = host or own_host(), PORT
        listen = [f"udp:{self.host}:{PORT}", f"tcp:{self.host}:{PORT}"]
        text = _PROCESS.format(tls="yes" if certificate is not None else "no")
        if certificate is not None:
            sections = folder / "tls.cfg"
            sections.write_text(_SECTIONS.format(folder=certificate.parent, name=certificate.stem))
            text += _ENCRYPTION.format(file=sections)
            listen.append(f"tls:{self.host}:{TLS_PORT}")
        config = folder / "kamailio.cfg"
        config.write_text(text + routing)
        config.chmod(0o600)
        words: list[str | Path] = ["kamailio", "-DD", "-E", "-f", config, "-m", "32", "-M", "8", "-Y", folder]
        words += [word for place in listen for word in ("-l", place)]
        self._daemon = Daemon([*words, "-P", folder / "pid"], self._answers, directory=folder)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._daemon.text

    def __enter__(self) -> Self:
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

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            return sock.connect_ex(self.address) == 0
