"""Servers to notify: nginx and lighttpd from Debian, which write down what they were told."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rtlib.testing.daemon import Daemon, free_port

_NGINX: Final = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format told escape=json '{{"port":"$server_port","path":"$request_uri","method":"$request_method",'
        '"status":$status,"agent":"$http_user_agent","type":"$http_content_type","user":"$remote_user",'
        '"host":"$http_host","authorization":"$http_authorization","client":"$ssl_client_s_dn",'
        '"name":"$ssl_server_name","protocol":"$ssl_protocol","cipher":"$ssl_cipher","body":"$request_body"}}';
    access_log off;
    server {{ listen {host}:{sink}; return 204; }}
{servers}
}}
"""


class Nginx(Daemon):
    """Servers on ports of one address; every request is in `requests`."""

    def __init__(self, folder: Path, host: str, servers: Sequence[str], ports: Sequence[int]) -> None:
        """`servers` are the contents of server blocks, `ports` what they listen on; `$take` takes a POST."""
        folder.mkdir()
        self._log_file = folder / "access.log"
        # nginx reads the content of a request only to pass it on; a server of its own answers.
        sink = free_port(host=host)
        take = f"proxy_pass http://{host}:{sink};"
        log = f"access_log {self._log_file} told;"
        blocks = "\n".join(f"    server {{ {log} {block.replace('$take', take)} }}" for block in servers)
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, host=host, sink=sink, servers=blocks))
        command: list[str | Path] = ["nginx", "-p", folder, "-e", folder / "start.log", "-c", config]
        super().__init__(command, lambda: all(_answers(host, port) for port in (sink, *ports)))

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request so far, in order of its end."""
        if not self._log_file.exists():
            return []
        lines = self._log_file.read_text().splitlines()
        return [_opened(json.loads(line)) for line in lines if line.endswith("}")]

    def told(self, port: int, path: str = "/") -> list[dict[str, Any]]:
        """The notifications that a server took at this port and path, in order."""
        return [
            request["body"]
            for request in self.requests
            if request["port"] == str(port) and request["path"] == path and request["status"] == 204
        ]


def _opened(request: dict[str, Any]) -> dict[str, Any]:
    return {**request, "body": json.loads(request["body"]) if request["body"] else None}


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


_LIGHTTPD: Final = """\
server.modules = ("mod_auth", "mod_authn_file", "mod_cgi")
server.document-root = "{folder}/www"
server.bind = "{host}"
server.port = {port}
server.errorlog = "{folder}/error.log"
server.upload-dirs = ("{folder}")
cgi.assign = (".sh" => "/bin/sh")
auth.backend = "plain"
auth.backend.plain.userfile = "{folder}/users"
auth.require = ("/" => ("method" => "digest", "realm" => "genproxy", "require" => "valid-user",
                        "algorithm" => "{algorithm}"))
"""

_SCRIPT: Final = """\
told=$(cat)
printf '%s\\n' "$told" >> {folder}/told
printf 'Status: 204\\r\\n\\r\\n'
"""


class Lighttpd(Daemon):
    """A server that authenticates by digest, at /take.sh."""

    def __init__(self, folder: Path, place: tuple[str, int], login: tuple[str, str], algorithm: str) -> None:
        """`place` is host and port, `login` user and password; `algorithm` is MD5 or SHA-256."""
        host, port = place
        (folder / "www").mkdir(parents=True)
        self._told = folder / "told"
        (folder / "users").write_text(":".join(login) + "\n")
        (folder / "www" / "take.sh").write_text(_SCRIPT.format(folder=folder))
        config = folder / "lighttpd.conf"
        config.write_text(_LIGHTTPD.format(folder=folder, host=host, port=port, algorithm=algorithm))
        super().__init__(["lighttpd", "-D", "-f", config], lambda: _answers(host, port))

    @property
    def told(self) -> list[dict[str, Any]]:
        """The notifications that it took, in order."""
        if not self._told.exists():
            return []
        return [json.loads(line) for line in self._told.read_text().splitlines() if line.endswith("}")]


def htpasswd(path: Path, user: str, password: str) -> None:
    """Write a file for nginx' auth_basic."""
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", password], capture_output=True, text=True, check=True, timeout=10
    )
    path.write_text(f"{user}:{hashed.stdout}")
